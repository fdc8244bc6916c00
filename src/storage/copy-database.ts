/**
 * Copies everything of an embedded database into an empty PostgreSQL database: `migrate-db`. Sealed values, digests and
 * keys move as they are, so the same master password opens them and every token stays good.
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Kysely, sql, type Transaction } from "kysely";
import { Conflict, Corrupt } from "../errors.ts";
import type { Logger } from "../log.ts";
import { type Database, openDatabase } from "./database.ts";
import { hasPostgresSchema } from "./postgres.ts";
import type { Schema } from "./schema.ts";

/** One table to copy. */
interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  readonly rows: number;
}

export interface CopySteps {
  onTable(name: string, rows: number): void;
  /** The last thing in the transaction, in the database that is complete by then. */
  atEnd(tx: Transaction<Schema>): Promise<void>;
}

export interface CopySource extends AsyncDisposable {
  /** Names and rows, in the order in which they are copied. */
  readonly tables: readonly { readonly name: string; readonly rows: number }[];
  readonly totalRows: number;
  /**
   * All or nothing, in one transaction that keeps other servers out.
   * @throws {Conflict} `destination_not_empty`. @throws {Corrupt} when a table did not arrive whole.
   */
  copyTo(url: string, steps: CopySteps): Promise<void>;
}

/** Which migrations were made is the destination's own history. */
const ownOfEach = new Set(["migrations"]);
/** Rows beyond these make a database one that is in use. */
const mustBeEmpty = ["users", "agents", "key_protection", "sessions", "credentials"] as const;
const defaultVaultId = "00000000-0000-0000-0000-000000000000";
/** PostgreSQL takes 65,535 parameters in a statement. */
const maxParameters = 30_000;
const maxRowsAtOnce = 500;

/**
 * Opens the database at `path` for reading. The file itself stays untouched: a copy beside it is brought up to date.
 * No server may run on it meanwhile. Close it, which removes the copy.
 */
export async function openCopySource(path: string, log: Logger): Promise<CopySource> {
  const folder = await mkdtemp(join(dirname(path), ".migrate-db-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const copy = join(folder, basename(path));
    for (const suffix of ["", "-wal", "-shm"]) {
      await cp(`${path}${suffix}`, `${copy}${suffix}`, { force: true }).catch((error: unknown) => {
        // The log and its index are there only where a server did not end in order.
        if (suffix === "" || (error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      });
    }
    const database = await openDatabase({ path: copy }, log);
    const tables = await listTables(database.db);
    return {
      tables,
      totalRows: tables.reduce((sum, { rows }) => sum + rows, 0),
      copyTo: (url, steps) => copyTables(database, { tables, url, log, steps }),
      async [Symbol.asyncDispose]() {
        await database.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/**
 * Looks at the destination; where agent-vault has never been, nothing is written.
 * @throws {Conflict} `destination_not_empty`, `database_foreign`. @throws {Unavailable} `database_unreachable`.
 */
export async function checkDestination(url: string, log: Logger): Promise<void> {
  if (!(await hasPostgresSchema({ url }))) return;
  const target = await openDatabase({ url }, log);
  try {
    await refuseUsed(target.db);
  } finally {
    await target.close();
  }
}

/** A table after those that it refers to. */
async function listTables(db: Kysely<Schema>): Promise<readonly Table[]> {
  const { rows } = await sql<{ name: string }>`
    select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by name`.execute(db);
  const names = rows.map(({ name }) => name).filter((name) => !ownOfEach.has(name));
  const ordered: Table[] = [];
  const visit = async (name: string, before: readonly string[]): Promise<void> => {
    if (ordered.some((table) => table.name === name) || before.includes(name)) return;
    const parents = await sql<{ table: string }>`select "table" from pragma_foreign_key_list(${name})`.execute(db);
    for (const { table } of parents.rows) await visit(table, [...before, name]);
    const columns = await sql<{ name: string }>`select name from pragma_table_info(${name})`.execute(db);
    ordered.push({ name, columns: columns.rows.map((column) => column.name), rows: await countRows(db, name) });
  };
  for (const name of names) await visit(name, []);
  return ordered;
}

async function countRows(db: Kysely<Schema>, table: string): Promise<number> {
  const { rows } = await sql<{ count: number | bigint | string }>`
    select count(*) as count from ${sql.table(table)}`.execute(db);
  return Number(rows[0]?.count ?? 0);
}

interface CopyOptions {
  readonly tables: readonly Table[];
  readonly url: string;
  readonly log: Logger;
  readonly steps: CopySteps;
}

async function copyTables(source: Database, { tables, url, log, steps }: CopyOptions): Promise<void> {
  const target = await openDatabase({ url }, log);
  try {
    await target.transaction(async (tx) => {
      await sql`lock table instance, vaults, users, key_protection in access exclusive mode`.execute(tx);
      await refuseUsed(tx);
      // What the migrations put in is in the source as well.
      for (const { name } of tables.toReversed()) await sql`delete from ${sql.table(name)}`.execute(tx);
      for (const table of tables) {
        await copyTable(source.db, tx, table);
        const arrived = await countRows(tx, table.name);
        if (arrived !== table.rows) {
          throw new Corrupt("copy_incomplete", `Of ${table.rows} rows of ${table.name}, ${arrived} arrived`);
        }
        steps.onTable(table.name, table.rows);
      }
      await raiseSequences(tx);
      await steps.atEnd(tx);
    });
  } finally {
    await target.close();
  }
}

/** @throws {Conflict} naming what is there. */
async function refuseUsed(tx: Kysely<Schema>): Promise<void> {
  const { rows } = await sql<{ count: string }>`
    select count(*) as count from vaults where id <> ${defaultVaultId}`.execute(tx);
  const counts: (readonly [string, number])[] = [["vaults", Number(rows[0]?.count ?? 0)]];
  for (const table of mustBeEmpty) counts.push([table, await countRows(tx, table)]);
  const used = counts.find(([, count]) => count > 0);
  if (!used) return;
  throw new Conflict(
    "destination_not_empty",
    `The destination is in use: its table ${used[0]} has ${used[1]} row${used[1] === 1 ? "" : "s"}`,
    { hint: "an empty PostgreSQL database" },
  );
}

async function copyTable(from: Kysely<Schema>, to: Transaction<Schema>, { name, columns }: Table): Promise<void> {
  const limit = Math.min(maxRowsAtOnce, Math.floor(maxParameters / columns.length));
  const named = sql.join(columns.map((column) => sql.ref(column)));
  for (let last = 0; ; ) {
    const { rows } = await sql<Record<string, unknown>>`
      select rowid as copied_row, ${named} from ${sql.table(name)}
      where rowid > ${last} order by rowid limit ${limit}`.execute(from);
    const end = rows.at(-1);
    if (end === undefined) return;
    const tuples = rows.map((row) => sql`(${sql.join(columns.map((column) => row[column] ?? null))})`);
    // The numbers of the journal stay what cursors of clients say they are.
    await sql`insert into ${sql.table(name)} (${named}) overriding system value values ${sql.join(tuples)}`.execute(to);
    last = Number(end.copied_row);
  }
}

/** The next row of a numbered table comes after those that were copied. */
async function raiseSequences(tx: Transaction<Schema>): Promise<void> {
  const { rows } = await sql<{ table_name: string; column_name: string }>`
    select table_name, column_name from information_schema.columns
    where table_schema = current_schema() and is_identity = 'YES'`.execute(tx);
  for (const { table_name: table, column_name: column } of rows) {
    await sql`
      select setval(pg_get_serial_sequence(${table}, ${column}), greatest(max(${sql.ref(column)}), 1), count(*) > 0)
      from ${sql.table(table)}`.execute(tx);
  }
}
