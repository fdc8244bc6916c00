/**
 * SQLite through `node:sqlite`, which Bun, Node and Deno all have.
 *
 * Two connections: one writes, one reads. The driver is synchronous but code awaits inside transactions, so writers
 * take turns, and statements outside the transaction that is open read from the other connection: WAL shows it only
 * what was committed.
 */

import { randomUUID } from "node:crypto";
import { chmodSync, closeSync, mkdirSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type Transaction,
} from "kysely";
import { InvalidInput, messageOf, Unavailable } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Database, SqliteOptions, Value } from "./database.ts";
import { foreignDatabase, pendingMigrations, sqliteWords } from "./migrations/migrations.ts";
import type { Schema } from "./schema.ts";

/** "AVLT", in the header of the file (SQLite file format, section 1.3.17): this file is ours. */
const applicationId = 0x41_56_4c_54;
/** Waiting for a lock that another process holds stops the event loop; they are short. */
const busyTimeoutMs = 5_000;
/** Waiting for our own writers. Also ends a transaction that waits for itself because it wrote without its `tx`. */
const turnTimeoutMs = 10_000;

/** @throws see `openDatabase`. */
export async function openSqlite({ path }: SqliteOptions, log: Logger): Promise<Database> {
  try {
    claimFile(path);
    const writer = openConnection(path);
    try {
      await enterWalMode(writer, path);
      migrate(writer, path, log);
      const reader = openConnection(path);
      reader.exec("pragma query_only = on");
      return new SqliteDatabase(writer, reader);
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

  constructor(writer: DatabaseSync, reader: DatabaseSync) {
    this.#driver = new SqliteDriver(writer, reader);
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
    const places = columns.map(() => "?").join(", ");
    await this.#driver.insertAll(`insert into "${table}" (${names}) values (${places})`, rows);
  }

  isUniqueViolation(error: unknown): boolean {
    // Deno gives no `errcode`; the message is SQLite's own and the same everywhere.
    return error instanceof Error && error.message.includes("UNIQUE constraint failed");
  }

  async ping(): Promise<void> {
    await this.db.selectFrom("instance").select("id").executeTakeFirstOrThrow();
  }

  async close(): Promise<void> {
    // Not `db.destroy()`: Kysely leaves a driver alone that never ran a query.
    await this.#driver.destroy();
  }
}

/** Kysely's own adapter would let a transaction hold back every read until it ends. */
class TwoConnectionAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

class SqliteDriver implements Driver {
  readonly #writer: Statements;
  readonly #reader: Statements;
  readonly #turns = new Turns();

  constructor(writer: DatabaseSync, reader: DatabaseSync) {
    this.#writer = new Statements(writer);
    this.#reader = new Statements(reader);
  }

  async init(): Promise<void> {
    return;
  }

  async acquireConnection(): Promise<SqliteConnection> {
    return new SqliteConnection(this.#writer, this.#reader, this.#turns);
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as SqliteConnection).begin();
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("commit"));
  }

  async rollbackTransaction(): Promise<void> {
    // SQLite may have rolled back by itself (a full disk): then there is nothing to do, and the first error counts.
    if (this.#writer.connection.isTransaction) this.#writer.connection.exec("rollback");
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    (connection as SqliteConnection).release();
  }

  async insertAll(sql: string, rows: readonly (readonly Value[])[]): Promise<void> {
    const release = await this.#turns.take();
    const { connection } = this.#writer;
    try {
      connection.exec("begin immediate");
      try {
        const { statement } = this.#writer.prepare(sql);
        for (const row of rows) statement.run(...row);
        connection.exec("commit");
      } catch (error) {
        if (connection.isTransaction) connection.exec("rollback");
        throw error;
      }
    } finally {
      release();
    }
  }

  async destroy(): Promise<void> {
    const release = await this.#turns.take();
    try {
      if (!this.#writer.connection.isOpen) return;
      this.#reader.connection.close();
      // The last connection to close folds the write-ahead log into the file.
      this.#writer.connection.close();
    } finally {
      release();
    }
  }
}

/** One statement, or one transaction, of Kysely's. */
class SqliteConnection implements DatabaseConnection {
  readonly #writer: Statements;
  readonly #reader: Statements;
  readonly #turns: Turns;
  #endTurn: (() => void) | undefined;

  constructor(writer: Statements, reader: Statements, turns: Turns) {
    this.#writer = writer;
    this.#reader = reader;
    this.#turns = turns;
  }

  async begin(): Promise<void> {
    this.#endTurn = await this.#turns.take();
    // IMMEDIATE: a transaction that reads first and writes later could otherwise fail half-way on a lock.
    this.#writer.connection.exec("begin immediate");
  }

  release(): void {
    this.#endTurn?.();
    this.#endTurn = undefined;
  }

  async executeQuery<R>({ sql, parameters, query }: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#endTurn) return this.#writer.run(sql, parameters);
    const isRead = query.kind === "SelectQueryNode" || (query.kind === "RawNode" && /^\s*select\b/i.test(sql));
    if (isRead) return this.#reader.run(sql, parameters);
    const endTurn = await this.#turns.take();
    try {
      return this.#writer.run(sql, parameters);
    } finally {
      endTurn();
    }
  }

  async *streamQuery<R>({ sql, parameters }: CompiledQuery): AsyncIterableIterator<QueryResult<R>> {
    const from = this.#endTurn ? this.#writer : this.#reader;
    for (const row of from.connection.prepare(sql).iterate(...(parameters as Value[]))) yield { rows: [row as R] };
  }
}

/** Kysely compiles a query each time it runs; preparing it each time as well would cost ten times its execution. */
class Statements {
  readonly connection: DatabaseSync;
  readonly #prepared = new Map<string, Prepared>();

  constructor(connection: DatabaseSync) {
    this.connection = connection;
  }

  run<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> {
    const { statement, returnsRows } = this.prepare(sql);
    const values = parameters as Value[];
    if (returnsRows) return { rows: statement.all(...values) as R[] };
    const { changes, lastInsertRowid } = statement.run(...values);
    return { numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid), rows: [] };
  }

  prepare(sql: string): Prepared {
    const known = this.#prepared.get(sql);
    if (known) return known;
    const statement = this.connection.prepare(sql);
    const prepared = { statement, returnsRows: statement.columns().length > 0 };
    // Lists of values make new texts without end; the common ones come back at once.
    if (this.#prepared.size >= maxPrepared) this.#prepared.clear();
    this.#prepared.set(sql, prepared);
    return prepared;
  }
}

const maxPrepared = 512;

interface Prepared {
  readonly statement: StatementSync;
  readonly returnsRows: boolean;
}

/** First come, first served. */
class Turns {
  #taken = false;
  readonly #waiting = new Set<() => void>();

  /** Resolves with the function that ends the turn. */
  async take(): Promise<() => void> {
    if (this.#taken) await this.#wait();
    this.#taken = true;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      const next = this.#waiting.values().next().value;
      if (next) next();
      else this.#taken = false;
    };
  }

  #wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(begin);
        reject(new Unavailable("database_busy", "The database is busy with another change", { retryAfterSeconds: 1 }));
      }, turnTimeoutMs);
      const begin = () => {
        clearTimeout(timer);
        this.#waiting.delete(begin);
        resolve();
      };
      this.#waiting.add(begin);
    });
  }
}

/**
 * Makes the file, or makes sure that it is ours by reading 100 bytes of it: opening a database of somebody else with
 * SQLite could already change it.
 */
function claimFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Not O_CREAT alone: SQLite would make the file readable to everyone, whatever holds afterwards.
  const file = openSync(path, "a+", 0o600);
  const header = Buffer.alloc(100);
  const length = readSync(file, header, 0, header.length, 0);
  closeSync(file);
  if (length === 0) return;
  if (header.toString("latin1", 0, 16) !== "SQLite format 3\0") throw foreignDatabase(path, "it is not an SQLite file");
  if (length < header.length || header.readUInt32BE(68) !== applicationId) {
    throw foreignDatabase(path, "it is an SQLite file of another program");
  }
  // Only ever read: a connection that may write folds the write-ahead log into the file when it closes.
  const connection = new DatabaseSync(path, { readOnly: true });
  try {
    pendingMigrations(appliedTo(connection), path);
  } finally {
    connection.close();
  }
  chmodSync(path, 0o600);
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
      hint: "Choose a directory that this user may write to",
      cause: error,
    });
  }
  return error;
}
