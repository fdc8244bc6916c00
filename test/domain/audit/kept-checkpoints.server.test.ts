import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { Keyring } from "../../../src/crypto/keyring.ts";
import { appendEntries, signed } from "../../../src/domain/audit/append.ts";
import { operator } from "../../../src/domain/audit/author.ts";
import { Checkpoints } from "../../../src/domain/audit/checkpoints.ts";
import { hashOf } from "../../../src/domain/audit/entry.ts";
import { KeptCheckpoints } from "../../../src/domain/audit/kept-checkpoints.ts";
import { pruneAudit } from "../../../src/domain/audit/prune.ts";
import { silentLogger } from "../../../src/log.ts";
import { Artifacts } from "../../../src/storage/artifacts.ts";
import type { Database } from "../../../src/storage/database.ts";
import { describeEachDatabase } from "../../support/database.ts";

describeEachDatabase("checkpoints that are kept outside of the database", (open) => {
  const folders: string[] = [];
  afterEach(async () => {
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
  });

  /** Five signed entries, a folder, and what a server does that starts on both. */
  async function world() {
    const database = await open();
    const folder = await mkdtemp(join(tmpdir(), "agent-vault-kept-"));
    folders.push(folder);
    const artifacts = await Artifacts.open(folder);
    const keyring = await Keyring.open([{ number: 1, raw: new Uint8Array(32).fill(7) }]);
    const start = (nowMs = Date.now()) =>
      new Checkpoints({
        database,
        keyring,
        clock: { now: () => nowMs },
        log: silentLogger,
        kept: new KeptCheckpoints(artifacts),
      });
    const first = start();
    await first.publicKey();
    await append(database, 4);
    expect(await first.sign()).toBeUndefined();
    const { instance_id: id } = await database.db
      .selectFrom("instance")
      .select("instance_id")
      .executeTakeFirstOrThrow();
    return { database, artifacts, folder: `audit-checkpoints/${id}`, path: folder, start, first };
  }

  async function append(database: Database, count: number, nowMs = Date.now()): Promise<void> {
    for (let index = 0; index < count; index++) {
      const entry = { action: "test.write", target: { type: "thing", id: String(index) } } as const;
      await database.transaction((tx) => appendEntries(tx, nowMs, [signed(operator, entry)]));
    }
  }

  /** Everything after `id` gone without a trace in the database. */
  async function cutBack({ db }: Database, id: number): Promise<void> {
    await db.deleteFrom("audit_log").where("id", ">", id).execute();
    await db.deleteFrom("audit_checkpoints").where("audit_id", ">", id).execute();
    const last = await db.selectFrom("audit_log").select("hash").where("id", "=", id).executeTakeFirstOrThrow();
    await db.updateTable("audit_head").set({ last_id: id, last_hash: last.hash }).execute();
  }

  it("let a server that starts anew go on", async () => {
    const { database, artifacts, folder, start } = await world();
    expect(await artifacts.list(folder)).toEqual([`${folder}/0000000000000005.json`]);
    await append(database, 1);
    expect(await start().sign()).toBeUndefined();
    expect(await artifacts.list(folder)).toHaveLength(2);
  });

  it("tell a log that was cut back while no server ran, and nothing of it is signed", async () => {
    const { database, artifacts, folder, start } = await world();
    await cutBack(database, 2);
    await append(database, 1);
    const next = start();
    expect(await next.sign()).toMatchObject({ kind: "missing", entry: 4 });
    expect(await next.sign()).toMatchObject({ kind: "missing" });
    expect(await artifacts.list(folder)).toHaveLength(1);
    expect(await database.db.selectFrom("audit_checkpoints").select("audit_id").execute()).toEqual([]);
  });

  it("tell a log that was cut back and grew longer than before", async () => {
    const { database, start } = await world();
    await cutBack(database, 2);
    await append(database, 10);
    expect(await start().sign()).toMatchObject({ kind: "rewritten", entry: 5 });
  });

  it("tell a log whose signed entries and checkpoints were replaced", async () => {
    const { database, start } = await world();
    const { db } = database;
    const row = await db.selectFrom("audit_log").selectAll().where("id", "=", 5).executeTakeFirstOrThrow();
    const hash = hashOf({ ...row, target_id: "other" });
    await db.updateTable("audit_log").set({ target_id: "other", hash }).where("id", "=", 5).execute();
    await db.updateTable("audit_checkpoints").set({ hash }).where("audit_id", "=", 5).execute();
    await db.updateTable("audit_head").set({ last_hash: hash }).execute();
    expect(await start().sign()).toMatchObject({ kind: "rewritten", entry: 5 });
  });

  it("agree with a log that was pruned in order", async () => {
    const { database, start } = await world();
    const future = Date.now() + 3_600_000;
    await pruneAudit(database, new Date(future).toISOString());
    expect(await start(future).sign()).toBeUndefined();
  });

  it("pass over half a file, and keep the last hundred", async () => {
    const { database, artifacts, folder, path, first, start } = await world();
    for (let index = 0; index < 101; index++) {
      await append(database, 1);
      await first.sign();
    }
    const files = await artifacts.list(folder);
    expect(files).toHaveLength(100);
    await writeFile(join(path, files.at(-1) ?? ""), '{"audit_id":');
    expect(await start().sign()).toBeUndefined();
  });
});
