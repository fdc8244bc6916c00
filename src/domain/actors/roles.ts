/** Roles as they arrive from outside. */
import { InvalidInput } from "../../errors.ts";
import type { InstanceRole, VaultRole } from "./principal.ts";

const instanceRoles: readonly string[] = ["owner", "member", "no-access"] satisfies InstanceRole[];
const vaultRoles: readonly string[] = ["proxy", "member", "admin"] satisfies VaultRole[];
const userVaultRoles: readonly string[] = ["member", "admin"] satisfies VaultRole[];

/** @throws {InvalidInput} `invalid_role`. */
export function parseInstanceRole(text: string): InstanceRole {
  if (instanceRoles.includes(text)) return text as InstanceRole;
  throw new InvalidInput("invalid_role", "Role must be one of: owner, member, no-access");
}

/** @throws {InvalidInput} `invalid_role`. */
export function parseVaultRole(text: string): VaultRole {
  if (vaultRoles.includes(text)) return text as VaultRole;
  throw new InvalidInput("invalid_role", "Vault role must be one of: proxy, member, admin");
}

/** People do not proxy, so the role `proxy` is not for them. @throws {InvalidInput} `invalid_role`. */
export function parseUserVaultRole(text: string): VaultRole {
  if (userVaultRoles.includes(text)) return text as VaultRole;
  throw new InvalidInput("invalid_role", "Vault role must be one of: admin, member");
}
