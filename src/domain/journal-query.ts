/** Reading the journal of a vault back, page by page (spec of the API, section 10). */
import type { Database } from "../storage/database.ts";

export interface JournalQuery {
  readonly limit: number;
  /** Rows older than this id. */
  readonly before?: number | undefined;
  /** Rows newer than this id; the oldest of them first come, so that a burst is not skipped. */
  readonly after?: number | undefined;
  readonly ingress?: string | undefined;
  readonly service?: string | undefined;
  readonly statusBucket?: StatusBucket | undefined;
}

export const statusBuckets = ["2xx", "3xx", "4xx", "5xx", "err"] as const;
export type StatusBucket = (typeof statusBuckets)[number];

export interface JournalRow {
  readonly id: number;
  readonly requestId: string;
  readonly ingress: string;
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
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
  /** How many requests the row stands for: more than 1 when the journal could not keep up. */
  readonly count: number;
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
  let select = database.db
    .selectFrom("request_log as log")
    .leftJoin("users", (join) => join.onRef("users.id", "=", "log.actor_id").on("log.actor_type", "=", "user"))
    .leftJoin("agents", (join) => join.onRef("agents.id", "=", "log.actor_id").on("log.actor_type", "=", "agent"))
    .selectAll("log")
    .select(["users.email", "agents.name as agent_name"])
    .where("log.vault_id", "=", vaultId)
    .limit(query.limit);
  if (query.before !== undefined) select = select.where("log.id", "<", query.before);
  if (query.after !== undefined) select = select.where("log.id", ">", query.after);
  if (query.ingress !== undefined) select = select.where("log.ingress", "=", query.ingress);
  if (query.service !== undefined) select = select.where("log.matched_service", "=", query.service);
  if (query.statusBucket === "err") {
    select = select.where((row) => row.or([row("log.error_code", "<>", ""), row("log.status", ">=", 400)]));
  } else if (query.statusBucket !== undefined) {
    const from = Number(query.statusBucket[0]) * 100;
    select = select.where("log.status", ">=", from).where("log.status", "<", from + 100);
  }
  const found = await select.orderBy("log.id", query.after === undefined ? "desc" : "asc").execute();
  if (query.after !== undefined) found.reverse();
  const rows = found.map((row) => ({
    // PostgreSQL gives 64-bit integers as text; ids stay far below 2^53.
    id: Number(row.id),
    requestId: row.request_id,
    ingress: row.ingress,
    method: row.method,
    scheme: row.scheme,
    host: row.host,
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
    count: (JSON.parse(row.flags) as { coalesced?: number }).coalesced ?? 1,
    createdAt: row.created_at,
  }));
  const isFull = rows.length === query.limit;
  return {
    rows,
    nextCursor: query.after === undefined && isFull ? (rows.at(-1)?.id ?? null) : null,
    latestId: rows[0]?.id ?? query.after ?? 0,
  };
}
