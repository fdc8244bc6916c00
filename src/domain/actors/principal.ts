/** Who is asking, and from where. Made from a token by `session.ts`; everything that may be asked of it is in `access.ts`. */

export type InstanceRole = "no-access" | "member" | "owner";
export type VaultRole = "proxy" | "member" | "admin";

export type Principal = UserPrincipal | AgentPrincipal | ScopedPrincipal;
/** An identity with an instance role, as opposed to a vault-scoped token, which has none. */
export type Actor = UserPrincipal | AgentPrincipal;

export interface UserPrincipal {
  readonly kind: "user";
  readonly id: string;
  readonly email: string;
  readonly role: InstanceRole;
  /** Public id of the session row: safe to show and to log. */
  readonly sessionId: string;
  /** Where the request came from; empty when nobody will ask. */
  readonly clientIp: string;
}

export interface AgentPrincipal {
  readonly kind: "agent";
  readonly id: string;
  readonly name: string;
  readonly role: InstanceRole;
  readonly sessionId: string;
  readonly clientIp: string;
}

/** A vault-scoped token: no instance role, exactly one vault. */
export interface ScopedPrincipal {
  readonly kind: "scoped";
  readonly vaultId: string;
  readonly vaultRole: VaultRole;
  readonly sessionId: string;
  readonly clientIp: string;
  /** Who minted it; limits and the journal are attributed to them. */
  readonly createdBy: { readonly type: "user" | "agent"; readonly id: string };
}

/** Whom something is attributed to. */
export interface ActorRef {
  readonly type: "user" | "agent";
  readonly id: string;
}

/** The actor behind a principal; behind a scoped token, whoever minted it. */
export function actorRefOf(principal: Principal): ActorRef {
  return principal.kind === "scoped" ? principal.createdBy : { type: principal.kind, id: principal.id };
}

const instanceRanks: Record<InstanceRole, number> = { "no-access": 0, member: 1, owner: 2 };
const vaultRanks: Record<VaultRole, number> = { proxy: 0, member: 1, admin: 2 };

export function hasInstanceRole(role: InstanceRole, atLeast: InstanceRole): boolean {
  return instanceRanks[role] >= instanceRanks[atLeast];
}

export function hasVaultRole(role: VaultRole, atLeast: VaultRole): boolean {
  return vaultRanks[role] >= vaultRanks[atLeast];
}
