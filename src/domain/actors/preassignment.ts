/** Vaults that come with a new agent or an invitation: which roles, and whether the caller may give them. */
import { Forbidden, InvalidInput } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import { vaultNotFound } from "./access.ts";
import type { Actor, VaultRole } from "./principal.ts";

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
    if (vault === undefined) throw vaultNotFound(vaultName);
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
