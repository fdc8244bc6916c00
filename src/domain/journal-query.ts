/** Reading the journal of a vault back, page by page (spec of the API, section 10). */
import type { SelectQueryBuilder } from "kysely";
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import { type ParsedFlags, parseFlags } from "./journal-rows.ts";

/** Which rows; all of them together. */
export interface JournalFilter {
  /** Undefined: all but `tunnel`, which says nothing that the requests inside of a tunnel do not say. */
  readonly ingress?: string | undefined;
  readonly service?: string | undefined;
  readonly statusBucket?: StatusBucket | undefined;
  readonly method?: string | undefined;
  /** `host:port`, or a host with whatever port. */
  readonly host?: string | undefined;
  /** Id, e-mail address or agent name. */
  readonly actor?: string | undefined;
  /** Public id of a session. */
  readonly session?: string | undefined;
  readonly errorCode?: string | undefined;
  readonly requestId?: string | undefined;
  /** RFC 3339: requests that arrived then or later. */
  readonly since?: string | undefined;
  /** RFC 3339: requests that arrived before. */
  readonly until?: string | undefined;
}

export interface JournalQuery extends JournalFilter {
  readonly limit: number;
  /** Rows older than this id. */
  readonly before?: number | undefined;
  /** Rows newer than this id; the oldest of them first come, so that a burst is not skipped. */
  readonly after?: number | undefined;
}

/** A stretch of the journal, from its oldest end. */
export interface JournalSpan extends JournalFilter {
  readonly after: number;
  /** The last id that counts; not beyond the newest row. */
  readonly upTo?: number | undefined;
  readonly limit: number;
}

export const statusBuckets = ["2xx", "3xx", "4xx", "5xx", "err"] as const;
export type StatusBucket = (typeof statusBuckets)[number];

/** `count`: how many requests the row stands for, more than 1 when the journal could not keep up. */
export interface JournalRow extends ParsedFlags {
  readonly id: number;
  readonly requestId: string;
  readonly ingress: string;
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
  /** That the agent spoke. */
  readonly protocol: string;
  readonly path: string;
  readonly matchedService: string;
  readonly credentialKeys: readonly string[];
  readonly status: number;
  readonly latencyMs: number;
  readonly upstreamMs: number | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly errorCode: string;
  readonly actorType: string;
  readonly actorId: string;
  /** E-mail address or agent name; undefined when the actor is gone. */
  readonly actorName: string | undefined;
  readonly sessionId: string;
  readonly createdAt: string;
}

export interface JournalPage {
  /** Newest first. */
  readonly rows: readonly JournalRow[];
  /** For `before`; null on the last page and when following with `after`. */
  readonly nextCursor: number | null;
  /** For `after`. */
  readonly latestId: number;
}

export async function listJournal(database: Database, vaultId: string, query: JournalQuery): Promise<JournalPage> {
  const rows =
    query.after === undefined
      ? await readBackwards(database, vaultId, query)
      : [...(await readJournal(database, vaultId, { ...query, after: query.after })).rows].reverse();
  const isFull = rows.length === query.limit;
  return {
    rows,
    nextCursor: query.after === undefined && isFull ? (rows.at(-1)?.id ?? null) : null,
    latestId: rows[0]?.id ?? query.after ?? 0,
  };
}

/** The newest row of a vault; 0 when there is none. */
export async function latestJournalId({ db }: Database, vaultId: string): Promise<number> {
  const row = await db
    .selectFrom("request_entries")
    .select((of) => of.fn.max("id").as("id"))
    .where("vault_id", "=", vaultId)
    .executeTakeFirst();
  return Number(row?.id ?? 0);
}

/**
 * Rows that one statement looks at; it always has to filter them. No index helps a filter, and on SQLite a statement holds up
 * everything else: a filter that matches nothing in a journal without bound must not cost more than a few milliseconds at
 * a time.
 */
const windowRows = 5_000;

async function readBackwards(database: Database, vaultId: string, query: JournalQuery): Promise<readonly JournalRow[]> {
  const rows: JournalRow[] = [];
  let before = query.before ?? Number.MAX_SAFE_INTEGER;
  for (;;) {
    const oldest = await edgeOfWindow(database, vaultId, { before });
    let select = rowsOf(database, vaultId, query).where("log.id", "<", before).orderBy("log.id", "desc");
    if (oldest !== undefined) select = select.where("log.id", ">=", oldest);
    rows.push(...(await select.limit(query.limit - rows.length).execute()).map(toRow));
    if (oldest === undefined || rows.length >= query.limit) return rows;
    before = oldest;
  }
}

/**
 * Rows after an id, the oldest first.
 * @returns where to go on: with `upTo` there, when it was reached, even if no row in between passed the filter.
 */
export async function readJournal(
  database: Database,
  vaultId: string,
  query: JournalSpan,
): Promise<{ readonly rows: readonly JournalRow[]; readonly next: number }> {
  const rows: JournalRow[] = [];
  const upTo = query.upTo ?? Number.MAX_SAFE_INTEGER;
  let after = query.after;
  for (;;) {
    const newest = await edgeOfWindow(database, vaultId, { after });
    const select = rowsOf(database, vaultId, query)
      .where("log.id", ">", after)
      .where("log.id", "<=", Math.min(upTo, newest ?? upTo))
      .orderBy("log.id");
    rows.push(...(await select.limit(query.limit - rows.length).execute()).map(toRow));
    if (rows.length >= query.limit) return { rows, next: rows.at(-1)?.id ?? after };
    if (newest === undefined || newest >= upTo) return { rows, next: query.upTo ?? rows.at(-1)?.id ?? after };
    after = newest;
  }
}

/** The id at the far end of the next window; undefined when what is left fits into one. */
async function edgeOfWindow(
  { db }: Database,
  vaultId: string,
  from: { readonly before: number } | { readonly after: number },
): Promise<number | undefined> {
  const ids = db.selectFrom("request_entries").select("id").where("vault_id", "=", vaultId);
  const ordered =
    "before" in from
      ? ids.where("id", "<", from.before).orderBy("id", "desc")
      : ids.where("id", ">", from.after).orderBy("id");
  const edge = await ordered
    .offset(windowRows - 1)
    .limit(1)
    .executeTakeFirst();
  return edge === undefined ? undefined : Number(edge.id);
}

type JournalTables = Schema & { log: Schema["request_log"] };

function rowsOf({ db }: Database, vaultId: string, filter: JournalFilter) {
  const select = db
    .selectFrom("request_log as log")
    .leftJoin("users", (join) => join.onRef("users.id", "=", "log.actor_id").on("log.actor_type", "=", "user"))
    .leftJoin("agents", (join) => join.onRef("agents.id", "=", "log.actor_id").on("log.actor_type", "=", "agent"))
    .selectAll("log")
    .select(["users.email", "agents.name as agent_name"])
    .where("log.vault_id", "=", vaultId);
  return applyFilter(select, filter);
}

function applyFilter<O>(
  all: SelectQueryBuilder<JournalTables, "log", O>,
  filter: JournalFilter,
): SelectQueryBuilder<JournalTables, "log", O> {
  let select = all;
  const equal = {
    "log.ingress": filter.ingress,
    "log.matched_service": filter.service,
    "log.method": filter.method,
    "log.session_id": filter.session,
    "log.error_code": filter.errorCode,
    "log.request_id": filter.requestId,
  } as const;
  if (filter.ingress === undefined) select = select.where("log.ingress", "<>", "tunnel");
  for (const [column, value] of Object.entries(equal)) {
    if (value !== undefined) select = select.where(column as keyof typeof equal, "=", value);
  }
  if (filter.statusBucket === "err") {
    select = select.where((row) => row.or([row("log.error_code", "<>", ""), row("log.status", ">=", 400)]));
  } else if (filter.statusBucket !== undefined) {
    const from = Number(filter.statusBucket[0]) * 100;
    select = select.where("log.status", ">=", from).where("log.status", "<", from + 100);
  }
  const { host, actor } = filter;
  if (host !== undefined && hasPort(host)) select = select.where("log.host", "=", host);
  else if (host !== undefined) {
    // Everything that begins with `host:`, as a range: `;` follows `:`, and no character of a host is a wildcard here.
    select = select.where("log.host", ">=", `${host}:`).where("log.host", "<", `${host};`);
  }
  if (actor !== undefined) {
    select = select.where((row) =>
      row.or([
        row("log.actor_id", "=", actor),
        row("log.actor_id", "in", row.selectFrom("users").select("users.id").where("email", "=", actor.toLowerCase())),
        row("log.actor_id", "in", row.selectFrom("agents").select("agents.id").where("name", "=", actor)),
      ]),
    );
  }
  if (filter.since !== undefined) select = select.where("log.created_at", ">=", filter.since);
  if (filter.until !== undefined) select = select.where("log.created_at", "<", filter.until);
  return select;
}

function hasPort(host: string): boolean {
  return /(?:^[^:]+|\]):\d+$/.test(host);
}

type SelectedRow = Awaited<ReturnType<ReturnType<typeof rowsOf>["execute"]>>[number];

function toRow(row: SelectedRow): JournalRow {
  return {
    // PostgreSQL gives 64-bit integers as text; ids stay far below 2^53.
    id: Number(row.id),
    requestId: row.request_id,
    ingress: row.ingress,
    method: row.method,
    scheme: row.scheme,
    host: row.host,
    protocol: row.protocol,
    path: row.path,
    matchedService: row.matched_service,
    credentialKeys: JSON.parse(row.credential_keys) as string[],
    status: row.status,
    latencyMs: Number(row.latency_ms),
    upstreamMs: row.upstream_ms === null ? null : Number(row.upstream_ms),
    bytesIn: Number(row.bytes_in),
    bytesOut: Number(row.bytes_out),
    errorCode: row.error_code,
    actorType: row.actor_type,
    actorId: row.actor_id,
    actorName: row.email ?? row.agent_name ?? undefined,
    sessionId: row.session_id,
    ...parseFlags(row.flags),
    createdAt: row.created_at,
  };
}
