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
import { type AssignedVault, describeAssigned, stillAssignable } from "./preassignment.ts";
import { hasVaultRole, type VaultRole } from "./principal.ts";

/** An invitation that was found open; whether it still is decides `acceptInvite`. */
export interface OpenInvite extends NewInvite {
  readonly id: string;
  /** Id of the actor who made it. */
  readonly createdBy: string | null;
}

interface Acceptance {
  /** Of the account to be made; undefined when there is one already. */
  readonly password: PasswordColumns | undefined;
  readonly nowMs: number;
  readonly audit: Audit;
  readonly by: By;
}

/**
 * Claims the invitation, makes or takes over the account, and gives those vaults that the inviter could still give.
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
  const vaults = await stillAssignable(tx, invite.createdBy, invite.vaults);
  audit.record(tx, by, {
    action: "invite.accept",
    target: { type: "invite", id: invite.id, name: invite.email },
    after: {
      user_id: userId,
      is_new_account: password !== undefined,
      role: invite.role,
      vaults: vaults.map(describeAssigned),
    },
  });
  const trail: GrantTrail = { audit, tx, by, grantee: { type: "user", id: userId, name: invite.email } };
  await raiseGrants(trail, { vaults, nowMs });
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

/** Grants that are there already are raised, never lowered. */
async function raiseGrants(
  trail: GrantTrail,
  { vaults, nowMs }: { readonly vaults: readonly AssignedVault[]; readonly nowMs: number },
): Promise<void> {
  const { audit, tx, by, grantee } = trail;
  const grants = await tx
    .selectFrom("vault_grants")
    .select(["id", "vault_id", "role"])
    .where("user_id", "=", grantee.id)
    .execute();
  const held = new Map(grants.map((grant) => [grant.vault_id, grant]));
  const missing = vaults.filter(({ vaultId }) => !held.has(vaultId));
  if (missing.length > 0) {
    const rows = missing.map(({ vaultId, vaultRole }) => ({
      id: uuidv7(nowMs),
      vault_id: vaultId,
      user_id: grantee.id,
      agent_id: null,
      role: vaultRole,
      created_at: new Date(nowMs).toISOString(),
    }));
    await tx.insertInto("vault_grants").values(rows).execute();
    for (const { vaultId, vaultRole } of missing) recordNewGrant(trail, { vaultId, role: vaultRole });
  }
  const raised = vaults.flatMap(({ vaultId, vaultRole }) => {
    const grant = held.get(vaultId);
    return grant === undefined || hasVaultRole(grant.role as VaultRole, vaultRole) ? [] : [{ grant, vaultRole }];
  });
  for (const [role, grantsOfRole] of Map.groupBy(raised, ({ vaultRole }) => vaultRole)) {
    const ids = grantsOfRole.map(({ grant }) => grant.id);
    await tx.updateTable("vault_grants").set({ role }).where("id", "in", ids).execute();
  }
  for (const { grant, vaultRole } of raised) {
    audit.record(tx, by, {
      action: "member.set_role",
      target: grantee,
      vaultId: grant.vault_id,
      before: { role: grant.role },
      after: { role: vaultRole },
    });
  }
}
