import { afterEach, expect, it } from "vitest";
import type { Database } from "../../../src/storage/database.ts";
import { type Answer, ApiServer, password, randomKeyring } from "../../support/api-server.ts";
import { describeEachDatabase } from "../../support/database.ts";

/** What must hold when two people act in the same moment, each on another instance of one database. */
describeEachDatabase("two instances of one database", (open, engine) => {
  const servers: ApiServer[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });

  const start = async (): Promise<readonly [ApiServer, ApiServer, Database]> => {
    const keyring = await randomKeyring();
    const database = await open();
    const first = await ApiServer.start(database, { keyring });
    // A SQLite file belongs to one process, whose servers would share its connections.
    const same = engine === "postgres" ? await open({ shared: true }) : database;
    const second = await ApiServer.start(same, { keyring });
    servers.push(first, second);
    return [first, second, database];
  };
  const statuses = (answers: readonly Answer[]) => answers.map(({ status }) => status).sort();
  /** The same call three times on each instance, all at once. */
  const everywhere = (call: (api: ApiServer) => Promise<Answer>) =>
    Promise.all(servers.flatMap((api) => [call(api), call(api), call(api)]));
  const owners = async (database: Database) => {
    const people = await database.db.selectFrom("users").select("id").where("role", "=", "owner").execute();
    const agents = await database.db
      .selectFrom("agents")
      .select("id")
      .where("role", "=", "owner")
      .where("status", "=", "active")
      .execute();
    return people.length + agents.length;
  };

  it("have one first owner", async () => {
    const [, , database] = await start();
    const answers = await everywhere((api) => {
      const email = `${crypto.randomUUID()}@example.com`;
      return api.call("POST", "/v1/auth/register", { body: { email, password } });
    });
    expect(answers.filter(({ body }) => body.role === "owner")).toHaveLength(1);
    expect(await owners(database)).toBe(1);
  });

  it("know of each other's first owner at once", async () => {
    const [first, second] = await start();
    for (const api of [first, second]) expect((await api.call("GET", "/v1/vaults")).status).toBe(503);
    const token = await first.registerOwner();
    expect((await second.call("GET", "/v1/vaults", { token })).status).toBe(200);
    expect((await second.call("GET", "/v1/status")).body).toMatchObject({ initialized: true });
  });

  it("keep one of three owners who end each other, people and agents, in every way there is", async () => {
    const [first, second, database] = await start();
    const ada = await first.registerOwner("ada@example.com");
    const bob = await first.addUser("bob@example.com", "owner");
    const robot = await first.addAgent(ada, "robot", { role: "owner" });
    const role = { role: "member" };
    const answers = await Promise.all([
      first.call("DELETE", "/v1/admin/users/bob@example.com", { token: ada }),
      second.call("POST", "/v1/admin/users/ada@example.com/role", { token: bob, body: role }),
      second.call("DELETE", "/v1/agents/robot", { token: bob }),
      first.call("POST", "/v1/agents/robot/role", { token: ada, body: role }),
      second.call("POST", "/v1/admin/users/bob@example.com/role", { token: robot, body: role }),
      first.call("DELETE", "/v1/admin/users/ada@example.com", { token: robot }),
    ]);
    expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
    expect(await owners(database)).toBe(1);
  });

  it("accept an invitation once, and make one account of it", async () => {
    const [first, , database] = await start();
    const owner = await first.registerOwner();
    const body = { email: "new@example.com", vaults: [{ vault_name: "default", vault_role: "member" }] };
    const invite = await first.expect(201, "POST", "/v1/users/invites", { token: owner, body });
    const path = `/v1/users/invites/${String(invite.invite_link).split("/invite/")[1]}/accept`;
    const answers = await everywhere((api) => api.call("POST", path, { body: { password } }));
    expect(statuses(answers)).toEqual([200, 410, 410, 410, 410, 410]);
    const accounts = await database.db.selectFrom("users").select("id").where("email", "=", body.email).execute();
    expect(accounts).toHaveLength(1);
  });

  it("redeem an invitation of an agent once, and give one token", async () => {
    const [first, , database] = await start();
    const owner = await first.registerOwner();
    const body = { name: "robot" };
    const { token } = await first.expect(201, "POST", "/v1/agent-invites", { token: owner, body });
    const answers = await everywhere((api) => api.call("POST", `/invite/${token}`, { body: {} }));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 410 || status === 409)).toHaveLength(5);
    const tokens = await database.db.selectFrom("sessions").select("digest").where("kind", "=", "agent").execute();
    expect(tokens).toHaveLength(1);
  });

  it("use a verification code and a reset code once", async () => {
    const [first, , database] = await start();
    await first.registerOwner();
    const email = "new@example.com";
    await first.call("POST", "/v1/auth/register", { body: { email, password } });
    const code = first.codeFor(email);
    const verified = await everywhere((api) => api.call("POST", "/v1/auth/verify", { body: { email, code } }));
    expect(statuses(verified)).toEqual([200, 400, 400, 400, 400, 400]);

    await first.call("POST", "/v1/auth/forgot-password", { body: { email } });
    const body = { email, code: first.codeFor(email), new_password: "brand-new-pass" };
    const reset = await everywhere((api) => api.call("POST", "/v1/auth/reset-password", { body }));
    expect(statuses(reset)).toEqual([200, 400, 400, 400, 400, 400]);
    // Verified and reset: the reset ended the login that came with the verification.
    const logins = await database.db
      .selectFrom("sessions")
      .innerJoin("users", "users.id", "sessions.user_id")
      .select("sessions.digest")
      .where("users.email", "=", email)
      .execute();
    expect(logins).toHaveLength(1);
  });

  it("leave an agent that gets a new token many times at once with one, and a revoked one with none", async () => {
    const [first, , database] = await start();
    const owner = await first.registerOwner();
    await first.addAgent(owner, "robot");
    const rotate = (api: ApiServer) => api.call("POST", "/v1/agents/robot/rotate", { token: owner });
    const tokens = () => database.db.selectFrom("sessions").select("digest").where("kind", "=", "agent").execute();
    expect(statuses(await everywhere(rotate))).toEqual([200, 200, 200, 200, 200, 200]);
    expect(await tokens()).toHaveLength(1);
    for (let round = 0; round < 5; round++) {
      const revoke = first.call("DELETE", "/v1/agents/robot", { token: owner });
      const answers = await Promise.all([...servers.map(rotate), revoke, ...servers.map(rotate)]);
      expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
      const { status } = await database.db.selectFrom("agents").select("status").executeTakeFirstOrThrow();
      expect(await tokens()).toHaveLength(status === "active" ? 1 : 0);
    }
  });

  it("open no session with a password that is changed while it is checked", async () => {
    const [first, second, database] = await start();
    const email = "owner@example.com";
    let [current, token] = [password, await first.registerOwner(email)];
    for (let round = 0; round < 4; round++) {
      const body = { current_password: current, new_password: `brand-new-pass-${round}` };
      // Checking takes its time; all of these begin with the old password, and end before or after the change.
      const login = (api: ApiServer) => api.call("POST", "/v1/auth/login", { body: { email, password: current } });
      const [changed, ...logins] = await Promise.all([
        first.call("POST", "/v1/auth/change-password", { token, body }),
        ...[first, second, first, second, first, second].map(login),
      ]);
      expect(changed?.status).toBe(200);
      expect(logins.filter(({ status }) => status !== 200 && status !== 401)).toEqual([]);
      const live = await database.db.selectFrom("sessions").select("digest").where("kind", "=", "user").execute();
      expect([round, live.length]).toEqual([round, 1]);
      [current, token] = [body.new_password, String(changed?.body.token)];
    }
    // Of several who change it at once with the same old one, one does.
    const change = (name: string) => (api: ApiServer) =>
      api.call("POST", "/v1/auth/change-password", {
        token,
        body: { current_password: current, new_password: `${name}-password` },
      });
    const answers = await Promise.all([change("one")(first), change("other")(second), change("third")(first)]);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(2);
  });

  it("end a person everywhere at once, with the tokens that came from them", async () => {
    const [first, second] = await start();
    const owner = await first.registerOwner();
    const ada = await first.addUser("ada@example.com");
    await first.addVault(ada, "adas");
    const scoped = await first.mint(ada, "adas");
    const use = (token: string, path: string) => second.call("GET", path, { token });
    expect([(await use(ada, "/v1/auth/me")).status, (await use(scoped, "/discover")).status]).toEqual([200, 200]);
    await first.expect(200, "DELETE", "/v1/admin/users/ada@example.com", { token: owner });
    expect([(await use(ada, "/v1/auth/me")).status, (await use(scoped, "/discover")).status]).toEqual([401, 401]);
  });
});
