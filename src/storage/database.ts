/**
 * The database as the rest of the program sees it: Kysely for queries, and the few things that the two engines do
 * differently. What those are inside is in sqlite.ts and postgres.ts and nowhere else.
 */
import type { Kysely, Transaction } from "kysely";
import type { Logger } from "../log.ts";
import type { Schema } from "./schema.ts";

export type Value = string | number | bigint | Uint8Array | null;

export interface Database {
  readonly engine: "sqlite" | "postgres";
  /**
   * For single statements. On SQLite a `select` outside a transaction runs on a second connection, so it never sees
   * half of somebody's transaction; inside `transaction` use `tx` only.
   */
  readonly db: Kysely<Schema>;
  /**
   * Commits when `run` resolves, rolls back when it rejects. On SQLite one runs at a time.
   * @throws {Unavailable} `database_busy` when the turn does not come within 10 seconds.
   */
  transaction<T>(run: (tx: Transaction<Schema>) => Promise<T>): Promise<T>;
  /** Holds back other writers of this vault's services until the transaction ends. */
  lockVault(tx: Transaction<Schema>, vaultId: string): Promise<void>;
  /**
   * The fastest way to append many rows: one transaction, all or none. Values in the order of `columns`. Calls for one
   * table commit one after the other, also those of several processes: whoever has seen a row has seen every row with a
   * smaller serial key. On SQLite it fails, instead of waiting, while another process holds the lock.
   */
  insertRows<Table extends keyof Schema & string>(
    table: Table,
    columns: readonly (keyof Schema[Table] & string)[],
    rows: readonly (readonly Value[])[],
  ): Promise<void>;
  isUniqueViolation(error: unknown): boolean;
  /** The database works and objects to these very values: the same again would fail again. */
  isRefusal(error: unknown): boolean;
  /** @throws when the database cannot be asked. */
  ping(): Promise<void>;
  /** Messages between the processes that share a PostgreSQL database; SQLite has none. */
  readonly channel?: Channel;
  /** Ends the connections once running transactions have ended. */
  close(): Promise<void>;
}

export interface Channel {
  /** Sent when `tx` commits, and only then. At most 7,900 bytes. */
  notify(tx: Transaction<Schema>, message: string): Promise<void>;
  /** `onReady` is called after every (re)connection: messages before it may have been missed. */
  listen(onMessage: (message: string) => void, onReady: () => void): Promise<() => Promise<void>>;
}

export interface SqliteOptions {
  /** The file; it and its directory are made when they are missing (modes 0600 and 0700). */
  readonly path: string;
}

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database?sslmode=…`. Never printed. */
  readonly url: string;
  readonly maxOpenConnections?: number;
  readonly maxLifetimeMs?: number;
}

/**
 * Opens the database and brings its schema up to date. Several processes may do this at once.
 *
 * @throws {Conflict} `database_newer` or `database_foreign`: it is left as it was.
 * @throws {InvalidInput} `invalid_database_url`. @throws {Unavailable} `database_unreachable`.
 */
export async function openDatabase(options: SqliteOptions | PostgresOptions, log: Logger): Promise<Database> {
  // Only the driver that is needed is loaded: a command line starts in milliseconds.
  if ("url" in options) return (await import("./postgres.ts")).openPostgres(options, log);
  return (await import("./sqlite.ts")).openSqlite(options, log);
}
