/** The rows of invitations: written, found and ended here; what they mean is in invite.ts. */
import type { Transaction } from "kysely";
import { mintToken, tokenDigest, uuidv7 } from "../../crypto/token.ts";
import { Conflict } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import type { AssignedVault } from "./preassignment.ts";
import type { Actor, InstanceRole, VaultRole } from "./principal.ts";

const lifetimeMs = 48 * 3_600_000;
const suffixLength = 8;
/** A whole token has a prefix, a handle has hyphens. */
const suffix = /^[0-9a-f]{8,64}$/;

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
      token_suffix: token.slice(-suffixLength),
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
  if (invite.vaults.length > 0) {
    const vaults = invite.vaults.map(({ vaultId, vaultRole }) => ({
      invite_id: id,
      vault_id: vaultId,
      vault_role: vaultRole,
    }));
    await tx.insertInto("user_invite_vaults").values(vaults).execute();
  }
  return { id, token, expiresAt };
}

/**
 * By the raw token; for those who manage invitations also by the handle of lists, or by the last eight or more
 * characters of a token that is still open. Only eight are kept, so what stands before them is not looked at.
 * @throws {Conflict} `ambiguous_invite` when two end alike.
 */
export async function findInvite(db: Reader, reference: string, options: { readonly byHandle: boolean }) {
  const query = db.selectFrom("user_invites").selectAll();
  const isBySuffix = options.byHandle && suffix.test(reference);
  const found = await (isBySuffix
    ? query.where("token_suffix", "=", reference.slice(-suffixLength)).where("status", "=", "pending")
    : options.byHandle && isHandle(reference)
      ? query.where("id", "=", reference)
      : query.where("token_digest", "=", tokenDigest(reference))
  )
    .limit(2)
    .execute();
  if (found.length > 1) {
    throw new Conflict("ambiguous_invite", "Two open invitations end like that; name one by its id");
  }
  const [invite] = found;
  if (invite === undefined) return undefined;
  const vaults = (await vaultsOfInvites(db, [invite.id])).get(invite.id) ?? [];
  return { ...invite, vaults };
}

/** All for owners; else those one created and those into vaults that one administers. */
export function visibleInvites(db: Reader, actor: Actor) {
  const all = db.selectFrom("user_invites").selectAll("user_invites");
  if (actor.role === "owner") return all;
  const mine = actor.kind === "user" ? "mine.user_id" : "mine.agent_id";
  return all.where((on) =>
    on.or([
      on("user_invites.created_by_id", "=", actor.id),
      on.exists(
        on
          .selectFrom("user_invite_vaults as into_vault")
          .innerJoin("vault_grants as mine", "mine.vault_id", "into_vault.vault_id")
          .select("into_vault.vault_id")
          .whereRef("into_vault.invite_id", "=", "user_invites.id")
          .where("mine.role", "=", "admin")
          .where(mine, "=", actor.id),
      ),
    ]),
  );
}

/** Beyond this, naming each one costs more than reading all; SQLite takes at most 32,766 parameters. */
const maxNamed = 1_000;

/** The vaults of each invitation, by name. */
export async function vaultsOfInvites(
  db: Reader,
  inviteIds: readonly string[],
): Promise<ReadonlyMap<string, readonly AssignedVault[]>> {
  if (inviteIds.length === 0) return new Map();
  const all = db
    .selectFrom("user_invite_vaults")
    .innerJoin("vaults", "vaults.id", "user_invite_vaults.vault_id")
    .select(["user_invite_vaults.invite_id", "vaults.id", "vaults.name", "user_invite_vaults.vault_role"])
    .orderBy("vaults.name");
  const named = inviteIds.length > maxNamed ? all : all.where("user_invite_vaults.invite_id", "in", inviteIds);
  const rows = await named.execute();
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

/**
 * An end to what an actor has open: whoever lost the right to give something gives it by no invitation either.
 * @returns how many invitations that were.
 */
export async function revokeInvitesOf(
  db: Writer,
  actorId: string,
  options: { readonly onlyOwnerRole?: boolean } = {},
): Promise<number> {
  let revoked = 0;
  for (const table of ["user_invites", "agent_invites"] as const) {
    let query = db
      .updateTable(table)
      .set({ status: "revoked" })
      .where("created_by_id", "=", actorId)
      .where("status", "=", "pending");
    if (options.onlyOwnerRole) query = query.where("role", "=", "owner");
    revoked += Number((await query.executeTakeFirst()).numUpdatedRows);
  }
  return revoked;
}
