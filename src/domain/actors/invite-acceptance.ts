/** What accepting an invitation writes: the invitation is used up, the account made or taken over, grants raised. */
import type { Transaction } from "kysely";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import { type GrantTrail, recordNewGrant } from "./grant-trail.ts";
import type { NewInvite } from "./invite-rows.ts";
import type { PasswordColumns } from "./password.ts";
import type { AssignedVault } from "./preassignment.ts";
import { hasVaultRole, type VaultRole } from "./principal.ts";

/** Of several who accept at once, one. @returns false when the invitation is not open any more. */
export async function claimInvite(tx: Transaction<Schema>, inviteId: string, nowMs: number): Promise<boolean> {
  const now = new Date(nowMs).toISOString();
  const claimed = await tx
    .updateTable("user_invites")
    .set({ status: "accepted", accepted_at: now })
    .where("id", "=", inviteId)
    .where("status", "=", "pending")
    .where("expires_at", ">", now)
    .executeTakeFirst();
  return claimed.numUpdatedRows > 0n;
}

/**
 * The account of the invited address: as it is when it is in use, else new or taken over, with the invitation's role.
 * @throws {Conflict} when it needs a password and has none: the account was removed meanwhile.
 * @returns its id.
 */
export async function ensureUser(
  tx: Transaction<Schema>,
  account: { readonly invite: NewInvite; readonly password: PasswordColumns | undefined; readonly nowMs: number },
): Promise<string> {
  const { invite, password, nowMs } = account;
  const now = new Date(nowMs).toISOString();
  const user = await tx
    .selectFrom("users")
    .select(["id", "is_active"])
    .where("email", "=", invite.email)
    .executeTakeFirst();
  if (user?.is_active === 1) return user.id;
  if (password === undefined) throw new Conflict("account_changed", "The account was removed meanwhile; try again");
  if (user !== undefined) {
    await tx
      .updateTable("users")
      .set({ ...password, role: invite.role, is_active: 1, updated_at: now })
      .where("id", "=", user.id)
      .execute();
    return user.id;
  }
  const id = uuidv7(nowMs);
  await tx
    .insertInto("users")
    .values({ id, email: invite.email, ...password, role: invite.role, is_active: 1, created_at: now, updated_at: now })
    .execute();
  return id;
}

/** Gives a vault; a grant that allows as much already stays. */
export async function raiseGrant(trail: GrantTrail, vault: AssignedVault, nowMs: number): Promise<void> {
  const { audit, tx, by, grantee } = trail;
  const userId = grantee.id;
  const grant = await tx
    .selectFrom("vault_grants")
    .select(["id", "role"])
    .where("vault_id", "=", vault.vaultId)
    .where("user_id", "=", userId)
    .executeTakeFirst();
  if (grant === undefined) {
    await tx
      .insertInto("vault_grants")
      .values({
        id: uuidv7(nowMs),
        vault_id: vault.vaultId,
        user_id: userId,
        agent_id: null,
        role: vault.vaultRole,
        created_at: new Date(nowMs).toISOString(),
      })
      .execute();
    recordNewGrant(trail, { vaultId: vault.vaultId, role: vault.vaultRole });
  } else if (!hasVaultRole(grant.role as VaultRole, vault.vaultRole)) {
    await tx.updateTable("vault_grants").set({ role: vault.vaultRole }).where("id", "=", grant.id).execute();
    audit.record(tx, by, {
      action: "member.set_role",
      target: grantee,
      vaultId: vault.vaultId,
      before: { role: grant.role },
      after: { role: vault.vaultRole },
    });
  }
}
