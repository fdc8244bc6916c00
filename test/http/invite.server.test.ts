import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, password, type ScratchDatabase } from "../support/api-server.ts";
import { partsOf, SmtpServer, smtpTransport } from "../support/smtp-server.ts";

interface ListedInvite {
  readonly email: string;
  readonly token: string;
  readonly status: string;
}

describeOnEachEngine("invitations over the API", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let owner: string;
  let admin: string;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    owner = await api.registerOwner();
    admin = await api.addUser("admin@example.com");
    await api.addVault(admin, "shared");
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  const invite = (token: string, body: object) => api.call("POST", "/v1/users/invites", { token, body });
  const tokenOf = (body: Record<string, unknown>) => String(body.invite_link).split("/invite/")[1] ?? "";
  const details = (token: string) => api.call("GET", `/v1/users/invites/${token}/details`);
  const accept = (token: string, secret = password) =>
    api.call("POST", `/v1/users/invites/${token}/accept`, { body: { password: secret } });
  const handleOf = async (email: string) => {
    const { invites } = await api.expect(200, "GET", "/v1/users/invites", { token: owner });
    return (invites as ListedInvite[]).find((item) => item.email === email)?.token ?? "";
  };

  it("are listed under a handle that revokes and renews but accepts nothing", async () => {
    const { body } = await invite(owner, { email: "handle@example.com" });
    const handle = await handleOf("handle@example.com");
    expect(handle).not.toBe("");
    expect(handle).not.toContain(tokenOf(body));
    expect((await details(handle)).status).toBe(404);
    expect((await accept(handle)).status).toBe(404);
    const renewed = await api.call("POST", `/v1/users/invites/${handle}/reinvite`, { token: owner });
    expect(renewed.status).toBe(201);
    expect((await details(tokenOf(body))).body).toMatchObject({ error: true, error_title: "Invite Revoked" });
    expect((await details(tokenOf(renewed.body))).body).toMatchObject({ needs_account: true });
    const second = await handleOf("handle@example.com");
    await api.expect(200, "DELETE", `/v1/users/invites/${second}`, { token: owner });
  });

  it("are revoked and renewed by the last eight characters of their token, which accept nothing", async () => {
    const email = "suffix@example.com";
    const token = tokenOf((await invite(admin, { email })).body);
    const { invites } = await api.expect(200, "GET", "/v1/users/invites", { token: admin });
    expect((invites as object[]).find((item) => "email" in item && item.email === email)).toMatchObject({
      token_suffix: token.slice(-8),
      created_by_name: "admin@example.com",
    });
    const suffix = token.slice(-8);
    expect((await details(suffix)).status).toBe(404);
    expect((await accept(suffix)).status).toBe(404);
    const stranger = await api.addUser("suffix-stranger@example.com");
    const revoke = (who: string, reference: string) =>
      api.call("DELETE", `/v1/users/invites/${reference}`, { token: who });
    expect((await revoke(stranger, suffix)).status).toBe(403);
    expect((await revoke(admin, suffix.slice(1))).status).toBe(404);
    expect((await revoke(admin, `${"0".repeat(8)}`)).status).toBe(404);
    const renewed = await api.expect(201, "POST", `/v1/users/invites/${suffix}/reinvite`, { token: admin });
    expect((await revoke(admin, suffix)).status).toBe(404);
    expect((await revoke(admin, tokenOf(renewed).slice(-20))).status).toBe(200);
  });

  it("that end alike are told apart before one is revoked", async () => {
    for (const email of ["twin-a@example.com", "twin-b@example.com"]) {
      await invite(owner, { email });
      await database.db
        .updateTable("user_invites")
        .set({ token_suffix: "deadbeef" })
        .where("email", "=", email)
        .execute();
    }
    const answer = await api.call("DELETE", "/v1/users/invites/deadbeef", { token: owner });
    expect([answer.status, answer.body.code]).toEqual([409, "ambiguous_invite"]);
  });

  it("give no more than the inviter could still give when they are accepted", async () => {
    const inviter = await api.addUser("fading@example.com");
    await api.addVault(inviter, "fading");
    await api.expect(200, "POST", "/v1/vaults/fading/join", { token: owner });
    const vaults = [{ vault_name: "fading", vault_role: "admin" }];
    const { body } = await invite(inviter, { email: "accomplice@example.com", vaults });
    await api.expect(200, "DELETE", "/v1/vaults/fading/users/fading@example.com", { token: owner });
    expect((await accept(tokenOf(body))).status).toBe(200);
    const session = await api.login("accomplice@example.com");
    expect((await api.expect(200, "GET", "/v1/admin/users/me", { token: session })).vaults).toEqual([]);
  });

  it.each([
    ["POST", "/v1/admin/users/{inviter}/role", { role: "member" }, "owner", "a demotion"],
    ["POST", "/v1/admin/users/{inviter}/role", { role: "no-access" }, "member", "a demotion to no access"],
    ["DELETE", "/v1/admin/users/{inviter}", undefined, "owner", "a removal"],
  ])("%s %s %j takes back the open invitations to %s: %s", async (method, path, change, role, _because) => {
    const inviter = `inviter-${crypto.randomUUID()}@example.com`;
    const session = await api.addUser(inviter, "owner");
    const { body } = await invite(session, { email: `friend-${inviter}`, role });
    await api.expect(200, method, path.replace("{inviter}", inviter), { token: owner, body: change });
    expect((await details(tokenOf(body))).body.error_title).toBe("Invite Revoked");
    expect((await accept(tokenOf(body))).status).toBe(410);
  });

  it("of somebody who deletes their account or of an agent that is revoked go with them", async () => {
    const leaver = await api.addUser("leaver@example.com");
    const byLeaver = tokenOf((await invite(leaver, { email: "by-leaver@example.com" })).body);
    await api.expect(200, "DELETE", "/v1/auth/account", { token: leaver });
    expect((await accept(byLeaver)).status).toBe(410);
    const agent = await api.addAgent(owner, "inviter-agent", { role: "member" });
    const byAgent = tokenOf((await invite(agent, { email: "by-agent@example.com" })).body);
    await api.expect(200, "DELETE", "/v1/agents/inviter-agent", { token: owner });
    expect((await accept(byAgent)).status).toBe(410);
  });

  it("do not hand an owner's invitation to a vault admin who renews it", async () => {
    const vaults = [{ vault_name: "shared", vault_role: "member" }];
    const { status } = await invite(owner, { email: "boss@example.com", role: "owner", vaults });
    expect(status).toBe(201);
    const handle = await handleOf("boss@example.com");
    expect((await api.call("POST", `/v1/users/invites/${handle}/reinvite`, { token: admin })).status).toBe(403);
    // The vault's admin may still take it back.
    expect((await api.call("DELETE", `/v1/users/invites/${handle}`, { token: admin })).status).toBe(200);
  });

  it("give only what the inviter has", async () => {
    const stranger = await api.addUser("stranger@example.com");
    const into = (vault: string) => ({ email: "x@example.com", vaults: [{ vault_name: vault }] });
    expect((await invite(stranger, { email: "x@example.com", role: "owner" })).status).toBe(403);
    expect((await invite(stranger, into("shared"))).status).toBe(404);
    expect((await invite(admin, into("no-such-vault"))).status).toBe(404);
    const twice = [{ vault_name: "shared" }, { vault_name: "shared", vault_role: "admin" }];
    expect((await invite(admin, { email: "x@example.com", vaults: twice })).status).toBe(400);
    const proxy = [{ vault_name: "shared", vault_role: "proxy" }];
    expect((await invite(admin, { email: "x@example.com", vaults: proxy })).status).toBe(400);
  });

  it("take over an account that was never verified, whoever registered it", async () => {
    const email = "victim@example.com";
    const { body } = await invite(owner, { email, vaults: [{ vault_name: "shared", vault_role: "admin" }] });
    await api.call("POST", "/v1/auth/register", { body: { email, password: "attackers-choice" } });
    expect((await details(tokenOf(body))).body.needs_account).toBe(true);
    expect((await accept(tokenOf(body))).status).toBe(200);
    const attack = { email, password: "attackers-choice" };
    expect((await api.call("POST", "/v1/auth/login", { body: attack })).status).toBe(401);
    const session = await api.login(email);
    const { vaults } = await api.expect(200, "GET", "/v1/admin/users/me", { token: session });
    expect(vaults).toEqual(["shared"]);
  });

  it("expire after 48 hours", async () => {
    const { body } = await invite(owner, { email: "late@example.com" });
    api.clock.advance(48 * 3_600_000 + 1);
    expect((await details(tokenOf(body))).body.error_title).toBe("Invite Expired");
    expect((await accept(tokenOf(body))).status).toBe(410);
    const { invites } = await api.expect(200, "GET", "/v1/users/invites?status=expired", { token: owner });
    expect((invites as ListedInvite[]).map(({ email }) => email)).toContain("late@example.com");
  });

  it("survive a password that is refused", async () => {
    const { body } = await invite(owner, { email: "short@example.com" });
    expect((await accept(tokenOf(body), "short")).status).toBe(400);
    expect((await accept(tokenOf(body))).status).toBe(200);
    expect((await details(tokenOf(body))).body.error_title).toBe("Already Accepted");
  });

  it("are sent by mail where there is mail, and otherwise the inviter gets the link", async () => {
    await using other = await openScratch();
    await using smtp = await SmtpServer.start({ refuses: (recipient) => recipient.startsWith("bounces") });
    await using server = await ApiServer.start(other, { mailTransport: smtpTransport(smtp) });
    const token = await server.registerOwner();
    const post = (email: string) => server.call("POST", "/v1/users/invites", { token, body: { email } });
    const good = await post("good@example.com");
    expect(good.body).toMatchObject({ email_sent: true });
    expect(good.body.invite_link).toBeUndefined();
    const { text } = partsOf(await smtp.mailTo("good@example.com"));
    expect(text).toContain("owner@example.com invites you");
    const link = /http\S+\/invite\/av_uinv_[0-9a-f]{64}/.exec(text)?.[0] ?? "";
    const accepted = await server.call("POST", `/v1/users/invites/${link.split("/invite/")[1]}/accept`, {
      body: { password },
    });
    expect(accepted.status).toBe(200);
    const bad = await post("bounces@example.com");
    expect(bad.status).toBe(201);
    expect(bad.body).toMatchObject({ email_sent: false, email_error: expect.stringContaining("no such mailbox") });
    expect(bad.body.invite_link).toContain("/invite/av_uinv_");
  });
});
