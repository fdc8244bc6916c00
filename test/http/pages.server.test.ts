import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";
import { journalEntry } from "../support/journal-entry.ts";
import { countingStatements } from "../support/statement-count.ts";

const count = 50;
const two = (index: number) => String(index).padStart(2, "0");
const passthrough = { type: "passthrough" };

/** Every route that lists what can grow: where it is, and the field that holds the list. */
const lists = [
  { path: "/v1/users", field: "users" },
  { path: "/v1/users/invites", field: "invites" },
  { path: "/v1/users/invites?status=pending", field: "invites" },
  { path: "/v1/agents", field: "agents" },
  { path: "/v1/vaults", field: "vaults" },
  { path: "/v1/admin/vaults", field: "vaults", as: "owner" },
  { path: "/v1/vaults/busy/users", field: "users" },
  { path: "/v1/vaults/busy/agents", field: "agents" },
  { path: "/v1/vaults/busy/services", field: "services" },
  { path: "/v1/credentials?vault=busy", field: "credentials" },
  { path: "/v1/credentials?vault=busy&reveal=true", field: "credentials" },
  { path: "/v1/sessions?vault=busy", field: "sessions" },
  { path: "/v1/auth/sessions", field: "sessions" },
  { path: "/v1/agent-invites", field: "invites" },
  { path: "/v1/agent-invites?status=pending", field: "invites" },
  { path: "/v1/vaults/busy/services/credential-usage?key=SHARED", field: "services" },
  { path: "/v1/admin/proposals?vault=busy", field: "proposals" },
  { path: "/v1/admin/proposals?vault=busy&status=pending", field: "proposals" },
  { path: "/v1/proposals", field: "proposals", as: "agent" },
] as const;

/** Lists that are not paged by `limit` and `cursor`, or not in this way. */
const otherLists = [
  "/v1/vaults/busy/discovered-hosts?limit=100",
  "/v1/vaults/busy/logs?limit=200",
  "/v1/vaults/busy/logs?status_bucket=err",
  "/v1/vaults/busy/context",
  "/v1/vaults/busy/audit?limit=200",
] as const;

describeOnEachEngine("lists", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let statements: () => number;
  const tokens = { owner: "", admin: "", agent: "" };
  /** Statements of each route with one item of everything. */
  const statementsForOne = new Map<string, number>();

  const tokenFor = (list: (typeof lists)[number]) => tokens["as" in list ? list.as : "admin"];
  const everything: readonly { readonly path: string; readonly token: () => string }[] = [
    ...lists.map((list) => ({ path: list.path, token: () => tokenFor(list) })),
    ...otherLists.map((path) => ({ path, token: () => tokens.admin })),
  ];

  async function add(from: number, to: number): Promise<void> {
    const { owner, admin, agent } = tokens;
    const numbers = Array.from({ length: to - from }, (_, index) => two(from + index));
    for (const number of numbers) {
      await api.addUser(`user-${number}@example.com`);
      await api.addVault(admin, `vault-${number}`);
      await api.addAgent(admin, `agent-${number}`, {
        vaults: [{ vault_name: "busy" }, { vault_name: `vault-${number}` }],
      });
      const member = { email: `user-${number}@example.com`, role: "member" };
      await api.expect(201, "POST", "/v1/vaults/busy/users", { token: admin, body: member });
      await api.mint(admin, "busy");
      await api.login("admin@example.com");
      await api.expect(201, "POST", "/v1/agent-invites", { token: admin, body: { name: `invited-${number}` } });
    }
    // No more than 20 may be pending.
    for (const number of numbers.slice(0, 19)) {
      const proposal = { credentials: [{ action: "set", key: `WANTED_${number}` }] };
      await api.expect(201, "POST", "/v1/proposals", { token: agent, body: proposal });
    }
    // No more than 50 invitations may be open; the owner's are none of the admin's, except into a vault of theirs.
    for (const number of numbers.slice(0, 20)) {
      const vaults = [{ vault_name: "busy" }, { vault_name: `vault-${number}` }];
      const invite = { email: `invited-${number}@example.com`, vaults };
      await api.expect(201, "POST", "/v1/users/invites", { token: owner, body: invite });
    }
    const services = numbers.map((number) => ({
      name: `service-${number}`,
      host: `${number}.example.com`,
      auth: Number(number) % 2 === 0 ? { type: "bearer", token: "SHARED" } : passthrough,
    }));
    await api.expect(200, "POST", "/v1/vaults/busy/services", { token: admin, body: { services } });
    const credentials = Object.fromEntries(numbers.map((number) => [`KEY_${number}`, `value-${number}`]));
    await api.expect(200, "POST", "/v1/credentials", { token: admin, body: { vault: "busy", credentials } });
    const { id } = await database.db
      .selectFrom("vaults")
      .select("id")
      .where("name", "=", "busy")
      .executeTakeFirstOrThrow();
    for (const number of numbers) {
      const missed = { matchedService: "", status: 403, errorCode: "no_match", host: `miss-${number}.example.net:443` };
      const startedAtMs = Date.parse(`2026-01-31T12:00:${number}Z`);
      api.domain.journal.record(journalEntry({ vaultId: id, ...missed, startedAtMs }));
    }
    await api.domain.journal.flush();
  }

  async function countStatements(path: string, token: string): Promise<number> {
    // Once before: who may be asked is cached, and "last used" is written once a minute.
    await api.expect(200, "GET", path, { token });
    const before = statements();
    await api.expect(200, "GET", path, { token });
    return statements() - before;
  }

  beforeAll(async () => {
    const counted = countingStatements(await openScratch());
    database = counted.database;
    statements = counted.statements;
    api = await ApiServer.start(database);
    tokens.owner = await api.registerOwner();
    tokens.admin = await api.addUser("admin@example.com");
    await api.addVault(tokens.admin, "busy");
    await api.expect(200, "POST", "/v1/vaults/busy/join", { token: tokens.owner });
    tokens.agent = await api.mint(tokens.admin, "busy");
    await add(0, 1);
    for (const { path, token } of everything) statementsForOne.set(path, await countStatements(path, token()));
    await add(1, count);
  }, 120_000);
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  describe("ask the database", () => {
    it.each(everything)("as often for many items as for one: $path", async ({ path, token }) => {
      expect(statementsForOne.get(path)).toBeGreaterThan(0);
      expect(await countStatements(path, token())).toBe(statementsForOne.get(path));
      const page = `${path}${path.includes("?") ? "&" : "?"}limit=25`;
      expect(await countStatements(page, token())).toBeLessThanOrEqual((statementsForOne.get(path) ?? 0) + 1);
    });
  });

  const ask = (list: (typeof lists)[number], more: string) =>
    api.call("GET", `${list.path}${list.path.includes("?") ? "&" : "?"}${more}`, { token: tokenFor(list) });

  describe("page by page", () => {
    it.each(lists)("give every item once, in the order of the whole list: $path", async (list) => {
      const whole = await api.expect(200, "GET", list.path, { token: tokenFor(list) });
      expect(whole).not.toHaveProperty("next_cursor");
      const items = whole[list.field] as readonly unknown[];
      expect(items.length).toBeGreaterThanOrEqual(20);
      for (const limit of [7, items.length, 1_000]) {
        const collected: unknown[] = [];
        let cursor = "";
        do {
          const { status, body } = await ask(list, `limit=${limit}&cursor=${cursor}`);
          expect(status).toBe(200);
          const page = body[list.field] as readonly unknown[];
          expect(page.length).toBeLessThanOrEqual(limit);
          expect(page.length).toBeGreaterThan(0);
          collected.push(...page);
          cursor = String(body.next_cursor ?? "");
        } while (cursor !== "");
        expect(collected).toEqual(items);
      }
    });

    it.each(lists)("refuse a cursor that is not theirs: $path", async (list) => {
      const cursorOf = (key: unknown) => Buffer.from(JSON.stringify(key)).toString("base64url");
      const forged = [
        "x",
        "../../etc",
        "a".repeat(3_000),
        cursorOf({}),
        cursorOf([]),
        cursorOf([1]),
        cursorOf([null, null]),
        cursorOf(["a\u0000"]),
        cursorOf(["a", "b", "c", "d"]),
        cursorOf(["\u0000", "\u0000"]),
        cursorOf(["2026-02-31T00:00:00.000Z", "\ud800"]),
        cursorOf(["0", "now", "x"]),
        cursorOf(["99999999999999999999", "x"]),
      ];
      for (const cursor of forged) {
        const { status, body } = await ask(list, `cursor=${cursor}`);
        expect([status, body.code], cursor.slice(0, 80)).toEqual([400, "invalid_cursor"]);
      }
    });

    it.each(lists)("bound what one request gets: $path", async (list) => {
      for (const limit of ["0", "-1", "1.5", "ten", "1e3", "99999999999999999999"]) {
        expect(await ask(list, `limit=${limit}`), limit).toMatchObject({
          status: 400,
          body: { code: "invalid_limit" },
        });
      }
      const huge = await ask(list, "limit=999999999");
      expect(huge.status).toBe(200);
      const first = await ask(list, "limit=&cursor=");
      expect((first.body[list.field] as unknown[]).length).toBeLessThanOrEqual(100);
    });

    it("neither repeat nor hide others when the last item of a page goes", async () => {
      const path = "/v1/vaults/busy/services?limit=3";
      const first = await api.expect(200, "GET", path, { token: tokens.admin });
      const [, , last] = first.services as { name: string }[];
      await api.expect(200, "DELETE", `/v1/vaults/busy/services/${last?.name}`, { token: tokens.admin });
      const second = await api.expect(200, "GET", `${path}&cursor=${first.next_cursor}`, { token: tokens.admin });
      expect((second.services as { name: string }[]).map(({ name }) => name)).toEqual([
        "service-03",
        "service-04",
        "service-05",
      ]);
    });

    it("show nothing of other vaults to a cursor that names their items", async () => {
      const stranger = await api.addUser("stranger@example.com");
      await api.addVault(stranger, "elsewhere");
      const cursor = Buffer.from(JSON.stringify(["A"])).toString("base64url");
      for (const [path, field] of [
        [`/v1/credentials?vault=elsewhere&cursor=${cursor}`, "keys"],
        [`/v1/agents?cursor=${cursor}`, "agents"],
        [`/v1/vaults/elsewhere/agents?cursor=${cursor}`, "agents"],
      ] as const) {
        expect((await api.expect(200, "GET", path, { token: stranger }))[field]).toEqual([]);
      }
      const foreign = await api.call("GET", `/v1/credentials?vault=busy&cursor=${cursor}`, { token: stranger });
      expect(foreign.status).toBe(404);
    });

    it("show discovered hosts, as ever to a client that sends a limit alone", async () => {
      const path = "/v1/vaults/busy/discovered-hosts";
      const plain = await api.expect(200, "GET", `${path}?limit=100`, { token: tokens.admin });
      expect(Object.keys(plain)).toEqual(["hosts", "total"]);
      const collected: unknown[] = [];
      let cursor = "";
      do {
        const page = await api.expect(200, "GET", `${path}?limit=20&cursor=${cursor}`, { token: tokens.admin });
        expect(page.total).toBe(count);
        collected.push(...(page.hosts as unknown[]));
        cursor = String(page.next_cursor ?? "");
      } while (cursor !== "");
      expect(collected).toEqual(plain.hosts);
      const forged = await api.call("GET", `${path}?cursor=W10`, { token: tokens.admin });
      expect(forged).toMatchObject({ status: 400, body: { code: "invalid_cursor" } });
    });
  });
});
