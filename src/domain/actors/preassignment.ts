/** Vaults that come with a new agent or an invitation: which roles, and whether the caller may give them. */
import type { Transaction } from "kysely";
import { Forbidden, InvalidInput } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import { vaultNotFound } from "./access.ts";
import type { Actor, InstanceRole, VaultRole } from "./principal.ts";

/** As it arrives: the role not yet looked at. */
export interface RequestedVault {
  readonly vaultName: string;
  readonly vaultRole: string | undefined;
}

export interface AssignedVault {
  readonly vaultId: string;
  readonly vaultName: string;
  readonly vaultRole: VaultRole;
}

/** What one statement takes on both engines. */
const maxAssigned = 1_000;

/** As the audit log has it. */
export function describeAssigned({ vaultId, vaultName, vaultRole }: AssignedVault): object {
  return { id: vaultId, name: vaultName, role: vaultRole };
}

/**
 * Checks one vault after the other: the role, that the vault exists, that the caller is its admin or an owner.
 * @throws {InvalidInput} for a bad role, a vault named twice, or more than 1,000 of them. @throws {NotFound} @throws {Forbidden}
 */
export async function parseAssignments(
  database: Database,
  actor: Actor,
  requested: readonly RequestedVault[],
  rules: { readonly defaultRole: VaultRole; readonly parseRole: (text: string) => VaultRole },
): Promise<readonly AssignedVault[]> {
  if (requested.length > maxAssigned) {
    throw new InvalidInput("too_many_vaults", `At most ${maxAssigned} vaults can be given at once`);
  }
  const assigned: AssignedVault[] = [];
  const known = await findVaults(database, actor, requested);
  for (const { vaultName, vaultRole } of requested) {
    const role = rules.parseRole(vaultRole || rules.defaultRole);
    const vault = known.get(vaultName);
    // Without any grant the vault is not there, as everywhere: names must not be tried out here.
    if (vault === undefined || (actor.role !== "owner" && vault.role === null)) throw vaultNotFound(vaultName);
    if (actor.role !== "owner" && vault.role !== "admin") {
      throw new Forbidden("vault_admin_required", `Only admins of vault "${vaultName}" may give access to it`);
    }
    if (assigned.some(({ vaultId }) => vaultId === vault.id)) {
      throw new InvalidInput("duplicate_vault", `Vault "${vaultName}" is listed twice`);
    }
    assigned.push({ vaultId: vault.id, vaultName, vaultRole: role });
  }
  return assigned;
}

async function findVaults({ db }: Database, actor: Actor, requested: readonly RequestedVault[]) {
  if (requested.length === 0) return new Map<string, never>();
  const rows = await db
    .selectFrom("vaults")
    .leftJoin("vault_grants", (join) =>
      join
        .onRef("vault_grants.vault_id", "=", "vaults.id")
        .on(actor.kind === "user" ? "vault_grants.user_id" : "vault_grants.agent_id", "=", actor.id),
    )
    .select(["vaults.id", "vaults.name", "vault_grants.role"])
    .where(
      "vaults.name",
      "in",
      requested.map(({ vaultName }) => vaultName),
    )
    .execute();
  return new Map(rows.map((row) => [row.name, row]));
}

/** Of the vaults that somebody gave in advance, those they could still give: an owner any, others where they are admin. */
export async function stillAssignable(
  tx: Transaction<Schema>,
  giverId: string | null,
  vaults: readonly AssignedVault[],
): Promise<readonly AssignedVault[]> {
  if (giverId === null || vaults.length === 0) return [];
  if ((await instanceRoleOf(tx, giverId)) === "owner") return vaults;
  const grants = await tx
    .selectFrom("vault_grants")
    .select("vault_id")
    .where((on) => on.or([on("user_id", "=", giverId), on("agent_id", "=", giverId)]))
    .where("role", "=", "admin")
    .execute();
  return vaults.filter(({ vaultId }) => grants.some((grant) => grant.vault_id === vaultId));
}

/** The role that an actor has now; undefined when the account is gone or not active. */
export async function instanceRoleOf(tx: Transaction<Schema>, actorId: string): Promise<InstanceRole | undefined> {
  const user = await tx
    .selectFrom("users")
    .select("role")
    .where("id", "=", actorId)
    .where("is_active", "=", 1)
    .executeTakeFirst();
  const agent = await tx
    .selectFrom("agents")
    .select("role")
    .where("id", "=", actorId)
    .where("status", "=", "active")
    .executeTakeFirst();
  return (user ?? agent)?.role as InstanceRole | undefined;
}
