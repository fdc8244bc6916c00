/** PostgreSQL 13 or newer through postgres.js. */
import { randomUUID } from "node:crypto";
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  sql,
  type Transaction,
} from "kysely";
import postgres, { type ReservedSql, type Sql } from "postgres";
import { InvalidInput, Unavailable } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Channel, Database, PostgresOptions, Value } from "./database.ts";
import { foreignDatabase, pendingMigrations, postgresWords } from "./migrations/migrations.ts";
import type { Schema } from "./schema.ts";

const notifyChannel = "agent_vault_changes";
/** Held while migrating; any number does that is not the hash of a vault's id. */
const migrationLock = "4706915321078542901";
const connectTimeoutSeconds = 10;
/** For queries that are still running. */
const closeTimeoutSeconds = 5;
/** A database that takes longer to answer at the end is taken for one that is away: nobody waits for its goodbye. */
const goodbyeTimeoutMs = 1_000;
const defaultMaxOpenConnections = 25;
const defaultMaxLifetimeMs = 5 * 60_000;

/** @throws see `openDatabase`. */
export async function openPostgres(options: PostgresOptions, log: Logger): Promise<Database> {
  const { url, where, ssl } = parseUrl(options.url);
  const client = postgres(url, {
    max: options.maxOpenConnections ?? defaultMaxOpenConnections,
    // postgres.js closes by age and idleness; it has no number of idle connections to keep.
    idle_timeout: 5 * 60,
    max_lifetime: Math.ceil((options.maxLifetimeMs || defaultMaxLifetimeMs) / 1000),
    connect_timeout: connectTimeoutSeconds,
    backoff: reconnectAfterSeconds,
    connection: { application_name: "agent-vault", TimeZone: "UTC" },
    ssl,
    types,
    onnotice: (notice) => log.debug("notice from PostgreSQL", { message: notice.message }),
  }) as unknown as Sql;
  try {
    await migrate(client, where, log);
  } catch (error) {
    await client.end({ timeout: 1 });
    throw translate(error, where);
  }
  return new PostgresDatabase(client);
}

/** Has an agent-vault ever been here? Writes nothing. @throws {Unavailable} `database_unreachable`. */
export async function hasPostgresSchema(options: PostgresOptions): Promise<boolean> {
  const { url, where, ssl } = parseUrl(options.url);
  const client = postgres(url, { max: 1, connect_timeout: connectTimeoutSeconds, ssl });
  try {
    const [row] = await client`select to_regclass('migrations') is not null as found`;
    return row?.found === true;
  } catch (error) {
    throw translate(error, where);
  } finally {
    await client.end({ timeout: 1 });
  }
}

/**
 * Until the next attempt to connect, in seconds. By default postgres.js waits for up to 20, and whoever asks meanwhile
 * waits along: an agent is to hear within a second that the database is away, and that it is back.
 */
function reconnectAfterSeconds(attempts: number): number {
  return (0.5 + Math.random() / 2) * Math.min(3 ** attempts / 100, 0.5);
}

/** How values arrive and leave, so that both engines give the same. */
const types = {
  timestamp: {
    to: 1184,
    from: [1184],
    serialize: (text: string) => text,
    parse: isoTime,
  },
  /** Counts and ids stay far below 2^53. `sum` of a bigint is a numeric. */
  bigint: { to: 20, from: [20, 1700], serialize: (value: number | bigint) => String(value), parse: Number },
  bytes: {
    to: 17,
    from: [17],
    serialize: (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString("hex")}`,
    parse: (text: string) => new Uint8Array(Buffer.from(text.slice(2), "hex")),
  },
};

/** PostgreSQL writes `2026-01-31 12:00:00.5+00`, in UTC. Lists have thousands of them, and a Date for each is slow. */
function isoTime(text: string): string {
  // Years of five digits, and before Christ.
  if (text[10] !== " " || !text.endsWith("+00")) return new Date(`${text.replace(" ", "T")}:00`).toISOString();
  const fraction = text[19] === "." ? text.slice(20, -3) : "";
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${fraction.padEnd(3, "0").slice(0, 3)}Z`;
}

class PostgresDatabase implements Database {
  readonly engine = "postgres";
  readonly db: Kysely<Schema>;
  readonly channel: Channel;
  readonly #client: Sql;
  /** Per table: the type of each column, as `name type`. */
  readonly #columnTypes = new Map<string, Promise<ReadonlyMap<string, string>>>();

  constructor(client: Sql) {
    this.#client = client;
    this.channel = new PostgresChannel(client);
    this.db = new Kysely<Schema>({
      dialect: {
        createAdapter: () => new PostgresAdapter(),
        createDriver: () => new PostgresDriver(client),
        createIntrospector: (db) => new PostgresIntrospector(db),
        createQueryCompiler: () => new PostgresQueryCompiler(),
      },
    });
  }

  transaction<T>(run: (tx: Transaction<Schema>) => Promise<T>): Promise<T> {
    return this.db.transaction().execute(run);
  }

  async lockVault(tx: Transaction<Schema>, vaultId: string): Promise<void> {
    await sql`select pg_advisory_xact_lock(${fnv1a64(vaultId).toString()}::bigint)`.execute(tx);
  }

  async insertRows(table: string, columns: readonly string[], rows: readonly (readonly Value[])[]): Promise<void> {
    if (rows.length === 0) return;
    const known = await this.#typesOf(table);
    const names = columns.map((column) => `"${column}"`).join(", ");
    const typed = columns.map((column) => `"${column}" ${known.get(column) ?? "text"}`).join(", ");
    const records = rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, jsonValue(row[at])])));
    // One parameter however many rows: a text per row shape, prepared once, and no limit of 65,535 parameters. The lock is
    // taken before the first serial key is: keys become visible in their order.
    await this.#client.unsafe(
      `with turn as materialized (select pg_advisory_xact_lock(${fnv1a64(`rows of ${table}`)}) as held)
       insert into "${table}" (${names})
       select ${names} from turn, json_to_recordset($1::text::json) as rows (${typed})`,
      [JSON.stringify(records)],
      { prepare: true },
    );
  }

  isUniqueViolation(error: unknown): boolean {
    return error instanceof Error && (error as { code?: unknown }).code === "23505";
  }

  /** SQLSTATE class 22: data exception; 23: integrity constraint violation. */
  isRefusal(error: unknown): boolean {
    return error instanceof Error && /^2[23]/.test(String((error as { code?: unknown }).code ?? ""));
  }

  async ping(): Promise<void> {
    await this.#client`select 1`;
  }

  async close(): Promise<void> {
    await endClient(this.#client);
  }

  #typesOf(table: string): Promise<ReadonlyMap<string, string>> {
    const known = this.#columnTypes.get(table);
    if (known) return known;
    const asked = this.#client`
      select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
      where attrelid = to_regclass(${`"${table}"`}) and attnum > 0 and not attisdropped
    `.then((rows) => new Map(rows.map((row) => [String(row.name), String(row.type)])));
    asked.catch(() => this.#columnTypes.delete(table));
    this.#columnTypes.set(table, asked);
    return asked;
  }
}

class PostgresChannel implements Channel {
  readonly #client: Sql;

  constructor(client: Sql) {
    this.#client = client;
  }

  async notify(tx: Transaction<Schema>, message: string): Promise<void> {
    await sql`select pg_notify(${notifyChannel}, ${message})`.execute(tx);
  }

  async listen(onMessage: (message: string) => void, onReady: () => void): Promise<() => Promise<void>> {
    const { unlisten } = await this.#client.listen(notifyChannel, onMessage, onReady);
    return unlisten;
  }
}

class PostgresDriver implements Driver {
  readonly #client: Sql;

  constructor(client: Sql) {
    this.#client = client;
  }

  async init(): Promise<void> {
    return;
  }

  async acquireConnection(): Promise<PostgresConnection> {
    return new PostgresConnection(this.#client);
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as PostgresConnection).begin();
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("commit"));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as PostgresConnection).rollback();
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    (connection as PostgresConnection).release();
  }

  async destroy(): Promise<void> {
    await endClient(this.#client);
  }
}

/** A single statement goes to whichever connection is free; a transaction reserves one. */
class PostgresConnection implements DatabaseConnection {
  readonly #client: Sql;
  #reserved: ReservedSql | undefined;

  constructor(client: Sql) {
    this.#client = client;
  }

  async begin(): Promise<void> {
    this.#reserved = await this.#client.reserve();
    await this.#reserved.unsafe("begin");
  }

  async rollback(): Promise<void> {
    try {
      await this.#reserved?.unsafe("rollback");
    } catch (error) {
      // The server rolls back when the connection is gone, and the error that led here says more than this one.
      if (!isConnectionError(error)) throw error;
    }
  }

  release(): void {
    this.#reserved?.release();
    this.#reserved = undefined;
  }

  async executeQuery<R>({ sql: text, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const client = this.#reserved ?? this.#client;
    // postgres.js types parameters more narrowly than what it takes.
    const result = await client.unsafe(text, parameters as never[], { prepare: true });
    return { rows: Array.from(result) as R[], numAffectedRows: BigInt(result.count ?? 0) };
  }

  async *streamQuery<R>(
    { sql: text, parameters }: CompiledQuery,
    chunkSize: number,
  ): AsyncIterableIterator<QueryResult<R>> {
    const client = this.#reserved ?? this.#client;
    for await (const rows of client.unsafe(text, parameters as never[]).cursor(chunkSize)) yield { rows: rows as R[] };
  }
}

/** postgres.js waits for running queries and for the server's side of each connection; one that is away gives neither. */
async function endClient(client: Sql): Promise<void> {
  const { promise: isSilent, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(resolve, goodbyeTimeoutMs, true);
  const answers = client`select 1`.then(
    () => false,
    () => true,
  );
  const isAway = await Promise.race([answers, isSilent]);
  clearTimeout(timer);
  await client.end({ timeout: isAway ? 0 : closeTimeoutSeconds });
}

/** One transaction under a lock: of several processes that start at once, one migrates and the others find it done. */
async function migrate(client: Sql, where: string, log: Logger): Promise<void> {
  await client.begin(async (tx) => {
    await tx.unsafe(`select pg_advisory_xact_lock(${migrationLock})`);
    const pending = pendingMigrations(await appliedTo(tx as unknown as Sql, where), where);
    const now = new Date().toISOString();
    for (const migration of pending) {
      for (const text of migration.statements(postgresWords, { instanceId: randomUUID(), now })) await tx.unsafe(text);
      await tx`insert into migrations (name, applied_at) values (${migration.name}, ${now})`;
      log.debug("database migrated", { step: migration.name });
    }
  });
}

/** @throws {Conflict} `database_foreign` when the schema holds tables, but not ours. */
async function appliedTo(tx: Sql, where: string): Promise<readonly string[]> {
  // What an extension made (statistics views, spatial tables) is nobody's data.
  const relations = await tx`
    select relname as name from pg_class
    where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')
      and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e')
    order by relname
  `;
  if (relations.length === 0) return [];
  const isOurs = await tx`
    select 1 from information_schema.columns
    where table_schema = current_schema() and table_name = 'instance' and column_name in ('product', 'instance_id')
  `;
  const marked = isOurs.length === 2 ? await tx`select product from instance where id = 1` : [];
  if (marked[0]?.product !== "agent-vault") {
    throw foreignDatabase(where, `its schema holds tables of another program (such as "${relations[0]?.name}")`);
  }
  const applied = await tx`select name from migrations order by name`;
  return applied.map((row) => String(row.name));
}

type SslMode = false | "prefer" | "require" | "allow" | "verify-full";

/** The URL for the driver, and a name of the database that may be shown. @throws {InvalidInput} without the URL. */
function parseUrl(text: string): { url: string; where: string; ssl: SslMode } {
  const refuse = (what: string) =>
    new InvalidInput("invalid_database_url", `The database URL is not usable: ${what}`, {
      hint: "postgres://user:password@host:5432/database?sslmode=verify-full",
    });
  // No `cause`: the error of `new URL` carries the text, password included.
  if (!URL.canParse(text)) throw refuse("it is not a URL");
  const url = new URL(text);
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") {
    throw refuse(`its scheme is ${url.protocol.slice(0, -1)}, not postgres or postgresql`);
  }
  const mode = url.searchParams.get("sslmode");
  // postgres.js takes any text for "use TLS", `disable` included. `prefer` is what libpq does when nothing is said.
  const modes: Readonly<Record<string, SslMode>> = {
    disable: false,
    allow: "allow",
    prefer: "prefer",
    require: "require",
    "verify-ca": "verify-full",
    "verify-full": "verify-full",
  };
  const ssl = modes[mode ?? "prefer"];
  if (ssl === undefined) throw refuse(`sslmode must be one of ${Object.keys(modes).join(", ")}`);
  url.searchParams.delete("sslmode");
  return { url: url.href, where: `postgres://${url.host}${url.pathname}`, ssl };
}

function translate(error: unknown, where: string): unknown {
  const code = String((error as { code?: unknown }).code ?? "");
  // Class 28: authentication; 3D000: no such database; 57P03: starting up; 53300: too many connections.
  if (!isConnectionError(error) && !/^(28|3D000|57P|53300)/.test(code)) return error;
  return new Unavailable("database_unreachable", `Cannot use the database ${where}: ${reason(error, code)}`, {
    hint: "check the host, port, user, password and sslmode of DATABASE_URL",
    cause: error,
  });
}

function reason(error: unknown, code: string): string {
  return /^\w{5}$/.test(code) && error instanceof Error ? error.message : code;
}

function isConnectionError(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code ?? "");
  return /^(CONNECT|ECONN|ENOTFOUND|EAI_|ETIMEDOUT|EHOST|ENET|CONNECTION_|08)/.test(code);
}

function jsonValue(value: Value | undefined): string | number | null {
  if (value instanceof Uint8Array) return types.bytes.serialize(value);
  return typeof value === "bigint" ? String(value) : (value ?? null);
}

/** 64-bit FNV-1a, as the signed number that PostgreSQL's advisory locks take. */
function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return BigInt.asIntN(64, hash);
}
