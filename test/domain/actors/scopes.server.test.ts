import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attributionOf } from "../../../src/domain/actors/scope.ts";
import { AppError } from "../../../src/errors.ts";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../../support/api-server.ts";

describeOnEachEngine("the scope of a proxy token", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let owner: string;
  let counter = 0;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    owner = await api.registerOwner();
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  const fresh = (what: string) => `${what}-${++counter}`;
  const resolve = (token: string, hint?: string) => api.domain.scopes.resolve(token, hint);
  const current = (lease: Awaited<ReturnType<typeof resolve>>) => lease.isCurrent(api.clock.now());

  it("is the minter's, for a scoped token, and asks no database while nothing changes", async () => {
    const vault = fresh("vault");
    const vaultId = await api.addVault(owner, vault);
    const lease = await resolve(await api.mint(owner, vault));
    expect(lease.scope).toMatchObject({ vaultId, vaultName: vault, vaultRole: "proxy", actorType: "user" });
    expect(lease.scope.actorId).not.toBe("");
    expect(current(lease)).toBe(true);
  });

  it("refuses a hint for another vault, and takes one for its own", async () => {
    const vault = fresh("vault");
    await api.addVault(owner, vault);
    const token = await api.mint(owner, vault);
    await expect(resolve(token, "default")).rejects.toMatchObject({ name: "Forbidden" });
    expect((await resolve(token, vault)).scope.vaultName).toBe(vault);
  });

  it("that was refused is told to the vault that it was for, and to no other", async () => {
    const [one, two, agent] = [fresh("vault"), fresh("vault"), fresh("agent")];
    const [oneId, twoId] = [await api.addVault(owner, one), await api.addVault(owner, two)];
    const scoped = await api.mint(owner, one);
    const { sessionId, actorId } = (await resolve(scoped)).scope;
    const refusalOf = async (token: string, hint?: string) => {
      const error = await resolve(token, hint).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(AppError);
      return attributionOf(error);
    };
    // A token of the first vault that is used for the second is the business of the first.
    expect(await refusalOf(scoped, two)).toMatchObject({ vaultId: oneId, sessionId, actorId });
    const token = await api.addAgent(owner, agent, { vaults: [{ vault_name: one }] });
    const stray = await refusalOf(token, two);
    expect(stray).toMatchObject({ vaultId: twoId, actorType: "agent", vaultRole: "proxy" });
    for (const [nobody, hint] of [
      ["av_sess_wrong", undefined],
      [owner, one],
      [token, "no-such-vault"],
    ] as const) {
      expect(await refusalOf(nobody, hint)).toBeUndefined();
    }
    const expired = await api.mint(owner, one);
    await database.db
      .updateTable("sessions")
      .set({ expires_at: "2020-01-01T00:00:00.000Z" })
      .where("vault_id", "=", oneId)
      .where("public_id", "<>", sessionId)
      .execute();
    expect(await refusalOf(expired)).toMatchObject({ vaultId: oneId, actorId });
  });

  it("refuses login sessions, and tokens that nobody issued", async () => {
    await expect(resolve(owner, "default")).rejects.toMatchObject({ name: "InvalidInput" });
    await expect(resolve("av_sess_wrong")).rejects.toMatchObject({ name: "Unauthenticated" });
    await expect(resolve("")).rejects.toMatchObject({ name: "Unauthenticated" });
  });

  it("needs no hint for an agent with one vault, and one for an agent with none or several", async () => {
    const [one, two, agent] = [fresh("vault"), fresh("vault"), fresh("agent")];
    await api.addVault(owner, one);
    await api.addVault(owner, two);
    const token = await api.addAgent(owner, agent);
    await expect(resolve(token)).rejects.toMatchObject({ name: "InvalidInput", code: "vault_required" });
    await api.expect(201, "POST", `/v1/vaults/${one}/agents`, { token: owner, body: { name: agent } });
    const lease = await resolve(token);
    expect(lease.scope).toMatchObject({ vaultName: one, actorType: "agent" });
    await expect(resolve(token, two)).rejects.toMatchObject({ name: "Forbidden" });
    await expect(resolve(token, "no-such-vault")).rejects.toMatchObject({ name: "NotFound" });

    await api.expect(201, "POST", `/v1/vaults/${two}/agents`, { token: owner, body: { name: agent } });
    await expect(resolve(token)).rejects.toMatchObject({ code: "vault_required" });
    // A tunnel that is open keeps the vault it was opened for.
    await lease.renew();
    expect(lease.scope.vaultName).toBe(one);
    expect(current(lease)).toBe(true);
  });

  it("follows a rename", async () => {
    const vault = fresh("vault");
    await api.addVault(owner, vault);
    const token = await api.mint(owner, vault);
    const lease = await resolve(token, vault);
    await api.expect(200, "POST", `/v1/vaults/${vault}/rename`, { token: owner, body: { name: `${vault}-new` } });
    expect(current(lease)).toBe(false);
    await lease.renew();
    expect(lease.scope.vaultName).toBe(`${vault}-new`);
    await expect(resolve(token, vault)).rejects.toMatchObject({ name: "Forbidden" });
  });

  it("ends by itself when the token expires", async () => {
    const vault = fresh("vault");
    await api.addVault(owner, vault);
    const body = { vault, ttl_seconds: 300 };
    const { token } = await api.expect(200, "POST", "/v1/sessions", { token: owner, body });
    const lease = await resolve(String(token));
    expect(lease.isCurrent(api.clock.now() + 299_000)).toBe(false);
    expect(lease.isCurrent(api.clock.now() + 29_000)).toBe(true);
    api.clock.advance(301_000);
    expect(current(lease)).toBe(false);
    await expect(lease.renew()).rejects.toMatchObject({ name: "Unauthenticated" });
  });

  describe("ends on the next request", () => {
    /** A member with a scoped token and an open tunnel. */
    async function openTunnel() {
      const [vault, name] = [fresh("vault"), fresh("member")];
      const email = `${name}@example.com`;
      await api.addVault(owner, vault);
      const member = await api.addUser(email);
      await api.expect(201, "POST", `/v1/vaults/${vault}/users`, { token: owner, body: { email, role: "admin" } });
      const token = await api.mint(member, vault);
      return { vault, email, member, token, lease: await resolve(token) };
    }

    it.each([
      [
        "the token is revoked",
        "Unauthenticated",
        async ({ vault }: Awaited<ReturnType<typeof openTunnel>>) => {
          const list = await api.expect(200, "GET", `/v1/sessions?vault=${vault}`, { token: owner });
          const [session] = list.sessions as { id: string }[];
          await api.expect(200, "DELETE", `/v1/sessions/${session?.id}?vault=${vault}`, { token: owner });
        },
      ],
      [
        "the minter loses the vault",
        "Forbidden",
        async ({ vault, email }: Awaited<ReturnType<typeof openTunnel>>) => {
          await api.expect(200, "DELETE", `/v1/vaults/${vault}/users/${email}`, { token: owner });
        },
      ],
      [
        "the minter is removed",
        "Unauthenticated",
        async ({ email }: Awaited<ReturnType<typeof openTunnel>>) => {
          await api.expect(200, "DELETE", `/v1/admin/users/${email}`, { token: owner });
        },
      ],
      [
        "the minter changes the password",
        "Unauthenticated",
        async ({ member }: Awaited<ReturnType<typeof openTunnel>>) => {
          const body = { current_password: "correct-pass-1", new_password: "correct-pass-2" };
          await api.expect(200, "POST", "/v1/auth/change-password", { token: member, body });
        },
      ],
      [
        "the vault is deleted",
        "Unauthenticated",
        async ({ vault }: Awaited<ReturnType<typeof openTunnel>>) => {
          await api.expect(200, "DELETE", `/v1/vaults/${vault}`, { token: owner });
        },
      ],
    ])("when %s", async (_what, refusal, end) => {
      const tunnel = await openTunnel();
      expect(current(tunnel.lease)).toBe(true);
      await end(tunnel);
      expect(current(tunnel.lease)).toBe(false);
      await expect(tunnel.lease.renew()).rejects.toMatchObject({ name: refusal });
      expect(current(tunnel.lease)).toBe(false);
      await expect(resolve(tunnel.token)).rejects.toMatchObject({ name: refusal });
    });

    it.each([
      ["revoked", async (agent: string) => api.expect(200, "DELETE", `/v1/agents/${agent}`, { token: owner })],
      ["deleted", async (agent: string) => api.expect(200, "POST", `/v1/agents/${agent}/delete`, { token: owner })],
      [
        "given another token",
        async (agent: string) => api.expect(200, "POST", `/v1/agents/${agent}/rotate`, { token: owner }),
      ],
    ])("when the agent is %s", async (_what, end) => {
      const [vault, agent] = [fresh("vault"), fresh("agent")];
      await api.addVault(owner, vault);
      const token = await api.addAgent(owner, agent, { vaults: [{ vault_name: vault }] });
      const lease = await resolve(token);
      await end(agent);
      expect(current(lease)).toBe(false);
      await expect(lease.renew()).rejects.toMatchObject({ name: "Unauthenticated" });
    });

    it("but not when something else changes: it renews from memory", async () => {
      const tunnel = await openTunnel();
      await api.addAgent(owner, fresh("agent"));
      expect(current(tunnel.lease)).toBe(false);
      await tunnel.lease.renew();
      expect(current(tunnel.lease)).toBe(true);
    });
  });

  it("is unavailable, never unauthenticated, while the database is away", async () => {
    await using other = await openScratch();
    await using server = await ApiServer.start(other);
    const token = await server.mint(await server.registerOwner(), "default");
    const lease = await server.domain.scopes.resolve(token, undefined);
    await other.close();
    expect(lease.isCurrent(server.clock.now())).toBe(true);
    server.clock.advance(60_000);
    await expect(lease.renew()).rejects.toMatchObject({ name: "Unavailable" });
    await expect(server.domain.scopes.resolve("av_sess_wrong", undefined)).rejects.toMatchObject({
      name: "Unavailable",
    });
  });
});
