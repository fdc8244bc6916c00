/**
 * One entry of the audit log, and the bytes that are hashed for it. docs/audit.md has the layout for those who check
 * the chain with a program of their own.
 */
import { hash } from "node:crypto";
import type { Schema } from "../../storage/schema.ts";

/** An entry as it is stored and exported. Timestamps are RFC 3339 in UTC with milliseconds; `before` and `after` JSON. */
export type AuditRow = Schema["audit_log"];

/** What the first entry of a chain has in place of the hash of the one before it. */
export const genesisHash = "0".repeat(64);

/** In the order in which they are hashed, after the hash of the entry before. */
export const hashedColumns = [
  "id",
  "created_at",
  "actor_type",
  "actor_id",
  "actor_name",
  "session_id",
  "client_ip",
  "action",
  "target_type",
  "target_id",
  "target_name",
  "vault_id",
  "before",
  "after",
] as const satisfies readonly (keyof AuditRow)[];

/** SHA-256 of an entry with the hash of the one before it, as lowercase hex. */
export function hashOf(row: Omit<AuditRow, "hash">): string {
  const fields = hashedColumns.map((column) => row[column]);
  return hash("sha256", encodeFields(["agent-vault audit entry 1", row.previous_hash, ...fields]), "hex");
}

/**
 * Each field is its length in bytes (4 bytes, big-endian) and its UTF-8; numbers are decimal text. Null is the length
 * FF FF FF FF and nothing after it, so that it differs from the empty text.
 */
export function encodeFields(fields: readonly (string | number | null)[]): Buffer {
  const parts: Buffer[] = [];
  for (const field of fields) {
    const length = Buffer.alloc(4, 0xff);
    parts.push(length);
    if (field === null) continue;
    const bytes = Buffer.from(String(field), "utf8");
    length.writeUInt32BE(bytes.length);
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}
