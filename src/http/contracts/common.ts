/** Shapes and parameters that the contracts of several areas share. */
import { objects, string } from "../openapi/body.ts";
import type { Parameter } from "../openapi/contract.ts";
import { param } from "../openapi/contract.ts";
import { choice, listOf, maybe, named, nullable, type Schema, shape, text, time } from "../openapi/schema.ts";

export const instanceRole = choice(["owner", "member", "no-access"], "Role in the instance");
export const vaultRole = choice(["proxy", "member", "admin"], "Role in the vault");
export const userVaultRole = choice(["member", "admin"], "Role in the vault; people do not proxy");

/** 3 to 64 characters of a-z, 0-9 and single hyphens. */
export function slug(description: string): Schema {
  return text(description, { minLength: 3, maxLength: 64, pattern: "^[a-z0-9]+(-[a-z0-9]+)*$" });
}

export const email = text("Address of a person", { format: "email", maxLength: 254 });
export const newPassword = text("8 to 1024 bytes", { minLength: 8, format: "password" });
export const deviceLabel = text("Under which name the list of sessions shows the login");
export const credentialKey = text("Name of a credential", { pattern: "^[A-Z][A-Z0-9_]*$" });

export const grant = named("Grant", shape({ vault_name: text(), vault_role: vaultRole }, "A vault and the role in it"));

export const message = shape({ message: text("A sentence for a person") });

/** Vaults that come with a new agent or an invitation. */
export function vaultsField(role: Schema) {
  return objects({ vault_name: string(text("Name of the vault")), vault_role: string(role) });
}

/** Only with a page: where the next one begins; null on the last. */
export const nextCursor = maybe(nullable(text("Where the next page begins; null on the last one")));

export const vaultQuery: Parameter = param(
  text("Name of the vault; without it a vault token's own, or `default`", { default: "default" }),
);
export const vaultField = string(text("Name of the vault; without it a vault token's own, or `default`"));

/** A new login: the token is shown only here, and set as the cookie `av_session` too. */
export const newSession = shape({ token: text("The token of the session, shown only now"), expires_at: time() });

export const candidates = listOf(shape({ name: text(), host: text() }));
