/** The journal on the wire: which rows are asked for, and how a row looks as JSON and as CSV. */
import type { ScrubFinding } from "../domain/journal-entry.ts";
import { type JournalFilter, type JournalRow, type StatusBucket, statusBuckets } from "../domain/journal-query.ts";
import { InvalidInput } from "../errors.ts";
import { jsonText, wireTime } from "./answer.ts";
import type { logFilters } from "./contracts/logs.ts";
import type { ApiRequest } from "./router.ts";

type FilterName = keyof typeof logFilters;

/**
 * The filters of a query. The existing ones ignore what they do not know (spec of the API, section 10).
 * @throws {InvalidInput} `invalid_time`: showing more than was asked for would mislead.
 */
export function parseJournalFilter(request: ApiRequest<unknown, FilterName>): JournalFilter {
  const text = (name: FilterName) => request.query(name) || undefined;
  return {
    ingress: text("ingress"),
    service: text("service"),
    statusBucket: parseBucket(text("status_bucket")),
    method: text("method"),
    host: text("host")?.toLowerCase(),
    actor: text("actor"),
    session: text("session"),
    errorCode: text("error_code"),
    requestId: text("request_id"),
    since: parseTime("since", text("since")),
    until: parseTime("until", text("until")),
  };
}

/** The newest id that fits into a number of JavaScript; larger ones mean "beyond every row". */
const maxId = BigInt(Number.MAX_SAFE_INTEGER);
const maxInt64 = 2n ** 63n - 1n;

/** A positive whole number of 64 bits; anything else is as if nothing was said. */
export function parseCount(text: string | null | undefined): number | undefined {
  if (!text || !/^\d{1,19}$/.test(text)) return undefined;
  const value = BigInt(text);
  if (value === 0n || value > maxInt64) return undefined;
  return Number(value > maxId ? maxId : value);
}

function parseBucket(text: string | undefined): StatusBucket | undefined {
  return statusBuckets.find((bucket) => bucket === text);
}

function parseTime(name: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const isTime = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text);
  const time = new Date(text.replace(" ", "T"));
  if (!isTime || Number.isNaN(time.getTime())) {
    throw new InvalidInput("invalid_time", `${name} must be a time such as 2026-01-31T12:00:00Z`);
  }
  return time.toISOString();
}

export function formatJournalRow(row: JournalRow): object {
  return {
    id: row.id,
    request_id: row.requestId,
    ingress: row.ingress,
    method: row.method,
    scheme: row.scheme,
    protocol: row.protocol,
    host: row.host,
    path: row.path,
    matched_service: row.matchedService,
    credential_keys: row.credentialKeys,
    status: row.status,
    latency_ms: row.latencyMs,
    upstream_ms: row.upstreamMs,
    ...formatWay(row),
    bytes_in: row.bytesIn,
    bytes_out: row.bytesOut,
    error_code: row.errorCode,
    actor_type: row.actorType,
    actor_id: row.actorId,
    ...(row.actorName !== undefined && { actor_name: row.actorName }),
    session_id: row.sessionId,
    ...(row.count > 1 && { request_count: row.count }),
    ...(row.scrubbed && { scrub: formatFinding(row.scrubbed) }),
    created_at: wireTime(row.createdAt),
  };
}

/** How the request came to the upstream: null for all of it where it never did. */
function formatWay(row: JournalRow): object {
  const { dial, queueMs, isRetried } = row;
  const isReused = dial === undefined && (row.upstreamMs !== null || row.isUnanswered);
  const spent = (ms: number | undefined) => ms ?? (isReused ? 0 : null);
  return {
    queue_ms: queueMs,
    dns_ms: spent(dial?.dnsMs),
    connect_ms: spent(dial?.connectMs),
    tls_ms: spent(dial?.tlsMs),
    upstream_reused: dial === undefined && !isReused ? null : isReused,
    upstream_address: dial?.address || null,
    ...(isRetried && { retried: true }),
  };
}

function formatFinding({ mode, found, isBlind }: ScrubFinding): object {
  return { mode, credential_keys: found, ...(isBlind && { not_scanned: true }) };
}

/** One event of a stream (HTML, section 9.2: server-sent events); `id` is where a client goes on. */
export function formatRowEvent(row: JournalRow): string {
  return `event: log\nid: ${row.id}\ndata: ${jsonText(formatJournalRow(row))}\n\n`;
}

const csvColumns: readonly (readonly [title: string, value: (row: JournalRow) => string | number | null])[] = [
  ["id", (row) => row.id],
  ["time", (row) => row.createdAt],
  ["method", (row) => row.method],
  ["scheme", (row) => row.scheme],
  ["host", (row) => row.host],
  ["path", (row) => row.path],
  ["status", (row) => row.status],
  ["error_code", (row) => row.errorCode],
  ["matched_service", (row) => row.matchedService],
  ["credential_keys", (row) => row.credentialKeys.join(" ")],
  ["actor_type", (row) => row.actorType],
  ["actor_id", (row) => row.actorId],
  ["actor_name", (row) => row.actorName ?? ""],
  ["session_id", (row) => row.sessionId],
  ["request_id", (row) => row.requestId],
  ["request_count", (row) => row.count],
  ["bytes_in", (row) => row.bytesIn],
  ["bytes_out", (row) => row.bytesOut],
  ["latency_ms", (row) => row.latencyMs],
  ["upstream_ms", (row) => row.upstreamMs],
  ["protocol", (row) => row.protocol],
  ["queue_ms", (row) => row.queueMs],
  ["dns_ms", (row) => row.dial?.dnsMs ?? null],
  ["connect_ms", (row) => row.dial?.connectMs ?? null],
  ["tls_ms", (row) => row.dial?.tlsMs ?? null],
  ["upstream_address", (row) => row.dial?.address ?? ""],
];

export const csvHead = `${csvColumns.map(([title]) => title).join(",")}\r\n`;

export function formatCsvRow(row: JournalRow): string {
  return `${csvColumns.map(([, value]) => csvCell(value(row))).join(",")}\r\n`;
}

/**
 * One cell (RFC 4180). Spreadsheets run what begins with `=`, `+`, `-` or `@`, also behind blanks and in full width, as a
 * formula, and agents choose paths: such a text gets an apostrophe, which marks it as text. Control characters, which end
 * a cell here and a row there, are shown as escapes.
 */
export function csvCell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const shown = value.replace(/\p{Cc}/gu, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const harmless = /^[\s\u200b\ufeff]*[=+\-@＝＋－＠]/u.test(shown) ? `'${shown}` : shown;
  return /[",;\s']/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
