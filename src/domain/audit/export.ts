/** The whole audit log as lines of JSON that can be checked without the server: entries, checkpoints, keys. */
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Actor } from "../actors/principal.ts";
import type { Audit } from "./audit.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { AuditRow } from "./entry.ts";

export const exportFormat = "agent-vault-audit/1";

/** One line of an export. Keys come first, a checkpoint right after its entry, `end` last. */
export type ExportLine =
  | {
      readonly type: "header";
      readonly format: typeof exportFormat;
      readonly instance_id: string;
    }
  | { readonly type: "key"; readonly id: string; readonly public_key_pem: string }
  | ({ readonly type: "entry" } & AuditRow)
  | ({ readonly type: "checkpoint" } & Checkpoint)
  | { readonly type: "end"; readonly last_id: number; readonly last_hash: string };

const rowsPerRead = 500;

export interface AuditExportOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly audit: Audit;
  readonly checkpoints: Checkpoints;
}

export class AuditExport {
  readonly #options: AuditExportOptions;

  constructor(options: AuditExportOptions) {
    this.#options = options;
  }

  /** Everything up to the entry that says who exported it. That entry is signed, if the chain is whole. */
  async *lines(by: Actor): AsyncGenerator<ExportLine> {
    const { changes, audit, checkpoints, database } = this.#options;
    await changes.transaction(async (tx) => {
      audit.record(tx, by, { action: "audit.export", target: { type: "audit", id: "" } });
    });
    await checkpoints.sign();
    yield* exportLines(database);
  }
}

/** The lines for what the database holds. */
export async function* exportLines({ db }: Database): AsyncGenerator<ExportLine> {
  const { instance_id } = await db.selectFrom("instance").select("instance_id").executeTakeFirstOrThrow();
  // Read before the head, which a checkpoint is never ahead of unless the chain was cut: then it belongs into the export.
  const newest = await db
    .selectFrom("audit_checkpoints")
    .select((row) => row.fn.max("audit_id").as("id"))
    .executeTakeFirst();
  const head = await db.selectFrom("audit_head").selectAll().executeTakeFirstOrThrow();
  const lastSignedId = Math.max(head.last_id, Number(newest?.id ?? 0));
  yield { type: "header", format: exportFormat, instance_id };
  const keys = await db.selectFrom("audit_keys").select(["id", "public_key_pem"]).orderBy("created_at").execute();
  for (const key of keys) yield { type: "key", ...key };
  for (let lastId = 0; ; ) {
    const rows = await db
      .selectFrom("audit_log")
      .selectAll()
      .where("id", ">", lastId)
      .where("id", "<=", head.last_id)
      .orderBy("id")
      .limit(rowsPerRead)
      .execute();
    const upTo = rows.length < rowsPerRead ? lastSignedId : (rows.at(-1)?.id ?? lastSignedId);
    const checkpoints = await db
      .selectFrom("audit_checkpoints")
      .selectAll()
      .where("audit_id", ">", lastId)
      .where("audit_id", "<=", upTo)
      .orderBy("audit_id")
      .execute();
    yield* merge(rows, checkpoints);
    if (rows.length < rowsPerRead) break;
    lastId = upTo;
  }
  yield { type: "end", last_id: head.last_id, last_hash: head.last_hash };
}

/** A checkpoint comes right after its entry, or where that would be. */
function* merge(rows: readonly AuditRow[], checkpoints: readonly Checkpoint[]): Generator<ExportLine> {
  let next = 0;
  for (const row of rows) {
    for (; (checkpoints[next]?.audit_id ?? Number.POSITIVE_INFINITY) < row.id; next++) {
      yield { type: "checkpoint", ...(checkpoints[next] as Checkpoint) };
    }
    yield { type: "entry", ...row };
  }
  for (const checkpoint of checkpoints.slice(next)) yield { type: "checkpoint", ...checkpoint };
}
