/** Shortens the audit log at its beginning, up to a checkpoint, so that what stays can still be verified. */
import { Conflict } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import { appendEntries, signed } from "./append.ts";
import { operator } from "./author.ts";
import { verifyDatabase } from "./verify.ts";

export interface Pruned {
  /** The last entry that went; its checkpoint is where the chain begins now. */
  readonly through: number;
  readonly entries: number;
}

/**
 * Deletes what is older than `before` (RFC 3339) and covered by a checkpoint, and says so in the log.
 * @returns undefined when there is no such thing. @throws {Conflict} `audit_broken`: a broken log is evidence.
 */
export async function pruneAudit(database: Database, before: string): Promise<Pruned | undefined> {
  const { problem } = await verifyDatabase(database);
  if (problem !== undefined) {
    throw new Conflict("audit_broken", `The audit log is not whole and is left as it is: ${problem.message}`, {
      hint: "agent-vault audit verify",
    });
  }
  return database.transaction(async (tx) => {
    // By id, not by time: several servers may have written, each with a clock of its own.
    const kept = await tx
      .selectFrom("audit_log")
      .select((row) => row.fn.min("id").as("id"))
      .where("created_at", ">=", before)
      .executeTakeFirst();
    const checkpoint = await tx
      .selectFrom("audit_checkpoints")
      .select(["audit_id", "hash"])
      .where("audit_id", "<", Number(kept?.id ?? Number.MAX_SAFE_INTEGER))
      .orderBy("audit_id", "desc")
      .limit(1)
      .executeTakeFirst();
    if (checkpoint === undefined) return undefined;
    const { audit_id: through, hash } = checkpoint;
    const deleted = await tx.deleteFrom("audit_log").where("id", "<=", through).executeTakeFirst();
    const entries = Number(deleted.numDeletedRows);
    if (entries === 0) return undefined;
    await tx.deleteFrom("audit_checkpoints").where("audit_id", "<", through).execute();
    const entry = {
      action: "audit.prune",
      target: { type: "audit", id: "" },
      after: { through, hash, entries },
    } as const;
    await appendEntries(tx, Date.now(), [signed(operator, entry)]);
    return { through, entries };
  });
}
