import { afterEach, expect, it } from "vitest";
import { derivationsBegun } from "../../../src/crypto/argon2.ts";
import { ApiServer, describeOnEachEngine, password, type ScratchDatabase } from "../../support/api-server.ts";

const minute = 60_000;
/** Clients are told apart by what a proxy on this machine says about them. */
const environment = { AGENT_VAULT_TRUSTED_PROXIES: "127.0.0.1" };
const from = (ip: string) => ({ "x-forwarded-for": ip });

async function blockedEntries({ db }: ScratchDatabase) {
  const rows = await db
    .selectFrom("audit_log")
    .select(["action", "actor_type as actor", "client_ip as ip", "target_name as target"])
    .where("action", "like", "%blocked")
    .orderBy("id")
    .execute();
  return rows;
}

describeOnEachEngine("guessing", (openScratch) => {
  const opened: AsyncDisposable[] = [];
  afterEach(async () => {
    for (const part of opened.splice(0).reverse()) await part[Symbol.asyncDispose]();
  });
  const open = async (): Promise<ScratchDatabase> => {
    const database = await openScratch();
    opened.push(database);
    return database;
  };
  const start = async (database: ScratchDatabase, more: Record<string, string> = {}) => {
    const api = await ApiServer.start(database, { environment: { ...environment, ...more } });
    opened.push(api);
    return api;
  };
  const few = { AGENT_VAULT_RATELIMIT_PROFILE: "default", AGENT_VAULT_RATELIMIT_AUTH_MAX: "5" };
  const login = (api: ApiServer, email: string, secret: string, ip: string) =>
    api.call("POST", "/v1/auth/login", { body: { email, password: secret }, headers: from(ip) });
  const statuses = async (answers: readonly Promise<{ readonly status: number }>[]) =>
    (await Promise.all(answers)).map(({ status }) => status).sort();

  it("passwords is slowed by counts that a restart and another instance share", async () => {
    const database = await open();
    const first = await start(database, few);
    await first.registerOwner();
    const second = await start(database, few);
    const guess = (api: ApiServer) => login(api, "owner@example.com", "wrong-password", "203.0.113.9");
    expect(await statuses([guess(first), guess(second), guess(first), guess(second)])).toEqual([401, 401, 401, 401]);
    expect((await guess(first)).status).toBe(401);
    // A process that has counted nothing in its own memory yet.
    const third = await start(database, few);
    const blocked = await login(third, "owner@example.com", password, "203.0.113.9");
    expect(blocked.status).toBe(429);
    expect(blocked.body).toMatchObject({ error: "too_many_requests" });
    expect(Number(blocked.headers.get("retry-after"))).toBeGreaterThan(0);
    // Nobody is locked out from elsewhere, and nobody for ever.
    expect((await login(third, "owner@example.com", password, "198.51.100.7")).status).toBe(200);
    third.clock.advance(5 * minute + 1);
    expect((await login(third, "owner@example.com", password, "203.0.113.9")).status).toBe(200);
  });

  it("passwords at the same moment counts every one", async () => {
    const database = await open();
    const first = await start(database, few);
    await first.registerOwner();
    const second = await start(database, few);
    // Past the doors, whose own memory would hold some of them back.
    const guess = (api: ApiServer) =>
      api.domain.accounts.login({
        email: "owner@example.com",
        password: "wrong-password",
        deviceLabel: undefined,
        caller: { ip: "203.0.113.9", userAgent: "" },
      });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, at) => guess(at % 2 === 0 ? first : second)),
    );
    const codes = outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason.code : "signed in"));
    expect(codes.sort()).toEqual([...Array(5).fill("invalid_login"), ...Array(7).fill("too_many_requests")]);
    // Seven were refused, and the log has one line for it.
    expect(await blockedEntries(database)).toEqual([
      { action: "account.login_blocked", actor: "anonymous", ip: "203.0.113.9", target: "owner@example.com" },
    ]);
  });

  it("passwords without an account is answered alike, count by count", async () => {
    const database = await open();
    const api = await start(database, few);
    await api.registerOwner();
    const answers = async (email: string, ip: string) => {
      const list = [];
      for (let attempt = 0; attempt < 7; attempt++) list.push(await login(api, email, "wrong-password", ip));
      return list.map(({ status, text }) => [status, text]);
    };
    const known = await answers("owner@example.com", "203.0.113.9");
    expect(known.map(([status]) => status)).toEqual([401, 401, 401, 401, 429, 429, 429]);
    expect(await answers("nobody@example.com", "198.51.100.7")).toEqual(known);
  });

  it("passwords from many places ends too, and the person still gets in from where they are signed in", async () => {
    const database = await open();
    const api = await start(database, { ...few, AGENT_VAULT_RATELIMIT_AUTH_MAX: "2" });
    await api.registerOwner();
    const email = "owner@example.com";
    expect((await login(api, email, password, "198.51.100.7")).status).toBe(200);
    for (let host = 1; host <= 10; host++) {
      expect((await login(api, email, "wrong-password", `203.0.113.${host}`)).status).toBe(401);
    }
    expect((await login(api, email, password, "203.0.113.77")).status).toBe(429);
    expect(await blockedEntries(database)).toEqual([
      { action: "account.login_blocked", actor: "anonymous", ip: "203.0.113.77", target: email },
    ]);
    api.clock.advance(5 * minute + 1);
    expect((await login(api, email, password, "203.0.113.78")).status).toBe(429);
    expect((await login(api, email, password, "198.51.100.7")).status).toBe(200);
    // A stranger's flood against an address without an account ends the same way.
    for (let host = 1; host <= 10; host++) await login(api, "nobody@example.com", "wrong", `203.0.113.${host}`);
    expect((await login(api, "nobody@example.com", "wrong", "203.0.113.77")).status).toBe(429);
    // What was typed as an address may have been a password.
    expect((await blockedEntries(database)).at(-1)).toMatchObject({ action: "account.login_blocked", target: "" });
  });

  it("the current password with a stolen session is slowed", async () => {
    const database = await open();
    const api = await start(database, { ...few, AGENT_VAULT_RATELIMIT_AUTH_MAX: "3" });
    const token = await api.registerOwner();
    const change = (current: string) =>
      api.call("POST", "/v1/auth/change-password", {
        token,
        body: { current_password: current, new_password: "brand-new-pass" },
      });
    expect(await statuses([change("wrong-one"), change("wrong-two"), change("wrong-three")])).toEqual([401, 401, 401]);
    expect((await change(password)).status).toBe(429);
    expect(await blockedEntries(database)).toMatchObject([
      { action: "account.change_password_blocked", actor: "user", target: "owner@example.com" },
    ]);
    api.clock.advance(5 * minute + 1);
    expect((await change(password)).status).toBe(200);
  });

  it("codes counts on every instance of one database", async () => {
    const database = await open();
    const first = await start(database);
    await first.registerOwner();
    const second = await start(database);
    const guess = (api: ApiServer) =>
      api.call("POST", "/v1/auth/reset-password", {
        body: { email: "owner@example.com", code: "000000", new_password: "brand-new-pass" },
      });
    const guesses = Array.from({ length: 14 }, (_, at) => guess(at % 2 === 0 ? first : second));
    expect(await statuses(guesses)).toEqual([...Array(10).fill(400), ...Array(4).fill(429)]);
  });

  it("takes an address of any length, and stores none that strangers made up", async () => {
    const database = await open();
    const api = await start(database);
    await api.registerOwner();
    const email = `${"x".repeat(20_000)}@example.com`;
    expect((await login(api, email, "wrong-password", "203.0.113.9")).status).toBe(401);
    expect((await api.call("POST", "/v1/auth/verify", { body: { email, code: "000000" } })).status).toBe(400);
    expect((await api.call("POST", "/v1/auth/forgot-password", { body: { email } })).status).toBe(200);
    const rows = await database.db.selectFrom("failure_counters").select("key").execute();
    expect(JSON.stringify(rows)).not.toContain("example.com");
  });

  it("leaves no more than three codes alive, however many ask at once", async () => {
    const database = await open();
    const api = await start(database);
    await api.registerOwner();
    const forgot = (email: string) => api.call("POST", "/v1/auth/forgot-password", { body: { email } });
    await Promise.all(Array.from({ length: 12 }, () => forgot("owner@example.com")));
    const codes = await database.db.selectFrom("one_time_codes").select("id").where("status", "=", "pending").execute();
    expect(codes).toHaveLength(3);
    expect(api.output).toHaveLength(3);
  });
});

describeOnEachEngine("whether an account exists", (openScratch) => {
  it("shows neither in the answer, nor in the hashes that are computed, nor in the rows that are written", async () => {
    await using database = await openScratch();
    await using api = await ApiServer.start(database);
    await api.registerOwner();
    await api.call("POST", "/v1/auth/register", { body: { email: "unverified@example.com", password } });
    const rows = async () => {
      const count = async (table: "one_time_codes" | "failure_counters") =>
        (
          await database.db
            .selectFrom(table)
            .select((on) => on.fn.countAll().as("rows"))
            .executeTakeFirst()
        )?.rows;
      return [Number(await count("one_time_codes")), Number(await count("failure_counters"))] as const;
    };
    const observe = async (path: string, email: string) => {
      const before = await rows();
      const hashesBefore = derivationsBegun();
      const body = { email, password: "wrong-password", code: "000000", new_password: "brand-new-pass" };
      const answer = await api.call("POST", path, { body });
      const after = await rows();
      const text = answer.text.replaceAll(email, "*");
      const hashes = derivationsBegun() - hashesBefore;
      // The length of the answer follows from the address in it.
      const heads = [...answer.headers].filter(([name]) => name !== "date" && name !== "content-length");
      return {
        status: answer.status,
        heads,
        text,
        hashes,
        codes: after[0] - before[0],
        counters: after[1] - before[1],
      };
    };
    const costs = {
      register: 1,
      "resend-verification": 0,
      "forgot-password": 0,
      login: 1,
      "reset-password": 1,
      verify: 0,
    };
    for (const [path, hashes] of Object.entries(costs)) {
      const seen = [];
      for (const who of ["owner", "unverified", `nobody-${path}`]) {
        seen.push(await observe(`/v1/auth/${path}`, `${who}@example.com`));
      }
      expect([path, seen[0]?.hashes]).toEqual([path, hashes]);
      expect([path, seen[1]]).toEqual([path, seen[0]]);
      expect([path, seen[2]]).toEqual([path, seen[0]]);
    }
  });

  it("lets nobody use up the codes of an address that has no account yet", async () => {
    await using database = await openScratch();
    await using api = await ApiServer.start(database);
    await api.registerOwner();
    const email = "soon@example.com";
    for (let call = 0; call < 5; call++) await api.call("POST", "/v1/auth/resend-verification", { body: { email } });
    expect(api.output).toEqual([]);
    await api.call("POST", "/v1/auth/register", { body: { email, password } });
    await api.expect(200, "POST", "/v1/auth/verify", { body: { email, code: api.codeFor(email) } });
  });
});
