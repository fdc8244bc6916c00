import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";

describeOnEachEngine("invitations of agents", (openScratch) => {
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

  let count = 0;
  const fresh = () => `agent-${++count}`;
  const create = (token: string, body: object) => api.call("POST", "/v1/agent-invites", { token, body });
  const invite = async (token: string, body: object) =>
    String((await api.expect(201, "POST", "/v1/agent-invites", { token, body })).token);
  const redeem = (invitation: string, body?: object) => api.call("POST", `/invite/${invitation}`, { body });
  const revoke = (token: string, reference: string) => api.call("DELETE", `/v1/agent-invites/${reference}`, { token });
  const me = (token: unknown) => api.call("GET", "/v1/auth/me", { token: String(token) });

  it("are exchanged once for a token that the agent alone knows", async () => {
    const name = fresh();
    const vaults = [{ vault_name: "shared", vault_role: "proxy" }];
    const created = await api.expect(201, "POST", "/v1/agent-invites", { token: admin, body: { name, vaults } });
    expect(created).toMatchObject({ agent_name: name, role: "member", vaults });
    const token = String(created.token);
    expect(token).toMatch(/^av_inv_[0-9a-f]{64}$/);
    expect(created.invite_link).toMatch(new RegExp(`/invite/${token}$`));
    const answer = await redeem(token, {});
    expect(answer.status).toBe(200);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.body).toMatchObject({ agent_name: name, vaults, av_addr: expect.stringContaining("http") });
    expect(String(answer.body.instructions)).not.toContain(String(answer.body.av_agent_token));
    expect((await me(answer.body.av_agent_token)).body).toMatchObject({ type: "agent", agent_name: name });
    const again = await redeem(token, {});
    expect([again.status, again.body.error]).toEqual([410, "invite_redeemed"]);
    // The invitation itself is no token.
    expect((await me(token)).status).toBe(401);
  });

  it("are exchanged once, however many ask at the same time", async () => {
    const token = await invite(owner, { name: fresh() });
    const answers = await Promise.all(Array.from({ length: 5 }, () => redeem(token, {})));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 410, 410, 410, 410]);
  });

  it("for one name give it once, and the loser's stays open for another name", async () => {
    const name = fresh();
    const open = [await invite(owner, {}), await invite(owner, {})];
    const answers = await Promise.all(open.map((token) => redeem(token, { name })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    const lost = open[answers.findIndex(({ status }) => status === 409)] ?? "";
    expect((await redeem(lost, { name: fresh() })).status).toBe(200);
  });

  it("say in a word what is wrong with them", async () => {
    const outcome = async (token: string, body?: object) => {
      const answer = await redeem(token, body);
      return [answer.status, answer.body.error, typeof answer.body.message];
    };
    expect(await outcome("av_inv_unknown")).toEqual([404, "invite_not_found", "string"]);
    expect(await outcome(await invite(owner, {}))).toEqual([400, "name_required", "string"]);
    expect(await outcome(await invite(owner, {}), { name: "No Slug" })).toEqual([400, "invalid_name", "string"]);
    const late = await invite(owner, { name: fresh(), ttl_seconds: 60 });
    api.clock.advance(60_001);
    expect(await outcome(late)).toEqual([410, "invite_expired", "string"]);
    const taken = fresh();
    const second = await invite(owner, { name: taken });
    await api.addAgent(owner, taken);
    expect(await outcome(second)).toEqual([409, "name_taken", "string"]);
  });

  it("leave the invitations of people alone", async () => {
    const person = await api.expect(201, "POST", "/v1/users/invites", {
      token: owner,
      body: { email: "person@example.com" },
    });
    const token = String(person.invite_link).split("/invite/")[1] ?? "";
    const answer = await redeem(token, { name: fresh() });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  it.each([
    [{ role: "owner" }, 403, "a role that the inviter has not"],
    [{ vaults: [{ vault_name: "ghost" }] }, 404, "a vault that there is not"],
    [{ role: "king" }, 400, "a role that there is not"],
    [{ name: "No Slug" }, 400, "a name that no agent can have"],
    [{ ttl_seconds: 8 * 86_400 }, 400, "more than seven days"],
    [{ ttl_seconds: 0 }, 400, "no time at all"],
    [{ session_ttl_seconds: 1 }, 400, "a token that ends at once"],
  ])("of %j are refused with %i: %s", async (body, status, _because) => {
    expect((await create(admin, { name: fresh(), ...body })).status).toBe(status);
  });

  it("are made by members, and into vaults by their admins", async () => {
    const outsider = await api.addUser("outsider@example.com");
    const nobody = await api.addUser("nobody@example.com", "no-access");
    expect((await create(nobody, { name: fresh() })).status).toBe(403);
    // Without a grant on it the vault is not there.
    expect((await create(outsider, { vaults: [{ vault_name: "shared" }] })).status).toBe(404);
    expect((await create(await api.mint(admin, "shared"), { name: fresh() })).status).toBe(403);
  });

  it("give a token that ends when it was asked to", async () => {
    const token = await invite(owner, { name: fresh(), session_ttl_seconds: 3_600 });
    const { av_agent_token: agent } = (await redeem(token)).body;
    expect((await me(agent)).status).toBe(200);
    api.clock.advance(3_600_001);
    expect((await me(agent)).status).toBe(401);
  });

  it("are listed without their token, and revoked by the end of it by those whose they are", async () => {
    const name = fresh();
    const token = await invite(admin, { name });
    const { text } = await api.call("GET", "/v1/agent-invites", { token: owner });
    expect(text).not.toContain(token);
    expect(text).toContain(token.slice(-8));
    const stranger = await api.addUser("stranger@example.com");
    const theirs = await api.expect(200, "GET", "/v1/agent-invites", { token: stranger });
    expect(theirs.invites).toEqual([]);
    expect((await revoke(stranger, token.slice(-8))).status).toBe(404);
    expect((await revoke(stranger, token)).status).toBe(404);
    expect((await revoke(admin, token.slice(-8))).status).toBe(200);
    const answer = await redeem(token);
    expect([answer.status, answer.body.error]).toEqual([410, "invite_revoked"]);
    const revoked = await api.expect(200, "GET", "/v1/agent-invites?status=revoked", { token: admin });
    expect(revoked.invites).toMatchObject([{ agent_name: name, status: "revoked" }]);
  });

  it("end with the right to make them", async () => {
    const inviter = await api.addUser("fading@example.com");
    const removed = await invite(inviter, { name: fresh() });
    await api.expect(200, "DELETE", "/v1/admin/users/fading@example.com", { token: owner });
    expect((await redeem(removed)).body.error).toBe("invite_revoked");

    const second = await api.addUser("losing@example.com");
    await api.addVault(second, "losing");
    const into = await invite(second, { name: fresh(), vaults: [{ vault_name: "losing", vault_role: "admin" }] });
    await api.expect(200, "POST", "/v1/vaults/losing/join", { token: owner });
    await api.expect(200, "DELETE", "/v1/vaults/losing/users/losing@example.com", { token: owner });
    expect((await redeem(into)).body.vaults).toEqual([]);
  });

  it("rotate an agent's token when they are redeemed, and not before", async () => {
    const name = fresh();
    const old = await api.addAgent(admin, name);
    const token = await invite(admin, { name, rotate: true });
    expect((await me(old)).status).toBe(200);
    const answer = await redeem(token);
    expect(answer.body.agent_name).toBe(name);
    expect((await me(old)).status).toBe(401);
    expect((await me(answer.body.av_agent_token)).status).toBe(200);
    expect((await create(await api.addUser("other@example.com"), { name, rotate: true })).status).toBe(404);
  });

  it("do not rotate an agent that the inviter may not manage any more", async () => {
    const name = fresh();
    const old = await api.addAgent(admin, name);
    const token = await invite(admin, { name, rotate: true });
    await api.expect(200, "POST", `/v1/agents/${name}/role`, { token: owner, body: { role: "owner" } });
    expect((await redeem(token)).body.error).toBe("invite_revoked");
    expect((await me(old)).status).toBe(200);
  });

  it("do not outlive the agent that they are for", async () => {
    const name = fresh();
    await api.addAgent(admin, name);
    const token = await invite(admin, { name, rotate: true });
    await api.expect(200, "POST", `/v1/agents/${name}/delete`, { token: admin });
    expect((await redeem(token)).status).toBe(404);
  });

  it("shadow no agent: one may still be called invites", async () => {
    expect((await api.call("GET", "/v1/agents/invites", { token: owner })).status).toBe(404);
    await api.addAgent(owner, "invites");
    expect((await api.expect(200, "GET", "/v1/agents/invites", { token: owner })).name).toBe("invites");
  });
});
