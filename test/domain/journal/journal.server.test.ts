import { expect, it } from "vitest";
import { systemClock } from "../../../src/domain/clock.ts";
import { Discovery } from "../../../src/domain/discovery.ts";
import { Journal } from "../../../src/domain/journal.ts";
import type { JournalEntry } from "../../../src/domain/journal-entry.ts";
import type { JournalQuery } from "../../../src/domain/journal-query.ts";
import { pruneJournal, retentionLimits } from "../../../src/domain/journal-retention.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Database } from "../../../src/storage/database.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { journalEntry } from "../../support/journal-entry.ts";
import { buildVaultWorld, defaultVaultId } from "../../support/vault-world.ts";

const startedAtMs = Date.parse("2026-01-31T12:00:00.250Z");

const entry = (change: Partial<JournalEntry> = {}) => journalEntry({ requestId: "r1", startedAtMs, ...change });

const paths = (page: { readonly rows: readonly { readonly path: string }[] }) => page.rows.map(({ path }) => path);

/** Lets everything fail while it is away. */
function withOutages(database: Database): { database: Database; away: { isAway: boolean } } {
  const away = { isAway: false };
  const fail = async () => {
    throw new Error("connection refused");
  };
  const guarded = new Proxy(database, {
    get: (real, name) => {
      if (away.isAway && (name === "insertRows" || name === "ping")) return fail;
      const value: unknown = Reflect.get(real, name);
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
  return { database: guarded, away };
}

describeEachDatabase("the journal", (open) => {
  it("writes what was recorded, in order", async () => {
    const { database, owner } = await buildVaultWorld(await open());
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    journal.record(entry({ actorId: owner.id }));
    journal.record(
      entry({ actorId: "unknown", path: "/second", upstreamMs: null, status: 502, errorCode: "upstream_error" }),
    );
    await journal.flush();
    const { rows, latestId } = await journal.list(defaultVaultId, { limit: 50 });
    expect(rows).toMatchObject([
      { path: "/second", status: 502, errorCode: "upstream_error", upstreamMs: null, actorName: undefined },
      {
        requestId: "r1",
        ingress: "mitm",
        method: "GET",
        host: "api.github.com:443",
        matchedService: "github",
        credentialKeys: ["TOK"],
        latencyMs: 12,
        upstreamMs: 10,
        actorName: "owner@example.com",
        sessionId: "s1",
        count: 1,
        createdAt: "2026-01-31T12:00:00.250Z",
      },
    ]);
    expect(latestId).toBe(rows[0]?.id);
    await journal.close();
  });

  it("remembers what was found in an answer, also when entries are counted together", async () => {
    const { database, away } = withOutages(await open());
    const journal = new Journal({ clock: systemClock, database, log: silentLogger, maxWaiting: 1 });
    const scrubbed = { mode: "redact", found: ["TOK"], isBlind: false } as const;
    const blind = { mode: "redact", found: [], isBlind: true } as const;
    away.isAway = true;
    journal.record(entry({ path: "/blind", scrubbed: blind }));
    for (const path of ["/plain", "/plain"]) journal.record(entry({ path }));
    for (const path of ["/found", "/found", "/found"]) journal.record(entry({ path, scrubbed }));
    away.isAway = false;
    await journal.close();
    const { rows } = await journal.list(defaultVaultId, { limit: 50 });
    expect(rows.map(({ path, count, scrubbed: found }) => ({ path, count, found })).reverse()).toEqual([
      { path: "/blind", count: 1, found: blind },
      { path: "/plain", count: 2, found: undefined },
      { path: "/found", count: 3, found: scrubbed },
    ]);
  });

  it("writes by itself, a quarter of a second later", async () => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    journal.record(entry());
    await expect.poll(async () => (await journal.list(defaultVaultId, { limit: 1 })).rows.length).toBe(1);
    await journal.close();
  });

  it("loses nothing when it is closed", async () => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    for (let index = 0; index < 1_234; index++) journal.record(entry({ path: `/${index}` }));
    await journal.close();
    const { count } = await database.db
      .selectFrom("request_log")
      .select((row) => row.fn.countAll<number | string>().as("count"))
      .executeTakeFirstOrThrow();
    expect(Number(count)).toBe(1_234);
    expect(paths(await journal.list(defaultVaultId, { limit: 2 }))).toEqual(["/1233", "/1232"]);
  });

  it("keeps entries while the database is away, and counts those beyond its bound", async () => {
    const { database, away } = withOutages(await open());
    const journal = new Journal({ clock: systemClock, database, log: silentLogger, maxWaiting: 5 });
    away.isAway = true;
    for (let index = 0; index < 20; index++) journal.record(entry({ path: `/${index}` }));
    journal.record(entry({ path: "/other", status: 500 }));
    away.isAway = false;
    await journal.close();
    const { rows } = await journal.list(defaultVaultId, { limit: 50 });
    expect(rows.map(({ path, count }) => [path, count]).reverse()).toEqual([
      ["/0", 1],
      ["/1", 1],
      ["/2", 1],
      ["/3", 1],
      ["/4", 1],
      ["/5", 15],
      ["/other", 1],
    ]);
  });

  it("gives up on a database that stays away when it must end", async () => {
    const { database, away } = withOutages(await open());
    const reports: unknown[] = [];
    const log = { ...silentLogger, error: (event: string, fields?: object) => reports.push({ event, ...fields }) };
    const journal = new Journal({ clock: systemClock, database, log, maxWaiting: 2, closeWithinMs: 50 });
    away.isAway = true;
    for (let index = 0; index < 5; index++) journal.record(entry());
    await journal.close();
    away.isAway = false;
    expect(reports).toEqual([{ event: "journal entries could not be written before the end", entries: 5 }]);
    expect((await journal.list(defaultVaultId, { limit: 1 })).rows).toEqual([]);
  });

  it("stores texts that a database refuses in a form that it takes", async () => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    journal.record(entry({ path: `/a\u0000b${"x".repeat(5_000)}` }));
    journal.record(entry({ path: "/next" }));
    await journal.close();
    const { rows } = await journal.list(defaultVaultId, { limit: 2 });
    expect(rows.map(({ path }) => path.slice(0, 5))).toEqual(["/next", "/a\ufffdbx"]);
    expect(rows[1]?.path).toHaveLength(2_048);
  });

  it("is read backwards page by page, and forwards from where one was", async () => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    for (let index = 0; index < 5; index++) journal.record(entry({ path: `/${index}` }));
    await journal.flush();
    const first = await journal.list(defaultVaultId, { limit: 2 });
    expect(paths(first)).toEqual(["/4", "/3"]);
    const second = await journal.list(defaultVaultId, { limit: 2, before: first.nextCursor ?? undefined });
    expect(paths(second)).toEqual(["/2", "/1"]);
    const last = await journal.list(defaultVaultId, { limit: 2, before: second.nextCursor ?? undefined });
    expect([paths(last), last.nextCursor]).toEqual([["/0"], null]);

    const newer = await journal.list(defaultVaultId, { limit: 2, after: last.latestId });
    expect([paths(newer), newer.nextCursor]).toEqual([["/2", "/1"], null]);
    const none = await journal.list(defaultVaultId, { limit: 2, after: first.latestId });
    expect([paths(none), none.latestId]).toEqual([[], first.latestId]);
    await journal.close();
  });

  it.each<{ query: Partial<JournalQuery>; shows: readonly string[] }>([
    { query: { statusBucket: "2xx" }, shows: ["/truncated", "/ok"] },
    { query: { statusBucket: "4xx" }, shows: ["/forbidden"] },
    { query: { statusBucket: "err" }, shows: ["/truncated", "/forbidden"] },
    { query: { service: "other" }, shows: ["/truncated"] },
    { query: { ingress: "mitm", service: "github", statusBucket: "2xx" }, shows: ["/ok"] },
    { query: { ingress: "explicit" }, shows: [] },
  ])("is filtered by $query", async ({ query, shows }) => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    journal.record(entry({ path: "/ok" }));
    journal.record(entry({ path: "/forbidden", status: 403, errorCode: "service_disabled" }));
    journal.record(entry({ path: "/truncated", errorCode: "response_truncated", matchedService: "other" }));
    await journal.close();
    expect(paths(await journal.list(defaultVaultId, { limit: 50, ...query }))).toEqual(shows);
  });

  it("shows a vault only its own rows", async () => {
    const { database, vaults, owner } = await buildVaultWorld(await open());
    const { id } = await vaults.create(owner, "other");
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    journal.record(entry({ vaultId: id }));
    await journal.close();
    expect((await journal.list(defaultVaultId, { limit: 50 })).rows).toEqual([]);
    expect((await journal.list(id, { limit: 50 })).rows).toHaveLength(1);
  });
});

describeEachDatabase("discovered hosts", (open) => {
  it("are counted over batches, without their ports, until a service covers them", async () => {
    const { database, services, owner } = await buildVaultWorld(await open());
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    const missed = { matchedService: "", status: 403, errorCode: "no_match" };
    journal.record(entry({ ...missed, host: "api.stripe.com:443", authScheme: "bearer", authHeader: "Authorization" }));
    journal.record(entry({ ...missed, host: "api.stripe.com:8443", startedAtMs: startedAtMs + 1_000 }));
    journal.record(
      entry({ ...missed, host: "x.example.com:443", errorCode: "", status: 401, startedAtMs: startedAtMs - 1_000 }),
    );
    journal.record(entry({ ...missed, host: "fine.example.com:443", errorCode: "", status: 200 }));
    journal.record(entry({ host: "covered.example.com:443", status: 401 }));
    await journal.flush();
    journal.record(
      entry({
        ...missed,
        host: "api.stripe.com:443",
        authScheme: "api-key",
        authHeader: "X-Api-Key",
        startedAtMs: startedAtMs + 2_000,
      }),
    );
    await journal.close();

    const discovery = new Discovery({ database, services });
    const { hosts, total } = await discovery.hosts(defaultVaultId, 5);
    expect(hosts.map(({ requestCount, ...host }) => ({ ...host, requestCount: Number(requestCount) }))).toEqual([
      {
        host: "api.stripe.com",
        requestCount: 3,
        lastSeen: "2026-01-31T12:00:02.250Z",
        authScheme: "api-key",
        authHeader: "X-Api-Key",
      },
      { host: "x.example.com", requestCount: 1, lastSeen: "2026-01-31T11:59:59.250Z", authScheme: "", authHeader: "" },
    ]);
    expect(total).toBe(2);
    expect(await discovery.hosts(defaultVaultId, 0)).toEqual({ hosts: [], total: 2 });

    const auth = { type: "passthrough" };
    await services.upsert(owner, defaultVaultId, [{ name: "wild", host: "*.example.com:9/x", enabled: false, auth }]);
    expect((await discovery.hosts(defaultVaultId, 5)).hosts.map(({ host }) => host)).toEqual(["api.stripe.com"]);
  });
});

describeEachDatabase("retention", (open) => {
  async function filled() {
    const { database, vaults, owner } = await buildVaultWorld(await open());
    const { id } = await vaults.create(owner, "other");
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    for (let hour = 10; hour > 0; hour--) {
      journal.record(entry({ path: `/${hour}`, startedAtMs: startedAtMs - hour * 3_600_000 }));
    }
    journal.record(entry({ vaultId: id, startedAtMs: startedAtMs - 60_000 }));
    await journal.close();
    return { database, journal, other: id, vaults, owner };
  }

  it("keeps what is young enough", async () => {
    const { database, journal } = await filled();
    expect(await pruneJournal(database, { maxAgeHours: 3.5, maxRowsPerVault: 0 }, startedAtMs)).toBe(7);
    expect(paths(await journal.list(defaultVaultId, { limit: 50 }))).toEqual(["/1", "/2", "/3"]);
  });

  it("keeps the newest rows of each vault", async () => {
    const { database, journal, other } = await filled();
    expect(await pruneJournal(database, { maxAgeHours: 0, maxRowsPerVault: 4 }, startedAtMs)).toBe(6);
    expect(paths(await journal.list(defaultVaultId, { limit: 50 }))).toEqual(["/1", "/2", "/3", "/4"]);
    expect((await journal.list(other, { limit: 50 })).rows).toHaveLength(1);
  });

  it("keeps everything when both limits are off, except what a deleted vault left behind", async () => {
    const { database, vaults, other, owner } = await filled();
    const off = { maxAgeHours: 0, maxRowsPerVault: 0 };
    expect(await pruneJournal(database, off, startedAtMs)).toBe(0);
    await vaults.delete(owner, other);
    const late = new Journal({ clock: systemClock, database, log: silentLogger });
    late.record(entry({ vaultId: other }));
    await late.close();
    expect(await pruneJournal(database, off, startedAtMs)).toBe(1);
  });

  it("keeps the newest 500 discovered hosts of each vault, and none that is too old", async () => {
    const { database, other } = await filled();
    const seen = (vaultId: string, host: number, atMs: number) => ({
      vault_id: vaultId,
      host: `h${host}.example.com`,
      request_count: 1,
      auth_scheme: "",
      auth_header: "",
      last_seen: new Date(atMs).toISOString(),
    });
    const many = Array.from({ length: 503 }, (_, index) => seen(defaultVaultId, index, startedAtMs + index));
    await database.db.insertInto("discovered_hosts").values(many).execute();
    const few = [seen(other, 1, startedAtMs), seen(other, 2, startedAtMs - 5 * 3_600_000)];
    await database.db.insertInto("discovered_hosts").values(few).execute();
    await pruneJournal(database, { maxAgeHours: 4, maxRowsPerVault: 0 }, startedAtMs);
    const rows = await database.db.selectFrom("discovered_hosts").select(["vault_id", "host"]).execute();
    const left = (id: string) => rows.filter((row) => row.vault_id === id).map((row) => row.host);
    expect(left(defaultVaultId)).toHaveLength(500);
    expect(left(defaultVaultId)).not.toContain("h2.example.com");
    expect(left(other)).toEqual(["h1.example.com"]);
  });

  it("takes the environment's word before the stored one, and the default after both", async () => {
    const database = await open();
    const unsaid = { maxAgeHours: undefined, maxRowsPerVault: undefined, isLocked: false };
    expect(await retentionLimits(database, unsaid)).toEqual({ maxAgeHours: 168, maxRowsPerVault: 10_000 });
    const value = JSON.stringify({ max_age_hours: 24, max_rows_per_vault: 50 });
    const row = { key: "logs_retention", value, updated_at: new Date().toISOString() };
    await database.db.insertInto("instance_settings").values(row).execute();
    expect(await retentionLimits(database, { ...unsaid, maxAgeHours: 0 })).toEqual({
      maxAgeHours: 0,
      maxRowsPerVault: 50,
    });
    expect(await retentionLimits(database, { ...unsaid, isLocked: true })).toEqual({
      maxAgeHours: 168,
      maxRowsPerVault: 10_000,
    });
  });
});
