import { UsageError } from "../errors.ts";

export const instanceRoles = ["owner", "member", "no-access"] as const;

/** @throws {UsageError} when `--role` is absent where there is no sensible default. */
export function requireRole(role: string | undefined, roles: readonly string[]): string {
  if (role !== undefined) return role;
  throw new UsageError("role_missing", "--role is needed", { hint: `--role ${roles.join(" or --role ")}` });
}

/** `name[:role]` of `--vault`, as the API has it. @throws {UsageError} for a role that there is not. */
export function parseVaultGrants(words: readonly string[], options: { roles: readonly string[]; fallback: string }) {
  return words.map((word) => {
    const [name = "", role = options.fallback, ...rest] = word.split(":");
    if (name === "" || rest.length > 0 || !options.roles.includes(role)) {
      throw new UsageError("bad_vault_grant", `--vault cannot be "${word}"`, {
        hint: `--vault NAME or --vault NAME:ROLE with ${options.roles.join(", ")}`,
      });
    }
    return { vault_name: name, vault_role: role };
  });
}
