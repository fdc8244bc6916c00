/** What accepting an invitation does to the database: all of it in one transaction, and once. */
import type { Transaction } from "kysely";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import type { By } from "../audit/author.ts";
import { type GrantTrail, recordNewGrant } from "./grant-trail.ts";
import type { NewInvite } from "./invite-rows.ts";
import type { PasswordColumns } from "./password.ts";
import { type AssignedVault, describeAssigned } from "./preassignment.ts";
import { hasVaultRole, type VaultRole } from "./principal.ts";

/** An invitation that was found open; whether it still is decides `acceptInvite`. */
export interface OpenInvite extends NewInvite {
  readonly id: string;
}

interface Acceptance {
  /** Of the account to be made; undefined when there is one already. */
  readonly password: PasswordColumns | undefined;
  readonly nowMs: number;
  readonly audit: Audit;
  readonly by: By;
}

/**
 * Claims the invitation, makes or takes over the account, and gives the vaults.
 * @returns the id of the person; undefined when the invitation was not open any more.
 * @throws {Conflict} `account_changed` when the account went away meanwhile.
 */
export async function acceptInvite(
  tx: Transaction<Schema>,
  invite: OpenInvite,
  { password, nowMs, audit, by }: Acceptance,
): Promise<string | undefined> {
  if (!(await claim(tx, invite.id, nowMs))) return undefined;
  const userId = await ensureUser(tx, invite, { password, nowMs });
  const vaults = invite.vaults.map(describeAssigned);
  audit.record(tx, by, {
    action: "invite.accept",
    target: { type: "invite", id: invite.id, name: invite.email },
    after: { user_id: userId, is_new_account: password !== undefined, role: invite.role, vaults },
  });
  const trail: GrantTrail = { audit, tx, by, grantee: { type: "user", id: userId, name: invite.email } };
  for (const vault of invite.vaults) await raiseGrant(trail, { vault, nowMs });
  return userId;
}

async function claim(tx: Transaction<Schema>, inviteId: string, nowMs: number): Promise<boolean> {
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

/** An account that was never verified belongs to nobody: whoever has the invitation takes it over. */
async function ensureUser(
  tx: Transaction<Schema>,
  invite: OpenInvite,
  { password, nowMs }: Pick<Acceptance, "password" | "nowMs">,
): Promise<string> {
  const now = new Date(nowMs).toISOString();
  const user = await tx
    .selectFrom("users")
    .select(["id", "is_active"])
    .where("email", "=", invite.email)
    .executeTakeFirst();
  if (user?.is_active === 1) return user.id;
  if (password === undefined) throw new Conflict("account_changed", "The account was removed meanwhile; try again");
  const account = { ...password, role: invite.role, is_active: 1 as const, updated_at: now };
  if (user !== undefined) {
    await tx.updateTable("users").set(account).where("id", "=", user.id).execute();
    return user.id;
  }
  const id = uuidv7(nowMs);
  await tx
    .insertInto("users")
    .values({ id, email: invite.email, created_at: now, ...account })
    .execute();
  return id;
}

/** A grant that is there already is raised, never lowered. */
async function raiseGrant(
  trail: GrantTrail,
  { vault, nowMs }: { readonly vault: AssignedVault; readonly nowMs: number },
): Promise<void> {
  const { audit, tx, by, grantee } = trail;
  const grant = await tx
    .selectFrom("vault_grants")
    .select(["id", "role"])
    .where("vault_id", "=", vault.vaultId)
    .where("user_id", "=", grantee.id)
    .executeTakeFirst();
  if (grant === undefined) {
    await tx
      .insertInto("vault_grants")
      .values({
        id: uuidv7(nowMs),
        vault_id: vault.vaultId,
        user_id: grantee.id,
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
