import { afterEach, beforeEach, expect, it } from "vitest";
import {
  type Answer,
  ApiServer,
  describeOnEachEngine,
  password,
  type ScratchDatabase,
} from "../../support/api-server.ts";

/** What must hold when two people act in the same moment. */
describeOnEachEngine("when two act at once", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;

  beforeEach(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
  });
  afterEach(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status).sort();

  it("one of several first registrations becomes the owner", async () => {
    const answers = await Promise.all(
      ["a", "b", "c", "d"].map((name) =>
        api.call("POST", "/v1/auth/register", { body: { email: `${name}@example.com`, password } }),
      ),
    );
    expect(statuses(answers)).toEqual([201, 201, 201, 201]);
    expect(answers.filter(({ body }) => body.role === "owner")).toHaveLength(1);
    const owners = await database.db.selectFrom("users").select("email").where("role", "=", "owner").execute();
    expect(owners).toHaveLength(1);
  });

  it("two owners who demote each other leave one", async () => {
    const first = await api.registerOwner("first@example.com");
    const second = await api.addUser("second@example.com", "owner");
    const demote = (token: string, email: string) =>
      api.call("POST", `/v1/admin/users/${email}/role`, { token, body: { role: "member" } });
    const answers = await Promise.all([demote(first, "second@example.com"), demote(second, "first@example.com")]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const owners = await database.db.selectFrom("users").select("email").where("role", "=", "owner").execute();
    expect(owners).toHaveLength(1);
  });

  it("an owner and an owner agent who end each other leave one", async () => {
    const owner = await api.registerOwner();
    const agent = await api.addAgent(owner, "owner-agent", { role: "owner" });
    const answers = await Promise.all([
      api.call("DELETE", "/v1/agents/owner-agent", { token: owner }),
      api.call("POST", "/v1/admin/users/owner@example.com/role", { token: agent, body: { role: "member" } }),
    ]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  it("two admins who leave a vault leave one", async () => {
    const owner = await api.registerOwner();
    const other = await api.addUser("other@example.com");
    await api.addVault(owner, "shared");
    const body = { email: "other@example.com", role: "admin" };
    await api.expect(201, "POST", "/v1/vaults/shared/users", { token: owner, body });
    const answers = await Promise.all([
      api.call("POST", "/v1/vaults/shared/leave", { token: owner }),
      api.call("POST", "/v1/vaults/shared/leave", { token: other }),
    ]);
    expect(statuses(answers)).toEqual([200, 409]);
  });

  it("an invitation is accepted once", async () => {
    const owner = await api.registerOwner();
    const body = { email: "new@example.com" };
    const invite = await api.expect(201, "POST", "/v1/users/invites", { token: owner, body });
    const path = `/v1/users/invites/${String(invite.invite_link).split("/invite/")[1]}/accept`;
    const answers = await Promise.all([1, 2, 3].map(() => api.call("POST", path, { body: { password } })));
    expect(statuses(answers)).toEqual([200, 410, 410]);
  });

  it("an address is invited once, and an agent's name is given once", async () => {
    const owner = await api.registerOwner();
    const invite = () => api.call("POST", "/v1/users/invites", { token: owner, body: { email: "new@example.com" } });
    expect(statuses(await Promise.all([invite(), invite(), invite()]))).toEqual([201, 409, 409]);
    const agent = () => api.call("POST", "/v1/agents", { token: owner, body: { name: "same-name" } });
    expect(statuses(await Promise.all([agent(), agent(), agent()]))).toEqual([201, 409, 409]);
  });

  it("a code is used once, and guesses made together all count", async () => {
    await api.registerOwner();
    await api.call("POST", "/v1/auth/register", { body: { email: "new@example.com", password } });
    const code = api.codeFor("new@example.com");
    const verify = (attempt: string) =>
      api.call("POST", "/v1/auth/verify", { body: { email: "new@example.com", code: attempt } });
    const wrong = code === "000000" ? "000001" : "000000";
    const guesses = await Promise.all(Array.from({ length: 15 }, () => verify(wrong)));
    expect(guesses.filter(({ status }) => status === 400)).toHaveLength(10);
    expect(guesses.filter(({ status }) => status === 429)).toHaveLength(5);
    // The right code is burned too, and stays so when the block is over.
    expect((await verify(code)).status).toBe(429);
    api.clock.advance(15 * 60_000 + 1);
    expect((await verify(code)).status).toBe(400);

    await api.call("POST", "/v1/auth/resend-verification", { body: { email: "new@example.com" } });
    const fresh = api.codeFor("new@example.com");
    expect(statuses(await Promise.all([verify(fresh), verify(fresh)]))).toEqual([200, 400]);
  });
});
