/** Reading the audit log back, page by page, newest first. */
import type { Database } from "../../storage/database.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { AuditRow } from "./entry.ts";

export interface AuditFilter {
  readonly limit: number;
  /** Only entries with a smaller id: the cursor of the page before. */
  readonly before?: number | undefined;
  readonly vaultId?: string | undefined;
  /** An action, or a noun with all its actions: `vault.rename`, `vault`. */
  readonly action?: string | undefined;
  /** Id or name of whoever did it. */
  readonly actor?: string | undefined;
  /** Id or name of what it was done to. */
  readonly target?: string | undefined;
  /** RFC 3339. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

/** An entry, and the name that its vault has now. */
export type ListedEntry = AuditRow & { readonly vault_name: string | null };

export interface AuditPage {
  readonly entries: readonly ListedEntry[];
  /** Undefined on the last page. */
  readonly nextCursor: number | undefined;
}

export class AuditLog {
  readonly #database: Database;

  constructor(options: { readonly database: Database }) {
    this.#database = options.database;
  }

  async list(filter: AuditFilter): Promise<AuditPage> {
    const { limit, before, vaultId, action, actor, target, since, until } = filter;
    let query = this.#database.db
      .selectFrom("audit_log")
      .leftJoin("vaults", "vaults.id", "audit_log.vault_id")
      .selectAll("audit_log")
      .select("vaults.name as vault_name")
      .orderBy("audit_log.id", "desc")
      .limit(limit + 1);
    if (before !== undefined) query = query.where("audit_log.id", "<", before);
    if (vaultId !== undefined) query = query.where("audit_log.vault_id", "=", vaultId);
    if (since !== undefined) query = query.where("audit_log.created_at", ">=", since);
    if (until !== undefined) query = query.where("audit_log.created_at", "<", until);
    if (action !== undefined) {
      // From `vault.` to before `vault/`: all actions of a noun, by the order of bytes, without a pattern.
      query = action.includes(".")
        ? query.where("action", "=", action)
        : query.where("action", ">", `${action}.`).where("action", "<", `${action}/`);
    }
    if (actor !== undefined) {
      query = query.where((on) => on.or([on("actor_id", "=", actor), on("actor_name", "=", actor)]));
    }
    if (target !== undefined) {
      query = query.where((on) => on.or([on("target_id", "=", target), on("target_name", "=", target)]));
    }
    const rows = await query.execute();
    const entries = rows.slice(0, limit);
    return { entries, nextCursor: rows.length > limit ? entries.at(-1)?.id : undefined };
  }

  /** Newest first. */
  async listCheckpoints(filter: {
    readonly limit: number;
    readonly before?: number | undefined;
  }): Promise<{ readonly checkpoints: readonly Checkpoint[]; readonly nextCursor: number | undefined }> {
    const query = this.#database.db
      .selectFrom("audit_checkpoints")
      .selectAll()
      .orderBy("audit_id", "desc")
      .limit(filter.limit + 1);
    const rows = await (filter.before === undefined ? query : query.where("audit_id", "<", filter.before)).execute();
    const checkpoints = rows.slice(0, filter.limit);
    return { checkpoints, nextCursor: rows.length > filter.limit ? checkpoints.at(-1)?.audit_id : undefined };
  }
}
