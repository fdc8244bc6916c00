import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../../src/domain/clock.ts";
import { Journal } from "../../../src/domain/journal.ts";
import { JournalSpill } from "../../../src/domain/journal-spill.ts";
import { type Logger, silentLogger } from "../../../src/log.ts";
import { Spool } from "../../../src/runtime/spool.ts";
import { type Database, openDatabase } from "../../../src/storage/database.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { journalEntry } from "../../support/journal-entry.ts";
import { defaultVaultId } from "../../support/vault-world.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agent-vault-test-"));
  path = join(folder, "spill");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function spill(log: Logger = silentLogger, maxBytes = 1_000_000): JournalSpill {
  return new JournalSpill(Spool.open({ path, maxBytes }), log);
}

/** A database whose writes fail, or get lost on the way back, or never come back. */
function unreliable(database: Database) {
  const state: { mode: "well" | "away" | "answer-lost" | "hanging" } = { mode: "well" };
  const insertRows = async (...given: Parameters<Database["insertRows"]>) => {
    if (state.mode === "away") throw new Error("connection refused");
    if (state.mode === "hanging") return new Promise<void>(() => undefined);
    await database.insertRows(...given);
    if (state.mode === "answer-lost" && given[0] === "request_entries") throw new Error("connection reset");
  };
  const ping = async () => {
    if (state.mode !== "well") throw new Error("connection refused");
    await database.ping();
  };
  const proxy = new Proxy(database, {
    get: (real, name) => {
      if (name === "insertRows") return insertRows;
      if (name === "ping") return ping;
      const value: unknown = Reflect.get(real, name);
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
  return { database: proxy, state };
}

async function storedPaths({ db }: Database): Promise<readonly string[]> {
  const rows = await db.selectFrom("request_log").select("path").orderBy("id").execute();
  return rows.map((row) => row.path);
}

const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `/${from + index}`);

describeEachDatabase("the journal beside a database that is away", (open) => {
  it("keeps entries in a file, and writes them in order when it is back", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const journal = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill() });
    state.mode = "away";
    for (const text of numbered(0, 1_200)) journal.record(journalEntry({ path: text }));
    await expect.poll(() => readFileSync(path, "utf8").split("\n").length).toBeGreaterThan(1_200);
    expect(await storedPaths(real)).toEqual([]);
    state.mode = "well";
    journal.record(journalEntry({ path: "/1200" }));
    await journal.flush();
    expect(await storedPaths(real)).toEqual(numbered(0, 1_201));
    expect(statSync(path).size).toBe(17);
    await journal.close();
  });

  it("hands them to the next start when it must end before", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const first = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill(), closeWithinMs: 50 });
    state.mode = "away";
    for (const text of numbered(0, 700)) first.record(journalEntry({ path: text }));
    await first.close();
    expect(await storedPaths(real)).toEqual([]);

    const second = new Journal({ clock: systemClock, database: real, log: silentLogger, spill: spill() });
    second.record(journalEntry({ path: "/700" }));
    await second.close();
    expect(await storedPaths(real)).toEqual(numbered(0, 701));
  });

  it("writes them at the next start without a request to remind it", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const first = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill(), closeWithinMs: 50 });
    state.mode = "away";
    first.record(journalEntry({ path: "/a" }));
    await first.close();
    const second = new Journal({ clock: systemClock, database: real, log: silentLogger, spill: spill() });
    await expect.poll(() => storedPaths(real)).toEqual(["/a"]);
    await second.close();
  });

  it("writes nothing twice when only the answer got lost", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const journal = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill() });
    state.mode = "answer-lost";
    for (const text of numbered(0, 3)) journal.record(journalEntry({ path: text }));
    await expect.poll(() => storedPaths(real)).toEqual(numbered(0, 3));
    await expect.poll(() => statSync(path).size).toBeGreaterThan(17);
    state.mode = "well";
    await journal.flush();
    await journal.close();
    expect(await storedPaths(real)).toEqual(numbered(0, 3));
  });

  it("writes nothing twice when the process died between writing a batch and noting it", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const first = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill(), closeWithinMs: 50 });
    state.mode = "away";
    for (const text of numbered(0, 3)) first.record(journalEntry({ path: text }));
    await first.close();
    const before = readFileSync(path);
    const second = new Journal({ clock: systemClock, database: real, log: silentLogger, spill: spill() });
    await second.close();
    expect(await storedPaths(real)).toEqual(numbered(0, 3));
    // As if the process had been killed before it noted that these are written.
    rmSync(path);
    appendFileSync(path, before);
    const third = new Journal({ clock: systemClock, database: real, log: silentLogger, spill: spill() });
    third.record(journalEntry({ path: "/3" }));
    await third.close();
    expect(await storedPaths(real)).toEqual(numbered(0, 4));
  });

  it("does not wait for a write that never comes back, neither with what follows nor at the end", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const journal = new Journal({
      clock: systemClock,
      database,
      log: silentLogger,
      spill: spill(),
      closeWithinMs: 100,
    });
    state.mode = "hanging";
    for (const text of numbered(0, 500)) journal.record(journalEntry({ path: text }));
    for (const text of numbered(500, 503)) journal.record(journalEntry({ path: text }));
    await expect.poll(() => readFileSync(path, "utf8"), { timeout: 5_000 }).toContain('"/502"');
    await journal.close();
    const next = new Journal({ clock: systemClock, database: real, log: silentLogger, spill: spill() });
    await next.close();
    expect((await storedPaths(real)).toSorted()).toEqual(numbered(0, 503).toSorted());
  });

  it("gives up a write that never comes back, and writes the batch another time", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const journal = new Journal({
      clock: systemClock,
      database,
      log: silentLogger,
      spill: spill(),
      answerWithinMs: 50,
    });
    state.mode = "hanging";
    for (const text of numbered(0, 3)) journal.record(journalEntry({ path: text }));
    await expect.poll(() => readFileSync(path, "utf8"), { timeout: 5_000 }).toContain('"/2"');
    journal.record(journalEntry({ path: "/3" }));
    state.mode = "well";
    await journal.flush();
    expect(await storedPaths(real)).toEqual(numbered(0, 4));
    await journal.close();
  });

  it("skips lines that a crash cut short or that are no entries, and says so", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const first = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill(), closeWithinMs: 50 });
    state.mode = "away";
    first.record(journalEntry({ path: "/whole" }));
    await first.close();
    appendFileSync(path, 'null\n{"requestId":1}\n{"requestId":"cut');
    const warnings: unknown[] = [];
    const log = { ...silentLogger, warn: (_event: string, fields?: object) => warnings.push(fields) };
    const second = new Journal({ clock: systemClock, database: real, log, spill: spill(log) });
    await second.close();
    expect(await storedPaths(real)).toEqual(["/whole"]);
    expect(warnings).toEqual([{ lines: 3 }]);
  });

  it("counts what neither the database nor a full file takes", async () => {
    const real = await open();
    const { database, state } = unreliable(real);
    const options = { log: silentLogger, maxWaiting: 10, closeWithinMs: 50 };
    const journal = new Journal({ clock: systemClock, ...options, database, spill: spill(silentLogger, 100) });
    state.mode = "away";
    for (const text of numbered(0, 30)) journal.record(journalEntry({ path: text }));
    state.mode = "well";
    await journal.close();
    const rows = await real.db.selectFrom("request_log").select(["path", "flags"]).orderBy("id").execute();
    expect(rows.map((row) => row.path)).toEqual(numbered(0, 11));
    expect(JSON.parse(rows.at(-1)?.flags ?? "")).toEqual({ coalesced: 20 });
  });

  it("takes a single row that the database refuses for what it is, and keeps the others", async () => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill() });
    journal.record(journalEntry({ path: "/before" }));
    journal.record(journalEntry({ path: "/refused", status: "none" as unknown as number }));
    journal.record(journalEntry({ path: "/after" }));
    await journal.close();
    expect(await storedPaths(database)).toEqual(["/before", "/after"]);
  });
});

it("keeps entries in the file while another process holds the lock of an SQLite database", async () => {
  const database = await openDatabase({ path: join(folder, "vault.db") }, silentLogger);
  const journal = new Journal({ clock: systemClock, database, log: silentLogger, spill: spill() });
  const other = new DatabaseSync(join(folder, "vault.db"));
  other.exec("begin immediate");
  journal.record(journalEntry({ path: "/a" }));
  await expect.poll(() => statSync(path).size).toBeGreaterThan(17);
  other.exec("rollback");
  other.close();
  await journal.flush();
  expect((await journal.list(defaultVaultId, { limit: 1 })).rows).toMatchObject([{ path: "/a" }]);
  await journal.close();
  await database.close();
});
