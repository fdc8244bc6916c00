/** The audit log: all of it for owners, that of a vault for its admins; docs/audit.md has the fields. */
import type { Access } from "../../domain/actors/access.ts";
import type { Checkpoints } from "../../domain/audit/checkpoints.ts";
import type { AuditExport, ExportLine } from "../../domain/audit/export.ts";
import type { AuditFilter, AuditLog, AuditPage, ListedEntry } from "../../domain/audit/query.ts";
import { InvalidInput } from "../../errors.ts";
import { json } from "../answer.ts";
import {
  type auditFilters,
  exportAudit,
  getAuditKey,
  listAudit,
  listCheckpoints,
  listVaultAudit,
} from "../contracts/instance.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface AuditDependencies {
  readonly access: Access;
  readonly auditLog: AuditLog;
  readonly auditExport: AuditExport;
  readonly checkpoints: Checkpoints;
}

const defaultRows = 50;
const maxRows = 500;

export function registerAuditRoutes(router: ApiRouter, dependencies: AuditDependencies): void {
  const { access, auditLog, auditExport, checkpoints } = dependencies;

  router.on(listAudit, async (request) => {
    access.owner(request.principal);
    const vault = request.query("vault");
    const vaultId = vault ? (await access.vault(request.principal, vault, "admin-or-owner")).vault.id : undefined;
    return answerPage(await auditLog.list({ ...readFilter(request), vaultId }));
  });

  router.on(listVaultAudit, async (request) => {
    const { vault } = await access.vault(request.principal, request.params.name, "admin-or-owner");
    return answerPage(await auditLog.list({ ...readFilter(request), vaultId: vault.id }));
  });

  router.on(exportAudit, (request) => {
    const owner = access.owner(request.principal);
    // A HEAD asks what a GET would answer, and exports nothing.
    const body = request.method === "HEAD" ? null : streamOf(auditExport.lines(owner));
    return new Response(body, {
      headers: {
        "content-type": "application/x-ndjson",
        "content-disposition": 'attachment; filename="agent-vault-audit.ndjson"',
        "cache-control": "no-store",
      },
    });
  });

  router.on(listCheckpoints, async (request) => {
    access.owner(request.principal);
    const { limit, before } = readPage(request);
    const page = await auditLog.listCheckpoints({ limit, before });
    return json({ checkpoints: page.checkpoints, next_cursor: page.nextCursor ?? null });
  });

  router.on(getAuditKey, async (request) => {
    access.owner(request.principal);
    const { id, pem } = await checkpoints.publicKey();
    return json({ id, algorithm: "ECDSA P-256 SHA-256", public_key_pem: pem });
  });
}

function readFilter(request: ApiRequest<unknown, keyof typeof auditFilters>): AuditFilter {
  return {
    ...readPage(request),
    action: request.query("action") || undefined,
    actor: request.query("actor") || undefined,
    target: request.query("target") || undefined,
    since: readTime(request, "since"),
    until: readTime(request, "until"),
  };
}

/** @throws {InvalidInput} for what is no number: a filter that is misread would hide entries. */
function readPage(request: ApiRequest<unknown, "limit" | "before">): {
  readonly limit: number;
  readonly before: number | undefined;
} {
  const limit = readCount(request, "limit") ?? defaultRows;
  return { limit: Math.min(limit, maxRows), before: readCount(request, "before") };
}

function readCount<Name extends string>(request: ApiRequest<unknown, Name>, name: Name): number | undefined {
  const text = request.query(name);
  if (text === undefined || text === "") return undefined;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new InvalidInput("invalid_query", `${name} must be a whole number of at least 1`);
}

function readTime<Name extends string>(request: ApiRequest<unknown, Name>, name: Name): string | undefined {
  const text = request.query(name);
  if (!text) return undefined;
  const isTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const time = isTime ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return new Date(time).toISOString();
  throw new InvalidInput("invalid_query", `${name} must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z`);
}

function answerPage({ entries, nextCursor }: AuditPage): Response {
  return json({ entries: entries.map(formatEntry), next_cursor: nextCursor ?? null });
}

function formatEntry(entry: ListedEntry): object {
  return {
    id: entry.id,
    created_at: entry.created_at,
    actor: { type: entry.actor_type, id: entry.actor_id, name: entry.actor_name },
    session_id: entry.session_id,
    client_ip: entry.client_ip,
    action: entry.action,
    target: { type: entry.target_type, id: entry.target_id, name: entry.target_name },
    vault_id: entry.vault_id,
    vault_name: entry.vault_name,
    before: parse(entry.before),
    after: parse(entry.after),
    hash: entry.hash,
  };
}

/** What somebody altered in the database may be no JSON any more, and is shown as it is. */
function parse(text: string | null): unknown {
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Only as much is read ahead as the client takes. */
function streamOf(lines: AsyncGenerator<ExportLine>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await lines.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
    },
    async cancel() {
      await lines.return(undefined);
    },
  });
}
