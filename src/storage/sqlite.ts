/**
 * SQLite through `node:sqlite`, which Bun, Node and Deno all have.
 *
 * Two connections: one writes, one reads. The driver is synchronous but code awaits inside transactions, so writers
 * take turns, and statements outside the transaction that is open read from the other connection: WAL shows it only
 * what was committed. A third one only folds the write-ahead log into the file (sqlite-checkpoint.ts).
 */

import { randomUUID } from "node:crypto";
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Kysely, SqliteIntrospector, SqliteQueryCompiler, type Transaction } from "kysely";
import { InvalidInput, messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Database, SqliteOptions, Value } from "./database.ts";
import { foreignDatabase, migrations, newerDatabase, pendingMigrations, sqliteWords } from "./migrations/migrations.ts";
import type { Schema } from "./schema.ts";
import { backstopPages, Checkpoints } from "./sqlite-checkpoint.ts";
import { busyTimeoutMs, SqliteDriver, TwoConnectionAdapter } from "./sqlite-driver.ts";

/** "AVLT", in the header of the file (SQLite file format, section 1.3.17): this file is ours. */
const applicationId = 0x41_56_4c_54;
/** @throws see `openDatabase`. */
export async function openSqlite({ path }: SqliteOptions, log: Logger): Promise<Database> {
  try {
    claimFile(path);
    const writer = openConnection(path);
    try {
      await enterWalMode(writer, path);
      migrate(writer, path, log);
      writer.exec(`pragma wal_autocheckpoint = ${backstopPages}`);
      const reader = openConnection(path);
      reader.exec("pragma query_only = on");
      const copier = openConnection(path);
      copier.exec("pragma synchronous = off");
      const checkpoints = new Checkpoints({
        path,
        writer,
        copier,
        onFailure: (error) =>
          log.error("the write-ahead log could not be folded into the database", { path, error: messageOf(error) }),
      });
      return new SqliteDatabase(new SqliteDriver({ writer, reader, copier, checkpoints }));
    } catch (error) {
      writer.close();
      throw error;
    }
  } catch (error) {
    throw translate(error, path);
  }
}

class SqliteDatabase implements Database {
  readonly engine = "sqlite";
  readonly db: Kysely<Schema>;
  readonly #driver: SqliteDriver;

  constructor(driver: SqliteDriver) {
    this.#driver = driver;
    this.db = new Kysely<Schema>({
      dialect: {
        createAdapter: () => new TwoConnectionAdapter(),
        createDriver: () => this.#driver,
        createIntrospector: (db) => new SqliteIntrospector(db),
        createQueryCompiler: () => new SqliteQueryCompiler(),
      },
    });
  }

  transaction<T>(run: (tx: Transaction<Schema>) => Promise<T>): Promise<T> {
    return this.db.transaction().execute(run);
  }

  /** Writers take turns anyway. */
  async lockVault(): Promise<void> {
    return;
  }

  async insertRows(table: string, columns: readonly string[], rows: readonly (readonly Value[])[]): Promise<void> {
    if (rows.length === 0) return;
    const names = columns.map((column) => `"${column}"`).join(", ");
    await this.#driver.insertAll(`insert into "${table}" (${names}) values`, columns.length, rows);
  }

  isUniqueViolation(error: unknown): boolean {
    // Deno gives no `errcode`; the message is SQLite's own and the same everywhere.
    return error instanceof Error && error.message.includes("UNIQUE constraint failed");
  }

  isRefusal(error: unknown): boolean {
    return error instanceof Error && /constraint failed|cannot store|datatype mismatch|too big/.test(error.message);
  }

  async ping(): Promise<void> {
    await this.db.selectFrom("instance").select("id").executeTakeFirstOrThrow();
  }

  async close(): Promise<void> {
    // Not `db.destroy()`: Kysely leaves a driver alone that never ran a query.
    await this.#driver.destroy();
  }
}

/**
 * Makes the file, or makes sure that it is ours and not newer by reading 100 bytes of it: opening a database of
 * somebody else with SQLite could already change it.
 */
function claimFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Made here, because SQLite would make it readable to everyone. "Append" makes what is missing and truncates nothing.
  const file = openSync(path, "a+", 0o600);
  const header = Buffer.alloc(100);
  const length = readSync(file, header, 0, header.length, 0);
  closeSync(file);
  if (length > 0) requireOurs(header.subarray(0, length), path);
  chmodSync(path, 0o600);
}

function requireOurs(header: Buffer, path: string): void {
  if (header.toString("latin1", 0, 16) !== "SQLite format 3\0") throw foreignDatabase(path, "it is not an SQLite file");
  if (header.length < 100 || header.readUInt32BE(68) !== applicationId) {
    throw foreignDatabase(path, "it is an SQLite file of another program");
  }
  const steps = header.readUInt32BE(60);
  if (steps > migrations.length) throw newerDatabase(path, `step ${steps}`);
  // Someone has it open, or died with it open: the header may be behind. Only read, because a connection that may
  // write folds the write-ahead log into the file when it closes.
  if (!existsSync(`${path}-wal`)) return;
  const connection = new DatabaseSync(path, { readOnly: true });
  try {
    pendingMigrations(appliedTo(connection), path);
  } finally {
    connection.close();
  }
}

function openConnection(path: string): DatabaseSync {
  const connection = new DatabaseSync(path);
  connection.exec(`pragma busy_timeout = ${busyTimeoutMs}; pragma foreign_keys = on; pragma synchronous = normal`);
  return connection;
}

async function enterWalMode(writer: DatabaseSync, path: string): Promise<void> {
  // First, and into the file itself rather than its write-ahead log: it is what `claimFile` looks for.
  if (!tables(writer).has("instance")) writer.exec(`pragma application_id = ${applicationId}`);
  // The busy timeout does not cover this switch; another process that starts at the same moment may be at it.
  for (let attempt = 0; ; attempt += 1) {
    try {
      const row = writer.prepare("pragma journal_mode = wal").get() as { journal_mode?: string } | undefined;
      if (row?.journal_mode === "wal") return;
      throw new InvalidInput("invalid_database_path", `SQLite cannot use write-ahead logging for ${path}`);
    } catch (error) {
      if (attempt >= 100 || !/locked|busy/.test(messageOf(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function migrate(writer: DatabaseSync, path: string, log: Logger): void {
  writer.exec("begin immediate");
  try {
    const pending = pendingMigrations(appliedTo(writer), path);
    const now = new Date().toISOString();
    for (const migration of pending) {
      for (const sql of migration.statements(sqliteWords, { instanceId: randomUUID(), now })) writer.exec(sql);
      writer.prepare("insert into migrations (name, applied_at) values (?, ?)").run(migration.name, now);
      log.debug("database migrated", { step: migration.name });
    }
    // In the header of the file, where `claimFile` of an older binary finds it.
    if (pending.length > 0) writer.exec(`pragma user_version = ${migrations.length}`);
    writer.exec("commit");
  } catch (error) {
    if (writer.isTransaction) writer.exec("rollback");
    throw error;
  }
}

function appliedTo(connection: DatabaseSync): readonly string[] {
  if (!tables(connection).has("migrations")) return [];
  return connection
    .prepare("select name from migrations order by name")
    .all()
    .map((row) => String(row.name));
}

function tables(connection: DatabaseSync): ReadonlySet<string> {
  return new Set(
    connection
      .prepare("select name from sqlite_schema where type = 'table'")
      .all()
      .map((row) => String(row.name)),
  );
}

function translate(error: unknown, path: string): unknown {
  const code = (error as { code?: unknown }).code;
  if (code === "EACCES" || code === "EROFS" || code === "EPERM" || code === "EISDIR" || code === "ENOTDIR") {
    return new InvalidInput("invalid_database_path", `Cannot write the database file ${path}: ${code}`, {
      hint: "choose a directory that this user may write to",
      cause: error,
    });
  }
  return error;
}
