/** The rows of invitations of agents: counted, claimed and read here; what they mean is in agent-invite.ts. */
import type { Kysely, Selectable, Transaction } from "kysely";
import { RateLimited } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import { cutPage, isBehind, keyAfter, type Page, type PageRequest, rowsToRead } from "../page.ts";
import { type AssignedVault, instanceRoleOf } from "./preassignment.ts";

export type AgentInviteRow = Selectable<Schema["agent_invites"]>;

const maxPending = 100;

/** @throws {RateLimited} beyond 100 open ones. */
export async function requireRoom(tx: Transaction<Schema>, now: string): Promise<void> {
  const pending = await tx
    .selectFrom("agent_invites")
    .select((on) => on.fn.countAll<number>().as("count"))
    .where("status", "=", "pending")
    .where("expires_at", ">", now)
    .executeTakeFirstOrThrow();
  if (Number(pending.count) < maxPending) return;
  throw new RateLimited("too_many_invites", `There are ${maxPending} pending invitations already; revoke some first`);
}

/** @returns false when it was not open any more. */
export async function claimAgentInvite(tx: Transaction<Schema>, id: string, now: string): Promise<boolean> {
  const claimed = await tx
    .updateTable("agent_invites")
    .set({ status: "redeemed", redeemed_at: now })
    .where("id", "=", id)
    .where("status", "=", "pending")
    .where("expires_at", ">", now)
    .executeTakeFirst();
  return claimed.numUpdatedRows > 0n;
}

/** The agent, if whoever made the invitation could still rotate its token: an owner, or a member that created it. */
export async function managedStill(tx: Transaction<Schema>, agentId: string, giverId: string | null) {
  if (giverId === null) return undefined;
  const giverRole = await instanceRoleOf(tx, giverId);
  const agent = await tx
    .selectFrom("agents")
    .select(["name", "role", "status", "created_by_id"])
    .where("id", "=", agentId)
    .executeTakeFirst();
  if (giverRole === "owner") return agent;
  return giverRole === "member" && agent?.role !== "owner" && agent?.created_by_id === giverId ? agent : undefined;
}

/**
 * Newest first. One that is overdue counts as `expired`, whatever is stored.
 * @param createdById of those alone; undefined for all.
 */
export async function readAgentInvites(
  db: Kysely<Schema>,
  { createdById, status, now }: { createdById: string | undefined; status: string | undefined; now: string },
  request: PageRequest | undefined,
): Promise<Page<AgentInviteRow>> {
  const key = keyAfter(request, "time", "text");
  let query = db.selectFrom("agent_invites").selectAll().orderBy("created_at", "desc").orderBy("id", "desc");
  if (createdById !== undefined) query = query.where("created_by_id", "=", createdById);
  if (status === "pending") query = query.where("status", "=", "pending").where("expires_at", ">", now);
  else if (status === "expired") query = query.where("status", "=", "pending").where("expires_at", "<=", now);
  else if (status !== undefined) query = query.where("status", "=", status);
  if (key !== undefined) query = query.where(isBehind(["created_at", "id"], key, "desc"));
  if (request !== undefined) query = query.limit(rowsToRead(request));
  return cutPage(await query.execute(), request, (row) => [row.created_at, row.id]);
}

/** A vault may have been deleted or renamed since. */
export async function existingVaults(
  tx: Transaction<Schema>,
  vaults: readonly AssignedVault[],
): Promise<readonly AssignedVault[]> {
  if (vaults.length === 0) return [];
  const ids = vaults.map(({ vaultId }) => vaultId);
  const rows = await tx.selectFrom("vaults").select(["id", "name"]).where("id", "in", ids).execute();
  const names = new Map(rows.map((row) => [row.id, row.name]));
  return vaults.flatMap((vault) => {
    const vaultName = names.get(vault.vaultId);
    return vaultName === undefined ? [] : [{ ...vault, vaultName }];
  });
}

/** Only `create` writes that column, as AssignedVault[]. */
export function vaultsOf(row: AgentInviteRow): readonly AssignedVault[] {
  return JSON.parse(row.vaults) as AssignedVault[];
}
