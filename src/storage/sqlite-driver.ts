/** Kysely's statements and transactions on the two connections of sqlite.ts. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { CompiledQuery, type DatabaseConnection, type Driver, type QueryResult, SqliteAdapter } from "kysely";
import { Unavailable } from "../errors.ts";
import type { Value } from "./database.ts";
import type { Checkpoints } from "./sqlite-checkpoint.ts";

/** Waiting for our own writers. Also ends a transaction that waits for itself because it wrote without its `tx`. */
const turnTimeoutMs = 10_000;

/** Waiting for a lock that another process holds stops the event loop; they are short. */
export const busyTimeoutMs = 5_000;

/** Kysely's own adapter would let a transaction hold back every read until it ends. */
export class TwoConnectionAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

export interface SqliteDriverParts {
  readonly writer: DatabaseSync;
  readonly reader: DatabaseSync;
  /** What `checkpoints` copies with. */
  readonly copier: DatabaseSync;
  readonly checkpoints: Checkpoints;
}

/** Waiting for the turn to write, preparing each text once. Owns the connections. */
export class SqliteDriver implements Driver {
  readonly #writer: Statements;
  readonly #reader: Statements;
  readonly #copier: DatabaseSync;
  readonly #turns = new Turns();
  readonly #checkpoints: Checkpoints;
  #isCheckpointing = false;

  constructor({ writer, reader, copier, checkpoints }: SqliteDriverParts) {
    this.#writer = new Statements(writer);
    this.#reader = new Statements(reader);
    this.#copier = copier;
    this.#checkpoints = checkpoints;
  }

  async init(): Promise<void> {
    return;
  }

  async acquireConnection(): Promise<SqliteConnection> {
    return new SqliteConnection(this.#writer, this.#reader, {
      turns: this.#turns,
      onWritten: () => this.#noteChange(),
    });
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

  /**
   * Inserts all rows in one transaction, many with each statement. The driver is synchronous, so the event loop gets a
   * turn after every statement: a large batch never holds up a request for more than a fraction of a millisecond.
   * @param insert the statement up to and including `values`.
   */
  async insertAll(insert: string, columns: number, rows: readonly (readonly Value[])[]): Promise<void> {
    const release = await this.#turns.take();
    const { connection } = this.#writer;
    try {
      // Waiting for another process would hold up every request; what is appended can be appended later.
      connection.exec("pragma busy_timeout = 0");
      try {
        connection.exec("begin immediate");
      } finally {
        connection.exec(`pragma busy_timeout = ${busyTimeoutMs}`);
      }
      try {
        const full = `${insert} ${placesFor(columns, rowsPerInsert)}`;
        const values: Value[] = [];
        for (let at = 0; at < rows.length; at += rowsPerInsert) {
          const end = Math.min(rows.length, at + rowsPerInsert);
          values.length = 0;
          for (let i = at; i < end; i += 1) for (const value of rows[i] ?? []) values.push(value);
          const sql = end - at === rowsPerInsert ? full : `${insert} ${placesFor(columns, end - at)}`;
          this.#writer.prepare(sql).statement.run(...values);
          if (at + rowsPerInsert < rows.length) await new Promise((resolve) => setImmediate(resolve));
        }
        connection.exec("commit");
      } catch (error) {
        if (connection.isTransaction) connection.exec("rollback");
        throw error;
      }
    } finally {
      release();
    }
    this.#checkpoints.noteRows(rows.length);
    this.#checkpointSoon();
  }

  #noteChange(): void {
    this.#checkpoints.noteChange();
    this.#checkpointSoon();
  }

  /** Whoever wrote does not wait for it; whoever writes next does. */
  #checkpointSoon(): void {
    if (!this.#checkpoints.isDue || this.#isCheckpointing) return;
    this.#isCheckpointing = true;
    void this.#checkpoint();
  }

  async #checkpoint(): Promise<void> {
    let release: (() => void) | undefined;
    try {
      release = await this.#turns.take();
      if (this.#writer.connection.isOpen) await this.#checkpoints.run();
    } catch {
      // The turn did not come in time: every writer says so, and the next change asks again.
    } finally {
      this.#isCheckpointing = false;
      release?.();
    }
  }

  async destroy(): Promise<void> {
    const release = await this.#turns.take();
    try {
      if (!this.#writer.connection.isOpen) return;
      this.#reader.connection.close();
      this.#copier.close();
      // The last connection to close folds the write-ahead log into the file, and waits for the disk.
      this.#writer.connection.close();
      await this.#checkpoints.close();
    } finally {
      release();
    }
  }
}

/** Rows with one INSERT: halves what each row costs, and stays far below SQLite's limit of 32,766 parameters. */
const rowsPerInsert = 25;

function placesFor(columns: number, rows: number): string {
  const places = `(${Array<string>(columns).fill("?").join(", ")})`;
  return Array<string>(rows).fill(places).join(", ");
}

interface WriteTurns {
  readonly turns: Turns;
  /** Called after each transaction, and after each statement outside of one that writes. */
  readonly onWritten: () => void;
}

/** One statement, or one transaction, of Kysely's. */
class SqliteConnection implements DatabaseConnection {
  readonly #writer: Statements;
  readonly #reader: Statements;
  readonly #turns: Turns;
  readonly #onWritten: () => void;
  #endTurn: (() => void) | undefined;

  constructor(writer: Statements, reader: Statements, { turns, onWritten }: WriteTurns) {
    this.#writer = writer;
    this.#reader = reader;
    this.#turns = turns;
    this.#onWritten = onWritten;
  }

  async begin(): Promise<void> {
    this.#endTurn = await this.#turns.take();
    // IMMEDIATE: a transaction that reads first and writes later could otherwise fail half-way on a lock.
    this.#writer.connection.exec("begin immediate");
  }

  release(): void {
    if (this.#endTurn === undefined) return;
    this.#endTurn();
    this.#endTurn = undefined;
    this.#onWritten();
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
      this.#onWritten();
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
