/** The rows of invitations: written, found and ended here; what they mean is in invite.ts. */
import type { Transaction } from "kysely";
import { mintToken, tokenDigest, uuidv7 } from "../../crypto/token.ts";
import type { Schema } from "../../storage/schema.ts";
import type { AssignedVault } from "./preassignment.ts";
import type { Actor, InstanceRole, VaultRole } from "./principal.ts";

const lifetimeMs = 48 * 3_600_000;

export type InviteStatus = "pending" | "accepted" | "revoked" | "expired";

/** What an invitation gives. */
export interface NewInvite {
  readonly email: string;
  readonly role: InstanceRole;
  readonly vaults: readonly AssignedVault[];
}

type Reader = Pick<Transaction<Schema>, "selectFrom">;
type Writer = Pick<Transaction<Schema>, "updateTable">;

/** @returns the id, the token, shown once, and when it expires. */
export async function insertInvite(
  tx: Transaction<Schema>,
  invite: NewInvite & { readonly actor: Actor; readonly nowMs: number },
): Promise<{ readonly id: string; readonly token: string; readonly expiresAt: string }> {
  const { actor, nowMs } = invite;
  const token = mintToken("av_uinv_");
  const id = uuidv7(nowMs);
  const expiresAt = new Date(nowMs + lifetimeMs).toISOString();
  await tx
    .insertInto("user_invites")
    .values({
      id,
      token_digest: tokenDigest(token),
      token_suffix: token.slice(-8),
      email: invite.email,
      role: invite.role,
      status: "pending",
      created_by_type: actor.kind,
      created_by_id: actor.id,
      created_at: new Date(nowMs).toISOString(),
      expires_at: expiresAt,
      accepted_at: null,
    })
    .execute();
  for (const { vaultId, vaultRole } of invite.vaults) {
    await tx
      .insertInto("user_invite_vaults")
      .values({ invite_id: id, vault_id: vaultId, vault_role: vaultRole })
      .execute();
  }
  return { id, token, expiresAt };
}

/** By the raw token, or by the handle of lists where that is allowed. */
export async function findInvite(db: Reader, reference: string, options: { readonly byHandle: boolean }) {
  const invite = await db
    .selectFrom("user_invites")
    .selectAll()
    .where((on) => {
      const byToken = on("token_digest", "=", tokenDigest(reference));
      return options.byHandle && isHandle(reference) ? on.or([byToken, on("id", "=", reference)]) : byToken;
    })
    .executeTakeFirst();
  if (invite === undefined) return undefined;
  const vaults = (await vaultsOfInvites(db, [invite.id])).get(invite.id) ?? [];
  return { ...invite, vaults };
}

/** The vaults of each invitation, by name. */
export async function vaultsOfInvites(
  db: Reader,
  inviteIds: readonly string[],
): Promise<ReadonlyMap<string, readonly AssignedVault[]>> {
  if (inviteIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("user_invite_vaults")
    .innerJoin("vaults", "vaults.id", "user_invite_vaults.vault_id")
    .select(["user_invite_vaults.invite_id", "vaults.id", "vaults.name", "user_invite_vaults.vault_role"])
    .where("user_invite_vaults.invite_id", "in", inviteIds)
    .orderBy("vaults.name")
    .execute();
  return new Map(
    [...Map.groupBy(rows, (row) => row.invite_id)].map(([inviteId, vaults]) => [
      inviteId,
      vaults.map((row) => ({ vaultId: row.id, vaultName: row.name, vaultRole: row.vault_role as VaultRole })),
    ]),
  );
}

/** Ends an open invitation. @returns false when it was not open any more. */
export async function setInviteStatus(db: Writer, id: string, status: InviteStatus): Promise<boolean> {
  const updated = await db
    .updateTable("user_invites")
    .set({ status })
    .where("id", "=", id)
    .where("status", "=", "pending")
    .executeTakeFirst();
  return updated.numUpdatedRows > 0n;
}

/** @param now RFC 3339. */
export async function expireOverdue(db: Writer, now: string): Promise<void> {
  await db
    .updateTable("user_invites")
    .set({ status: "expired" })
    .where("status", "=", "pending")
    .where("expires_at", "<=", now)
    .execute();
}

function isHandle(reference: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(reference);
}
