/** The end of the chain: the only place that writes entries of the audit log. */
import type { Transaction } from "kysely";
import type { Schema } from "../../storage/schema.ts";
import { type Author, authorOf, type By } from "./author.ts";
import { type AuditRow, hashOf } from "./entry.ts";

/** What was done to what. `before` and `after` hold no secret: no value of a credential, no token, code or password. */
export interface AuditEntry {
  /** `noun.verb`, such as `vault.rename`; docs/audit.md lists them. */
  readonly action: `${string}.${string}`;
  readonly target: { readonly type: string; readonly id: string; readonly name?: string };
  readonly vaultId?: string | undefined;
  readonly before?: object | undefined;
  readonly after?: object | undefined;
}

export interface SignedEntry extends AuditEntry {
  readonly author: Author;
}

export function signed(by: By, entry: AuditEntry): SignedEntry {
  return { ...entry, author: authorOf(by) };
}

/** Rows per INSERT: within the number of parameters that both engines allow. */
const rowsPerInsert = 500;

/**
 * Appends to the chain. The row of the head stays locked until `tx` ends, which is what keeps the numbers of several
 * processes without gaps; so this comes last in a transaction, when no other lock is waited for.
 */
export async function appendEntries(
  tx: Transaction<Schema>,
  nowMs: number,
  entries: readonly SignedEntry[],
): Promise<void> {
  if (entries.length === 0) return;
  const head = await tx
    .updateTable("audit_head")
    .set((row) => ({ last_id: row("last_id", "+", entries.length) }))
    .where("id", "=", 1)
    .returning(["last_id", "last_hash"])
    .executeTakeFirstOrThrow();
  const createdAt = new Date(nowMs).toISOString();
  const rows: AuditRow[] = [];
  let previous = head.last_hash;
  for (const [index, entry] of entries.entries()) {
    const id = head.last_id - entries.length + 1 + index;
    const unhashed = { id, created_at: createdAt, ...columnsOf(entry), previous_hash: previous };
    previous = hashOf(unhashed);
    rows.push({ ...unhashed, hash: previous });
  }
  const statements: Promise<unknown>[] = [];
  for (let at = 0; at < rows.length; at += rowsPerInsert) {
    statements.push(
      tx
        .insertInto("audit_log")
        .values(rows.slice(at, at + rowsPerInsert))
        .execute(),
    );
  }
  statements.push(tx.updateTable("audit_head").set({ last_hash: previous }).where("id", "=", 1).execute());
  // Sent together, carried out one after the other: PostgreSQL is a way to and fro for each that is waited for.
  await Promise.all(statements);
}

function columnsOf({ author, action, target, vaultId, before, after }: SignedEntry) {
  return {
    actor_type: author.type,
    actor_id: author.id,
    actor_name: author.name,
    session_id: author.sessionId,
    client_ip: author.clientIp,
    action,
    target_type: target.type,
    target_id: target.id,
    target_name: target.name ?? "",
    vault_id: vaultId ?? null,
    before: before === undefined ? null : JSON.stringify(before),
    after: after === undefined ? null : JSON.stringify(after),
  };
}
