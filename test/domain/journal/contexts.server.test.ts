import { expect, it } from "vitest";
import { systemClock } from "../../../src/domain/clock.ts";
import { Journal } from "../../../src/domain/journal.ts";
import { contextLifeMs, JournalContexts } from "../../../src/domain/journal-contexts.ts";
import { pruneJournal } from "../../../src/domain/journal-retention.ts";
import { silentLogger } from "../../../src/log.ts";
import type { Database } from "../../../src/storage/database.ts";
import { ManualClock } from "../../support/api-server.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { journalEntry } from "../../support/journal-entry.ts";

async function contextCount({ db }: Database): Promise<number> {
  return (await db.selectFrom("request_contexts").select("id").execute()).length;
}

describeEachDatabase("contexts of the journal", (open) => {
  it("are one for all entries that differ in what happened only", async () => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    for (let index = 0; index < 5; index += 1) journal.record(journalEntry({ path: `/${index}`, status: 200 + index }));
    await journal.flush();
    journal.record(journalEntry({ path: "/later", bytesIn: 1 }));
    await journal.flush();
    expect(await contextCount(database)).toBe(1);
    await journal.close();
  });

  it.each([
    { sessionId: "s2" },
    { actorId: "u2" },
    { actorType: "agent" as const },
    { method: "POST" },
    { scheme: "http" as const },
    { host: "api.github.com:8443" },
    { matchedService: "other" },
    { errorCode: "no_match" },
    { authScheme: "bearer" },
    { authHeader: "Authorization" },
    { clientIp: "::1" },
    { credentialKeys: ["TOK", "MORE"] },
    { credentialKeys: ["OTHER"] },
  ])("are two for entries that differ in %o", async (change) => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    journal.record(journalEntry());
    journal.record(journalEntry(change));
    journal.record(journalEntry());
    await journal.close();
    expect(await contextCount(database)).toBe(2);
    const rows = await database.db.selectFrom("request_log").selectAll().orderBy("id").execute();
    const values = rows.map((row) => {
      const { id, path, request_id: requestId, created_at: createdAt, ...rest } = row;
      return JSON.stringify(rest);
    });
    expect(values[0]).toBe(values[2]);
    expect(values[0]).not.toBe(values[1]);
    const [changed] = Object.values(change);
    expect(values[1]).toContain(Array.isArray(changed) ? changed.at(-1) : changed);
  });

  it("are forgotten, not mixed up, when a session has very many", async () => {
    const database = await open();
    const contexts = new JournalContexts(systemClock);
    const entries = Array.from({ length: 100 }, (_, index) => journalEntry({ host: `h${index}.test:443` }));
    const first = await contexts.of(database, entries);
    const second = await contexts.of(database, entries);
    expect(new Set(first).size).toBe(100);
    for (const [index, id] of second.entries()) {
      const { host } = await database.db
        .selectFrom("request_contexts")
        .select("host")
        .where("id", "=", id)
        .executeTakeFirstOrThrow();
      expect(host).toBe(`h${index}.test:443`);
    }
  });

  it("are written anew when they are old by the clock that was handed in, and not before", async () => {
    const database = await open();
    const clock = new ManualClock();
    const contexts = new JournalContexts(clock);
    const [first] = await contexts.of(database, [journalEntry()]);
    clock.advance(contextLifeMs - 1);
    expect(await contexts.of(database, [journalEntry()])).toEqual([first]);
    clock.advance(1);
    const [second] = await contexts.of(database, [journalEntry()]);
    expect(second).not.toBe(first);
    const { created_at: createdAt } = await database.db
      .selectFrom("request_contexts")
      .select("created_at")
      .where("id", "=", Number(second))
      .executeTakeFirstOrThrow();
    expect(createdAt).toBe(new Date(clock.now()).toISOString());
  });

  it("go with the last entries that may name them", async () => {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    const hour = 3_600_000;
    journal.record(journalEntry({ startedAtMs: Date.now() }));
    await journal.close();
    const keepAll = { maxAgeHours: 0, maxRowsPerVault: 0 };
    await pruneJournal(database, keepAll, Date.now() + 1_000 * hour);
    expect(await contextCount(database)).toBe(1);
    const keepOneHour = { maxAgeHours: 1, maxRowsPerVault: 0 };
    await pruneJournal(database, keepOneHour, Date.now() + 2 * hour);
    expect(await contextCount(database)).toBe(1);
    await pruneJournal(database, keepOneHour, Date.now() + contextLifeMs + 25 * hour);
    expect(await contextCount(database)).toBe(0);
  });
});
