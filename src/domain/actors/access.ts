/** Roles and permissions: the only answer to "may this actor do that?" (spec of accounts, section 3). */
import { Forbidden, InvalidInput, NotFound, Unavailable } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import {
  type Actor,
  type ActorRef,
  hasInstanceRole,
  hasVaultRole,
  type Principal,
  type UserPrincipal,
  type VaultRole,
} from "./principal.ts";

export interface VaultRef {
  readonly id: string;
  readonly name: string;
}

/**
 * - `access`: any grant, or a scoped token of this vault.
 * - `member`, `admin`: at least that role in the vault.
 * - `admin-or-owner`: vault admin or instance owner; never a scoped token.
 */
export type VaultNeed = "access" | "member" | "admin" | "admin-or-owner";

export interface VaultAccess {
  readonly vault: VaultRef;
  /** Undefined for an instance owner without a grant, which only `admin-or-owner` lets in. */
  readonly role: VaultRole | undefined;
  /** Undefined for a scoped token. */
  readonly actor: Actor | undefined;
}

/** May it see which networks a vault may reach? That is a map of what is inside: for people and members, not for agents. */
export function seesNetworks({ role }: VaultAccess): boolean {
  return role !== undefined && hasVaultRole(role, "member");
}

export class Access {
  readonly #database: Database;

  constructor(options: { readonly database: Database }) {
    this.#database = options.database;
  }

  /** @throws {Forbidden} for a scoped token, which is nobody. */
  actor(principal: Principal): Actor {
    if (principal.kind === "scoped") throw new Forbidden("actor_required", "Authentication required");
    return principal;
  }

  /** @throws {Forbidden} below instance role `member`. */
  instanceMember(principal: Principal): Actor {
    const actor = this.actor(principal);
    if (!hasInstanceRole(actor.role, "member")) throw new Forbidden("member_required", "Instance member role required");
    return actor;
  }

  /** @throws {Forbidden} below instance role `owner`. */
  owner(principal: Principal): Actor {
    const actor = this.actor(principal);
    if (actor.role !== "owner") throw new Forbidden("owner_required", "Owner role required");
    return actor;
  }

  /** @throws {Forbidden} unless a person is signed in. */
  userSession(principal: Principal): UserPrincipal {
    if (principal.kind !== "user") throw new Forbidden("user_session_required", "User session required");
    return principal;
  }

  /**
   * What a principal may do in a vault.
   *
   * A vault that the caller holds no grant on looks like one that does not exist, except to instance owners, who may
   * list all vaults anyway, and where `hidesExistence` is false because clients rely on 403.
   *
   * @throws {NotFound} `vault_not_found`.
   * @throws {Forbidden} when the role is too low.
   */
  async vault(
    principal: Principal,
    vaultName: string,
    need: VaultNeed,
    options: { readonly hidesExistence?: boolean } = {},
  ): Promise<VaultAccess> {
    const found = await this.#find(principal, vaultName);
    if (found === undefined) throw vaultNotFound(vaultName);
    const { vault, role } = found;
    if (need === "admin-or-owner" && isOwner(principal)) return { vault, role, actor: principal };
    // Before anything else is said: a refusal of another kind would tell that the vault is there.
    if (role === undefined) throw noAccess(principal, vaultName, options.hidesExistence ?? true);
    if (need === "admin-or-owner") {
      const actor = this.actor(principal);
      if (role === "admin") return { vault, role, actor };
      throw new Forbidden("vault_admin_required", "Vault admin or instance owner required");
    }
    const least = need === "access" ? "proxy" : need;
    if (!hasVaultRole(role, least)) throw roleTooLow(least);
    return { vault, role, actor: principal.kind === "scoped" ? undefined : principal };
  }

  /**
   * Who may approve and reject proposals of a vault: members of it, and tokens of role `admin`.
   * @throws {NotFound} `vault_not_found`. @throws {Forbidden} when the role is too low.
   */
  async proposalReview(principal: Principal, vaultName: string): Promise<VaultAccess> {
    if (principal.kind !== "scoped") return this.vault(principal, vaultName, "member");
    const found = await this.vault(principal, vaultName, "access");
    if (found.role !== "admin") throw new Forbidden("vault_admin_required", "Admin role required");
    return found;
  }

  /**
   * Nothing grants itself what it asked for. People may: what a token of theirs asks for is meant for them to decide.
   * A token that an agent minted counts as that agent.
   * @throws {Forbidden} `own_proposal`.
   */
  refuseOwnProposal(
    principal: Principal,
    proposer: { readonly type: string; readonly id: string; readonly sessionId: string },
  ): void {
    if (principal.kind === "user") return;
    const { type, id } = responsibleFor(principal);
    const isOwn =
      proposer.sessionId === principal.sessionId || (type === "agent" && proposer.type === type && proposer.id === id);
    if (isOwn) {
      throw new Forbidden("own_proposal", "Nobody may approve what they proposed themselves", {
        hint: "ask a person, or another agent that is a member of the vault",
      });
    }
  }

  /** The role of an actor in a vault; undefined without a grant. */
  async roleIn(principal: Principal, vaultId: string): Promise<VaultRole | undefined> {
    if (principal.kind === "scoped") return principal.vaultId === vaultId ? principal.vaultRole : undefined;
    const grant = await this.#database.db
      .selectFrom("vault_grants")
      .select("role")
      .where("vault_id", "=", vaultId)
      .where(principal.kind === "user" ? "user_id" : "agent_id", "=", principal.id)
      .executeTakeFirst();
    return grant?.role as VaultRole | undefined;
  }

  /**
   * May somebody who began something still change this vault? For what completes later and brings no token with it.
   * @param by whoever began: active, and at least a member of the vault, at this moment.
   */
  async isStillMember(by: ActorRef, vaultId: string): Promise<boolean> {
    const grant = await this.#database.db
      .selectFrom("vault_grants")
      .leftJoin("users", "users.id", "vault_grants.user_id")
      .leftJoin("agents", "agents.id", "vault_grants.agent_id")
      .select(["vault_grants.role", "users.is_active", "agents.status"])
      .where("vault_grants.vault_id", "=", vaultId)
      .where(by.type === "user" ? "vault_grants.user_id" : "vault_grants.agent_id", "=", by.id)
      .executeTakeFirst();
    const isActive = grant?.is_active === 1 || grant?.status === "active";
    return isActive && hasVaultRole(grant?.role as VaultRole, "member");
  }

  /**
   * The vault of an agent-facing route (spec of accounts, section 2.6): a scoped token's own, or the one that an agent
   * names in `X-Vault`.
   * @throws {InvalidInput} when an agent names none.
   * @throws {NotFound} when the vault does not exist.
   * @throws {Forbidden} for people, and for an agent without a grant.
   */
  async sessionVault(
    principal: Principal,
    xVaultHeader: string | null | undefined,
  ): Promise<{ readonly vault: VaultRef; readonly role: VaultRole }> {
    if (principal.kind === "scoped") {
      const vault = await this.#database.db
        .selectFrom("vaults")
        .select(["id", "name"])
        .where("id", "=", principal.vaultId)
        .executeTakeFirst();
      if (vault === undefined) throw new Unavailable("vault_gone", "The vault of this token is gone");
      return { vault, role: principal.vaultRole };
    }
    if (principal.kind === "user") throw new Forbidden("vault_scope_required", "Session requires vault scope");
    if (!xVaultHeader) {
      throw new InvalidInput("vault_required", "Name the vault in the X-Vault header", {
        hint: "An agent token is not bound to a vault; send X-Vault: <name>",
      });
    }
    const found = await this.#find(principal, xVaultHeader);
    if (found === undefined) throw new NotFound("vault_not_found", `Vault not found: ${xVaultHeader}`);
    if (found.role === undefined) {
      throw new Forbidden("no_vault_access", `Agent does not have access to vault: ${xVaultHeader}`);
    }
    return { vault: found.vault, role: found.role };
  }

  async #find(principal: Principal, name: string) {
    const query = this.#database.db
      .selectFrom("vaults")
      .select(["vaults.id", "vaults.name"])
      .where("vaults.name", "=", name);
    if (principal.kind === "scoped") {
      const vault = await query.executeTakeFirst();
      if (vault === undefined) return undefined;
      return { vault, role: vault.id === principal.vaultId ? principal.vaultRole : undefined };
    }
    const column = principal.kind === "user" ? "vault_grants.user_id" : "vault_grants.agent_id";
    const row = await query
      .leftJoin("vault_grants", (join) =>
        join.onRef("vault_grants.vault_id", "=", "vaults.id").on(column, "=", principal.id),
      )
      .select("vault_grants.role")
      .executeTakeFirst();
    if (row === undefined) return undefined;
    // The column holds what the grant's parser let in.
    return { vault: { id: row.id, name: row.name }, role: (row.role ?? undefined) as VaultRole | undefined };
  }
}

/** Whom an action is put down to: a vault token stands for whoever minted it. */
export function responsibleFor(principal: Principal): { readonly type: "user" | "agent"; readonly id: string } {
  return principal.kind === "scoped" ? principal.createdBy : { type: principal.kind, id: principal.id };
}

export function vaultNotFound(name: string): NotFound {
  return new NotFound("vault_not_found", `Vault "${name}" not found`, { hint: "agent-vault vault list" });
}

function isOwner(principal: Principal): principal is Actor {
  return principal.kind !== "scoped" && principal.role === "owner";
}

function noAccess(principal: Principal, vaultName: string, hidesExistence: boolean) {
  if (hidesExistence && !isOwner(principal)) return vaultNotFound(vaultName);
  if (principal.kind === "scoped") return new Forbidden("no_vault_access", "Session not authorized for this vault");
  return new Forbidden("no_vault_access", "No access to this vault", {
    ...(isOwner(principal) && { hint: `agent-vault owner vault join ${vaultName}` }),
  });
}

function roleTooLow(least: VaultRole): Forbidden {
  return least === "admin"
    ? new Forbidden("vault_admin_required", "Vault admin role required")
    : new Forbidden("vault_member_required", "Member role required");
}
