/** A checkpoint: the server's signature on how far the chain had come. What it covers cannot be rewritten unnoticed. */
import type { Schema } from "../../storage/schema.ts";
import { encodeFields } from "./entry.ts";

/** As it is stored and exported. `hash` is that of the entry `audit_id`. */
export type Checkpoint = Schema["audit_checkpoints"];

/** The bytes that are signed: fields as in `encodeFields`. */
export function checkpointStatement(instanceId: string, checkpoint: Omit<Checkpoint, "signature">): Uint8Array {
  const { key_id, audit_id, hash, created_at } = checkpoint;
  return encodeFields(["agent-vault audit checkpoint 1", instanceId, key_id, audit_id, hash, created_at]);
}
