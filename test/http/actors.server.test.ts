import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";

describeOnEachEngine("agents, members and what they may see", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let owner: string;
  let admin: string;
  let outsider: string;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    owner = await api.registerOwner();
    admin = await api.addUser("admin@example.com");
    outsider = await api.addUser("outsider@example.com");
    await api.addVault(admin, "shared");
    await api.addAgent(admin, "robot", { vaults: [{ vault_name: "shared", vault_role: "member" }] });
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it.each([
    ["GET", "/v1/vaults/{vault}/users", undefined],
    ["GET", "/v1/vaults/{vault}/agents", undefined],
    ["POST", "/v1/vaults/{vault}/agents", { name: "robot" }],
    ["GET", "/v1/sessions?vault={vault}", undefined],
    ["POST", "/v1/sessions", { vault: "{vault}" }],
  ])("%s %s: a vault without a grant looks like one that does not exist", async (method, path, body) => {
    const ask = async (vault: string) => {
      const at = (text: string) => text.replaceAll("{vault}", vault);
      const answer = await api.call(method, at(path), {
        token: outsider,
        ...(body && { body: JSON.parse(at(JSON.stringify(body))) }),
      });
      return [answer.status, answer.text.replaceAll(vault, "*")];
    };
    const [hidden, absent] = [await ask("shared"), await ask("absent")];
    expect(hidden[0]).toBe(404);
    expect(hidden).toEqual(absent);
  });

  it.each([
    ["GET", "/v1/agents/{agent}"],
    ["DELETE", "/v1/agents/{agent}"],
    ["POST", "/v1/agents/{agent}/rotate"],
    ["POST", "/v1/agents/{agent}/delete"],
  ])("%s %s: an agent out of sight looks like one that does not exist", async (method, path) => {
    const ask = async (agent: string) => {
      const answer = await api.call(method, path.replace("{agent}", agent), { token: outsider });
      return [answer.status, answer.text.replaceAll(agent, "*")];
    };
    const [hidden, absent] = [await ask("robot"), await ask("nobody")];
    expect(hidden[0]).toBe(404);
    expect(hidden).toEqual(absent);
  });

  it("an owner without a grant is refused, and may join", async () => {
    const list = () => api.call("GET", "/v1/vaults/shared/users", { token: owner });
    expect((await list()).status).toBe(403);
    await api.expect(200, "POST", "/v1/vaults/shared/join", { token: owner });
    expect((await list()).status).toBe(200);
    await api.expect(200, "POST", "/v1/vaults/shared/leave", { token: owner });
  });

  it("rotation ends the old token at once and revives a revoked agent, a deletion frees the name", async () => {
    const first = await api.addAgent(admin, "short-lived");
    await api.expect(200, "DELETE", "/v1/agents/short-lived", { token: admin });
    expect((await api.call("GET", "/v1/auth/me", { token: first })).status).toBe(401);
    const rotated = await api.expect(200, "POST", "/v1/agents/short-lived/rotate", { token: admin });
    expect((await api.call("GET", "/v1/auth/me", { token: String(rotated.av_agent_token) })).status).toBe(200);
    const agent = await api.expect(200, "GET", "/v1/agents/short-lived", { token: admin });
    expect(agent).toMatchObject({ status: "active", active_tokens: 1 });
    await api.expect(200, "POST", "/v1/agents/short-lived/delete", { token: admin });
    await api.addAgent(outsider, "short-lived");
  });

  it("a token shows once: no list or record repeats it", async () => {
    const token = await api.addAgent(admin, "secretive", { vaults: [{ vault_name: "shared" }] });
    const scoped = await api.mint(admin, "shared");
    for (const path of [
      "/v1/agents",
      "/v1/agents/secretive",
      "/v1/sessions?vault=shared",
      "/v1/vaults/shared/agents",
    ]) {
      const { text } = await api.call("GET", path, { token: admin });
      expect(text).not.toContain(token);
      expect(text).not.toContain(scoped);
    }
  });

  it("a scoped token acts for nobody: it makes no agents, invitations, vaults or settings", async () => {
    const token = await api.mint(admin, "shared");
    for (const [method, path, body] of [
      ["POST", "/v1/agents", { name: "from-scoped" }],
      ["POST", "/v1/users/invites", { email: "x@example.com" }],
      ["POST", "/v1/vaults", { name: "from-scoped" }],
      ["POST", "/v1/sessions", { vault: "shared" }],
      ["GET", "/v1/admin/settings", undefined],
      ["GET", "/v1/auth/sessions", undefined],
      ["DELETE", "/v1/auth/account", undefined],
    ] as const) {
      expect([path, (await api.call(method, path, { token, body })).status]).toEqual([path, 403]);
    }
  });

  it("removing a person takes back the invitations they had open", async () => {
    const leaving = await api.addUser("leaving@example.com");
    const body = { email: "friend@example.com" };
    const { invite_link: link } = await api.expect(201, "POST", "/v1/users/invites", { token: leaving, body });
    await api.expect(200, "DELETE", "/v1/admin/users/leaving@example.com", { token: owner });
    const path = `/v1/users/invites/${String(link).split("/invite/")[1]}/details`;
    expect((await api.call("GET", path)).body.error_title).toBe("Invite Revoked");
  });
});
