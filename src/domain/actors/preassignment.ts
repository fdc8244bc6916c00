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

/** As the audit log has it. */
export function describeAssigned({ vaultId, vaultName, vaultRole }: AssignedVault): object {
  return { id: vaultId, name: vaultName, role: vaultRole };
}

/**
 * Checks one vault after the other: the role, that the vault exists, that the caller is its admin or an owner.
 * @throws {InvalidInput} for a bad role or a vault named twice. @throws {NotFound} @throws {Forbidden}
 */
export async function parseAssignments(
  database: Database,
  actor: Actor,
  requested: readonly RequestedVault[],
  rules: { readonly defaultRole: VaultRole; readonly parseRole: (text: string) => VaultRole },
): Promise<readonly AssignedVault[]> {
  const assigned: AssignedVault[] = [];
  for (const { vaultName, vaultRole } of requested) {
    const role = rules.parseRole(vaultRole || rules.defaultRole);
    const vault = await database.db
      .selectFrom("vaults")
      .leftJoin("vault_grants", (join) =>
        join
          .onRef("vault_grants.vault_id", "=", "vaults.id")
          .on(actor.kind === "user" ? "vault_grants.user_id" : "vault_grants.agent_id", "=", actor.id),
      )
      .select(["vaults.id", "vault_grants.role"])
      .where("vaults.name", "=", vaultName)
      .executeTakeFirst();
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
