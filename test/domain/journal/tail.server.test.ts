import { expect, it } from "vitest";
import { systemClock } from "../../../src/domain/clock.ts";
import { Journal } from "../../../src/domain/journal.ts";
import { JournalTails, type TailRequest } from "../../../src/domain/journal-tail.ts";
import { Unavailable } from "../../../src/errors.ts";
import { silentLogger } from "../../../src/log.ts";
import { Changes } from "../../../src/storage/changes.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { journalEntry } from "../../support/journal-entry.ts";
import { defaultVaultId } from "../../support/vault-world.ts";

describeEachDatabase("a tail of the journal", (open) => {
  async function start() {
    const database = await open();
    const journal = new Journal({ clock: systemClock, database, log: silentLogger });
    const changes = new Changes(database, silentLogger);
    const tails = new JournalTails({ database, changes, journal, quietMs: 50 });
    const request: TailRequest = {
      vaultId: defaultVaultId,
      filter: {},
      after: undefined,
      reader: "user:u1",
      isAllowed: async () => true,
    };
    return { journal, changes, tails, request };
  }

  it("says where it is when there is nothing to tell, and moves past what its filter hides", async () => {
    const { journal, tails, request } = await start();
    const tail = await tails.open({ ...request, filter: { service: "other" } });
    expect(await tail.next()).toEqual({ kind: "quiet", position: 0 });
    journal.record(journalEntry());
    await journal.flush();
    const { latestId } = await journal.list(defaultVaultId, { limit: 1 });
    expect(await tail.next()).toEqual({ kind: "quiet", position: latestId });
    tail.close();
    await journal.close();
  });

  it("is asked for its right anew as soon as anything changes", async () => {
    const { journal, changes, tails, request } = await start();
    let isAllowed = true;
    const tail = await tails.open({ ...request, isAllowed: async () => isAllowed });
    expect((await tail.next()).kind).toBe("quiet");
    isAllowed = false;
    await changes.transaction(async (_tx, announce) => announce({ kind: "actor", actorId: "u1" }));
    journal.record(journalEntry());
    await journal.flush();
    expect(await tail.next()).toEqual({ kind: "end", reason: "access_ended", position: 0 });
    tail.close();
    await journal.close();
  });

  it("ends with the server, while it waits and for good", async () => {
    const { journal, tails, request } = await start();
    const tail = await tails.open(request);
    const waiting = tail.next();
    tails.close();
    expect(await waiting).toMatchObject({ kind: "end", reason: "server_stopping" });
    await expect(tails.open(request)).rejects.toBeInstanceOf(Unavailable);
    await journal.close();
  });

  it("breaks off when its right cannot be looked up, instead of taking that for an answer", async () => {
    const { journal, tails, request } = await start();
    const tail = await tails.open({ ...request, isAllowed: () => Promise.reject(new Error("the database is away")) });
    await expect(tail.next()).rejects.toThrow("the database is away");
    tail.close();
    await journal.close();
  });
});
