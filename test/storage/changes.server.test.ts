import { expect, it } from "vitest";
import { type Logger, silentLogger } from "../../src/log.ts";
import { type Change, Changes } from "../../src/storage/changes.ts";
import type { Database } from "../../src/storage/database.ts";
import { describeEachDatabase } from "../support/database.ts";

const vault: Change = { kind: "vault", vaultId: "v1" };
const session: Change = { kind: "session", publicId: "s1" };
const everything: Change = { kind: "everything" };

function watching(database: Database, log: Logger = silentLogger) {
  const changes = new Changes(database, log);
  const heard: Change[] = [];
  changes.watch((change) => heard.push(change));
  return { changes, heard };
}

const counter = async ({ db }: Database) =>
  (await db.selectFrom("instance").select("change_counter").executeTakeFirstOrThrow()).change_counter;

async function until(isTrue: () => boolean): Promise<void> {
  for (let waited = 0; !isTrue() && waited < 10_000; waited += 10)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isTrue()).toBe(true);
}

describeEachDatabase("changes", (open, engine) => {
  it("are told after the commit, in order", async () => {
    const database = await open();
    const { changes, heard } = watching(database);
    const result = await changes.transaction(async (tx, announce) => {
      announce(vault);
      changes.announce(tx, session);
      await tx.updateTable("vaults").set({ version: 2 }).execute();
      expect(heard).toEqual([]);
      return "done";
    });
    expect(result).toBe("done");
    expect(heard).toEqual([vault, session]);
    expect(await counter(database)).toBe(1);
  });

  it("of a transaction that failed never happened", async () => {
    const database = await open();
    const { changes, heard } = watching(database);
    const failing = changes.transaction(async (_, announce) => {
      announce(vault);
      throw new Error("on purpose");
    });
    await expect(failing).rejects.toThrow("on purpose");
    expect(heard).toEqual([]);
    expect(await counter(database)).toBe(0);
  });

  it("cost nothing when there are none", async () => {
    const database = await open();
    await watching(database).changes.transaction(async (tx) => {
      await tx.updateTable("vaults").set({ version: 2 }).execute();
    });
    expect(await counter(database)).toBe(0);
  });

  it("are made after whatever else the transaction does, and not when it fails", async () => {
    const database = await open();
    const { changes } = watching(database);
    const order: string[] = [];
    const write = (isFailing: boolean) =>
      changes.transaction(async (tx, announce) => {
        changes.beforeCommit(tx, async () => void order.push(`last, counter at ${await counter(database)}`));
        announce(vault);
        await tx.updateTable("vaults").set({ version: 2 }).execute();
        order.push("written");
        if (isFailing) throw new Error("no");
      });
    await write(false);
    await expect(write(true)).rejects.toThrow("no");
    expect(order).toEqual(["written", "last, counter at 0", "written"]);
    await database.transaction(async (tx) => {
      expect(() => changes.beforeCommit(tx, async () => undefined)).toThrow("Changes.transaction");
    });
  });

  it("cannot be announced for a transaction that would not tell them", async () => {
    const database = await open();
    const { changes } = watching(database);
    const announced = database.transaction(async (tx) => changes.announce(tx, vault));
    await expect(announced).rejects.toThrow("Changes.transaction");
  });

  it("made here are not taken for somebody else's", async () => {
    const database = await open();
    const { changes, heard } = watching(database);
    await changes.poll();
    heard.length = 0;
    await Promise.all(Array.from({ length: 10 }, () => changes.transaction(async (_, announce) => announce(vault))));
    await changes.poll();
    expect(heard).toEqual(Array(10).fill(vault));
  });

  it("made elsewhere are found by looking, mixed with our own", async () => {
    const database = await open();
    const here = watching(database);
    const there = watching(await open({ shared: true }));
    await here.changes.poll();
    await there.changes.poll();
    here.heard.length = 0;
    await here.changes.transaction(async (_, announce) => announce(vault));
    await there.changes.transaction(async (_, announce) => announce(session));
    await here.changes.transaction(async (_, announce) => announce(vault));
    expect(here.heard).toEqual([vault, vault]);
    await here.changes.poll();
    expect(here.heard).toEqual([vault, vault, everything]);
    await here.changes.poll();
    expect(here.heard).toHaveLength(3);
  });

  it(`made elsewhere arrive by themselves, ${engine === "postgres" ? "as what they are" : "as everything"}`, async () => {
    const database = await open();
    const here = watching(database);
    const there = watching(await open({ shared: true }));
    here.changes.start();
    await until(() => here.changes.checkedAtMs > 0);
    // On PostgreSQL the look that follows the subscription.
    await new Promise((resolve) => setTimeout(resolve, 200));
    here.heard.length = 0;
    await there.changes.transaction(async (_, announce) => {
      announce(vault);
      announce(session);
    });
    await until(() => here.heard.length > 0);
    expect(here.heard).toEqual(engine === "postgres" ? [vault, session] : [everything]);
    await new Promise((resolve) => setTimeout(resolve, 1_200)); // one more look finds nothing new
    expect(here.heard).toHaveLength(engine === "postgres" ? 2 : 1);
    await here.changes.stop();
  });

  it("too many for one message are told as everything", async () => {
    if (engine === "sqlite") return;
    const here = watching(await open());
    const there = watching(await open({ shared: true }));
    here.changes.start();
    await until(() => here.changes.checkedAtMs > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    here.heard.length = 0;
    await there.changes.transaction(async (_, announce) => {
      for (let at = 0; at < 1_000; at += 1) announce({ kind: "vault", vaultId: `vault-${at}` });
    });
    await until(() => here.heard.length > 0);
    expect(here.heard).toEqual([everything]);
    await here.changes.stop();
  });

  it("reach every watcher, also when one fails, and none that left", async () => {
    const database = await open();
    const errors: string[] = [];
    const { changes, heard } = watching(database, { ...silentLogger, error: (event) => void errors.push(event) });
    changes.watch(() => {
      throw new Error("on purpose");
    });
    const late: Change[] = [];
    const leave = changes.watch((change) => late.push(change));
    await changes.transaction(async (_, announce) => announce(vault));
    leave();
    await changes.transaction(async (_, announce) => announce(session));
    expect(heard).toEqual([vault, session]);
    expect(late).toEqual([vault]);
    expect(errors).toHaveLength(2);
  });

  it("say since when they could not be looked for, once in the log", async () => {
    const database = await open();
    const warnings: string[] = [];
    const { changes } = watching(database, { ...silentLogger, warn: (event) => void warnings.push(event) });
    await changes.poll();
    const { checkedAtMs } = changes;
    expect(checkedAtMs).toBeGreaterThan(0);
    await database.close();
    await changes.poll();
    await changes.poll();
    expect(changes.checkedAtMs).toBe(checkedAtMs);
    expect(warnings).toEqual(["cannot see changes made elsewhere"]);
  });
});
