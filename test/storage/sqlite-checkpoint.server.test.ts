import { copyFileSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../src/log.ts";
import { type Database, openDatabase } from "../../src/storage/database.ts";
import { Checkpoints } from "../../src/storage/sqlite-checkpoint.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agent-vault-checkpoint-"));
  path = join(folder, "vault.db");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Rows of the file alone, as a machine that lost its write-ahead log would find it. */
function rowsInFile(table: string): number {
  const copy = join(folder, "copy.db");
  copyFileSync(path, copy);
  const database = new DatabaseSync(copy);
  try {
    return Number(database.prepare(`select count(*) as n from ${table}`).get()?.n);
  } finally {
    database.close();
  }
}

async function write(database: Database, batches: number): Promise<void> {
  for (let batch = 0; batch < batches; batch++) {
    const rows = Array.from({ length: 500 }, (_, at) => [`v${batch}`, `${at}.test`, 1, "", "", "2026-01-01T00:00:00Z"]);
    const columns = ["vault_id", "host", "request_count", "auth_scheme", "auth_header", "last_seen"] as const;
    await database.insertRows("discovered_hosts", columns, rows);
  }
}

describe("the write-ahead log", () => {
  it("is folded into the file while rows are written, and stays small", async () => {
    const database = await openDatabase({ path }, silentLogger);
    try {
      await write(database, 60);
      await expect.poll(() => rowsInFile("discovered_hosts")).toBeGreaterThan(15_000);
      // 30,000 rows are some 4 MiB in the file; without being begun anew the log would hold them several times.
      expect(statSync(`${path}-wal`).size).toBeLessThan(6 * 1024 * 1024);
    } finally {
      await database.close();
    }
    expect(rowsInFile("discovered_hosts")).toBe(30_000);
  });

  it("is folded in after many small changes, too", async () => {
    const database = await openDatabase({ path }, silentLogger);
    try {
      for (let at = 0; at < 200; at++) {
        const value = JSON.stringify("x".repeat(500));
        const row = { key: `k${at}`, value, updated_at: "2026-01-01T00:00:00Z" };
        await database.transaction((tx) => tx.insertInto("instance_settings").values(row).execute());
      }
      await expect.poll(() => rowsInFile("instance_settings")).toBeGreaterThan(60);
    } finally {
      await database.close();
    }
  });
});

describe("a checkpoint", () => {
  let writer: DatabaseSync;
  let copier: DatabaseSync;
  let stranger: DatabaseSync;
  const failures: unknown[] = [];
  beforeEach(() => {
    [writer, copier, stranger] = [new DatabaseSync(path), new DatabaseSync(path), new DatabaseSync(path)];
    writer.exec("pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table t (a)");
    copier.exec("pragma synchronous = off");
    stranger.exec("pragma busy_timeout = 0");
    failures.length = 0;
  });
  afterEach(() => {
    for (const connection of [stranger, copier, writer]) connection.close();
  });

  function checkpoints(spied: Pick<DatabaseSync, "exec"> = copier): Checkpoints {
    return new Checkpoints({
      path,
      writer,
      copier: spied as DatabaseSync,
      onFailure: (error) => void failures.push(error),
    });
  }

  it("lets nobody write to the log while pages are copied and the disk has not got them", async () => {
    writer.exec("insert into t values (1)");
    const attempts: string[] = [];
    const tryToWrite = () => {
      try {
        stranger.exec("insert into t values (2)");
        attempts.push("written");
      } catch (error) {
        attempts.push(String(error).includes("locked") ? "locked" : String(error));
      }
    };
    const one = checkpoints({
      exec: (sql) => {
        tryToWrite();
        copier.exec(sql);
        tryToWrite();
      },
    });
    const running = one.run();
    await running;
    tryToWrite();
    await one.close();
    expect(attempts).toEqual(["locked", "locked", "written"]);
    expect(failures).toEqual([]);
    expect(rowsInFile("t")).toBe(1);
  });

  it("waits for nobody: while another process writes there is none", async () => {
    writer.exec("pragma busy_timeout = 5000; insert into t values (1)");
    stranger.exec("begin immediate");
    const one = checkpoints();
    await one.run();
    expect(failures).toEqual([]);
    expect(writer.prepare("pragma busy_timeout").get()).toEqual({ timeout: 5000 });
    stranger.exec("rollback");
    await one.run();
    await one.close();
    expect(rowsInFile("t")).toBe(1);
  });

  it("is left to SQLite once the disk has failed, and the writer can write", async () => {
    writer.exec("insert into t values (1)");
    const one = checkpoints({
      exec: () => {
        throw new Error("disk I/O error");
      },
    });
    one.noteRows(1_000_000);
    expect(one.isDue).toBe(true);
    await one.run();
    one.noteRows(1_000_000);
    expect(one.isDue).toBe(false);
    expect(failures).toHaveLength(1);
    expect(writer.prepare("pragma wal_autocheckpoint").get()).toEqual({ wal_autocheckpoint: 1000 });
    writer.exec("insert into t values (2)");
    await one.close();
  });
});
