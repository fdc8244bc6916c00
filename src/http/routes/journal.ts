/** The request log of a vault (spec of the API, section 10). */
import type { Access } from "../../domain/actors/access.ts";
import type { Journal } from "../../domain/journal.ts";
import { type JournalRow, type StatusBucket, statusBuckets } from "../../domain/journal-query.ts";
import { InvalidInput } from "../../errors.ts";
import { json, wireTime } from "../answer.ts";
import type { ApiRouter } from "../router.ts";

export interface JournalDependencies {
  readonly access: Access;
  readonly journal: Journal;
}

const defaultRows = 50;
const maxRows = 200;

export function registerJournalRoutes(router: ApiRouter, { access, journal }: JournalDependencies): void {
  router.on("GET", "/v1/vaults/{name}/logs", { access: "session", tier: "authed" }, async (request) => {
    const { vault } = await access.vault(request.principal, request.params.name ?? "", "member");
    const before = parseCount(request.query("before"));
    const after = parseCount(request.query("after"));
    if (before !== undefined && after !== undefined) {
      throw new InvalidInput("conflicting_cursors", "before and after are mutually exclusive");
    }
    const page = await journal.list(vault.id, {
      limit: Math.min(parseCount(request.query("limit")) ?? defaultRows, maxRows),
      before,
      after,
      ingress: request.query("ingress") || undefined,
      service: request.query("service") || undefined,
      statusBucket: parseBucket(request.query("status_bucket")),
    });
    return json({ logs: page.rows.map(formatRow), next_cursor: page.nextCursor, latest_id: page.latestId });
  });
}

/** A positive whole number; anything else is as if nothing was said. */
function parseCount(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Number(text) || undefined;
}

function parseBucket(text: string | undefined): StatusBucket | undefined {
  return statusBuckets.find((bucket) => bucket === text);
}

function formatRow(row: JournalRow): object {
  return {
    id: row.id,
    request_id: row.requestId,
    ingress: row.ingress,
    method: row.method,
    scheme: row.scheme,
    host: row.host,
    path: row.path,
    matched_service: row.matchedService,
    credential_keys: row.credentialKeys,
    status: row.status,
    latency_ms: row.latencyMs,
    upstream_ms: row.upstreamMs,
    bytes_in: row.bytesIn,
    bytes_out: row.bytesOut,
    error_code: row.errorCode,
    actor_type: row.actorType,
    actor_id: row.actorId,
    ...(row.actorName !== undefined && { actor_name: row.actorName }),
    session_id: row.sessionId,
    ...(row.count > 1 && { request_count: row.count }),
    created_at: wireTime(row.createdAt),
  };
}
