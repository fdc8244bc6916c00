/** The rows of the root certificates: made, read, unsealed. */
import type { Transaction } from "kysely";
import { createRoot, exportPrivateKey, loadRoot, type Root } from "../crypto/certificate.ts";
import type { Keyring, RecordKey } from "../crypto/keyring.ts";
import { uuidv7 } from "../crypto/token.ts";
import { Corrupt } from "../errors.ts";
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import { appendEntries, signed } from "./audit/append.ts";
import { server } from "./audit/author.ts";
import type { Clock } from "./clock.ts";

/** `next` is trusted before it signs, `active` signs, `retired` is trusted until its last leaf is gone. */
export type RootState = "next" | "active" | "retired";

/** A root without its key. */
export interface RootRow {
  readonly id: string;
  readonly pem: string;
  readonly state: RootState;
  readonly createdAt: string;
  /** When it goes on by itself: a `next` one becomes active, a `retired` one is destroyed. */
  readonly dueAt: string | undefined;
  readonly overlapSeconds: number;
}

/** In the order in which clients are told of them: the one that signs comes first, for those that read only one. */
export async function listRoots(db: Pick<Transaction<Schema>, "selectFrom">): Promise<readonly RootRow[]> {
  const rows = await db
    .selectFrom("authorities")
    .select(["id", "certificate_pem", "state", "created_at", "due_at", "overlap_seconds"])
    .orderBy("state") // active, next, retired
    .execute();
  return rows.map((row) => ({
    id: row.id,
    pem: row.certificate_pem,
    state: row.state as RootState,
    createdAt: row.created_at,
    dueAt: row.due_at ?? undefined,
    overlapSeconds: row.overlap_seconds ?? 0,
  }));
}

/** The root of a row, with its key. @throws {Corrupt} when the key does not open. */
export async function unsealRoot(database: Database, keyring: Keyring, id: string): Promise<Root | undefined> {
  const row = await database.db.selectFrom("authorities").selectAll().where("id", "=", id).executeTakeFirst();
  if (!row) return undefined;
  const pkcs8 = await keyring.unseal(sealOwner(row.id), row.private_key_sealed);
  try {
    return await loadRoot(row.certificate_pem, pkcs8);
  } finally {
    pkcs8.fill(0);
  }
}

export interface FreshRoot {
  readonly id: string;
  readonly fingerprint: string;
  readonly values: {
    readonly id: string;
    readonly certificate_pem: string;
    readonly private_key_sealed: Uint8Array;
    readonly state: RootState;
    readonly created_at: string;
  };
}

/** A new root, ready to be inserted. */
export async function makeRoot(keyring: Keyring, nowMs: number, state: RootState): Promise<FreshRoot> {
  const fresh = await createRoot(nowMs);
  const id = uuidv7(nowMs);
  const pkcs8 = await exportPrivateKey(fresh.privateKey);
  const sealed = await keyring.seal(sealOwner(id), pkcs8);
  pkcs8.fill(0);
  const created_at = new Date(nowMs).toISOString();
  const values = { id, certificate_pem: fresh.pem, private_key_sealed: sealed, state, created_at };
  return { id, fingerprint: fresh.fingerprint, values };
}

/**
 * Sees to it that there is an active root. The unique index decides who was first; the others take what that one stored.
 * @throws {Corrupt} `no_authority`.
 */
export async function establishRoots(database: Database, keyring: Keyring, clock: Clock): Promise<readonly RootRow[]> {
  const known = await listRoots(database.db);
  if (known.some(({ state }) => state === "active")) return known;
  const { id, values, fingerprint } = await makeRoot(keyring, clock.now(), "active");
  try {
    await database.transaction(async (tx) => {
      await tx.insertInto("authorities").values(values).execute();
      const after = { fingerprint_sha256: fingerprint };
      const entry = { action: "authority.create", target: { type: "authority", id }, after } as const;
      await appendEntries(tx, clock.now(), [signed(server, entry)]);
    });
  } catch (error) {
    if (!database.isUniqueViolation(error)) throw error;
  }
  const roots = await listRoots(database.db);
  if (roots.some(({ state }) => state === "active")) return roots;
  throw new Corrupt("no_authority", "The certificate authority was stored and is not there");
}

function sealOwner(id: string): RecordKey {
  return ["authorities", id, "private_key_sealed"];
}
