/** Who holds a grant on a vault: people and agents, and the rule that somebody must administer it. */
import type { Transaction } from "kysely";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import { agentNotFound } from "../actors/agent-rows.ts";
import { normalizeEmail } from "../actors/email.ts";
import type { Actor, Principal, VaultRole } from "../actors/principal.ts";
import { userNotFound } from "../actors/user.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { cutPage, isBehind, keyAfter, mapPage, type Page, type PageRequest, rowsToRead } from "../page.ts";

export interface VaultUser {
  readonly email: string;
  readonly role: VaultRole;
  /** `pending` comes with an invitation that is not accepted yet. */
  readonly status: "active" | "pending";
}

export interface VaultAgent {
  readonly name: string;
  readonly agentId: string;
  readonly role: VaultRole;
  readonly status: "active" | "revoked";
}

/** The two parts of the list of people, in their order; the first part of its cursor. */
const grantedPart = "0";
const invitedPart = "1";

/** Whose grant it is; the name is for the audit log. */
export type Grantee = { readonly type: "user" | "agent"; readonly id: string; readonly name: string };

export function granteeOf(actor: Actor): Grantee {
  return { type: actor.kind, id: actor.id, name: actor.kind === "user" ? actor.email : actor.name };
}

export class Members {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #audit: Audit;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#audit = options.audit;
  }

  /** People with a grant, oldest first, then those invited. */
  async pageOfUsers(vaultId: string, request?: PageRequest): Promise<Page<VaultUser>> {
    const [part, ...key] = keyAfter(request, "integer", "time", "text") ?? [];
    const isInInvited = part === invitedPart;
    const granted = isInInvited ? [] : await this.#granted(vaultId, request, key);
    const missing = request === undefined ? undefined : rowsToRead(request) - granted.length;
    const invited = missing === 0 ? [] : await this.#invited(vaultId, missing, isInInvited ? key : []);
    const rows = [
      ...granted.map((row) => ({ ...row, status: "active" as const, part: grantedPart })),
      ...invited.map((row) => ({ ...row, status: "pending" as const, part: invitedPart })),
    ];
    const page = cutPage(rows, request, (row) => [row.part, row.created_at, row.id]);
    return mapPage(page, ({ email, role, status }) => ({ email, role: role as VaultRole, status }));
  }

  #granted(vaultId: string, request: PageRequest | undefined, key: readonly string[]) {
    const columns = ["vault_grants.created_at", "vault_grants.id"] as const;
    let query = this.#database.db
      .selectFrom("vault_grants")
      .innerJoin("users", "users.id", "vault_grants.user_id")
      .select(["users.email", "vault_grants.role", ...columns])
      .where("vault_grants.vault_id", "=", vaultId)
      .orderBy(columns[0])
      .orderBy(columns[1]);
    if (key.length > 0) query = query.where(isBehind(columns, key));
    if (request !== undefined) query = query.limit(rowsToRead(request));
    return query.execute();
  }

  #invited(vaultId: string, limit: number | undefined, key: readonly string[]) {
    const columns = ["user_invites.created_at", "user_invites.id"] as const;
    let query = this.#database.db
      .selectFrom("user_invite_vaults")
      .innerJoin("user_invites", "user_invites.id", "user_invite_vaults.invite_id")
      .select(["user_invites.email", "user_invite_vaults.vault_role as role", ...columns])
      .where("user_invite_vaults.vault_id", "=", vaultId)
      .where("user_invites.status", "=", "pending")
      .where("user_invites.expires_at", ">", new Date(this.#clock.now()).toISOString())
      .orderBy(columns[0])
      .orderBy(columns[1]);
    if (key.length > 0) query = query.where(isBehind(columns, key));
    if (limit !== undefined) query = query.limit(limit);
    return query.execute();
  }

  /** By name, revoked ones included. */
  async pageOfAgents(vaultId: string, request?: PageRequest): Promise<Page<VaultAgent>> {
    const key = keyAfter(request, "text");
    let query = this.#database.db
      .selectFrom("vault_grants")
      .innerJoin("agents", "agents.id", "vault_grants.agent_id")
      .select(["agents.name", "agents.id", "vault_grants.role", "agents.status"])
      .where("vault_grants.vault_id", "=", vaultId)
      .orderBy("agents.name");
    if (key !== undefined) query = query.where(isBehind(["agents.name"], key));
    if (request !== undefined) query = query.limit(rowsToRead(request));
    const page = cutPage(await query.execute(), request, ({ name }) => [name]);
    return mapPage(page, (row) => ({
      name: row.name,
      agentId: row.id,
      role: row.role as VaultRole,
      status: row.status as VaultAgent["status"],
    }));
  }

  /** @throws {NotFound} @throws {Conflict} `already_member`. @returns the address as stored. */
  async addUser(by: Principal, vaultId: string, address: string, role: VaultRole): Promise<string> {
    const { id, email } = await this.#findUser(address);
    await this.#grant({ by, vaultId, grantee: { type: "user", id, name: email }, role, action: "member.add" });
    return email;
  }

  /** @throws {NotFound} @throws {Conflict} when it is revoked or has a grant already. */
  async addAgent(by: Principal, vaultId: string, name: string, role: VaultRole): Promise<void> {
    const agent = await this.#findAgent(name);
    if (agent.status !== "active") throw new Conflict("agent_revoked", `Agent "${name}" is revoked`);
    await this.#grant({ by, vaultId, grantee: { type: "agent", id: agent.id, name }, role, action: "member.add" });
  }

  /** @throws {NotFound} @throws {Conflict} `last_admin`. */
  async removeUser(by: Principal, vaultId: string, address: string): Promise<void> {
    const { id, email } = await this.#findUser(address);
    const grantee = { type: "user", id, name: email } as const;
    await this.#remove({ by, vaultId, grantee, action: "member.remove", guardsLastAdmin: true });
  }

  /** Not guarded by the last-admin rule: an owner can always join the vault. @throws {NotFound} */
  async removeAgent(by: Principal, vaultId: string, name: string): Promise<void> {
    const { id } = await this.#findAgent(name);
    const grantee = { type: "agent", id, name } as const;
    await this.#remove({ by, vaultId, grantee, action: "member.remove", guardsLastAdmin: false });
  }

  /** @throws {NotFound} @throws {Conflict} `last_admin`. @returns the address as stored. */
  async setUserRole(by: Principal, vaultId: string, address: string, role: VaultRole): Promise<string> {
    const { id, email } = await this.#findUser(address);
    const grantee = { type: "user", id, name: email } as const;
    await this.#setRole({ by, vaultId, grantee, role, guardsLastAdmin: true });
    return email;
  }

  /** @throws {NotFound} @returns the role before. */
  async setAgentRole(by: Principal, vaultId: string, name: string, role: VaultRole): Promise<VaultRole> {
    const { id } = await this.#findAgent(name);
    return this.#setRole({ by, vaultId, grantee: { type: "agent", id, name }, role, guardsLastAdmin: false });
  }

  /** An owner becomes an admin. @throws {Conflict} `already_member`. */
  async join(actor: Actor, vaultId: string): Promise<void> {
    await this.#grant({ by: actor, vaultId, grantee: granteeOf(actor), role: "admin", action: "vault.join" });
  }

  async #grant({ by, vaultId, grantee, role, action }: Grant): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      await this.#database.lockVault(tx, vaultId);
      if ((await findGrant(tx, vaultId, grantee)) !== undefined) {
        throw new Conflict("already_member", "Already has access to this vault");
      }
      await tx
        .insertInto("vault_grants")
        .values({
          id: uuidv7(this.#clock.now()),
          vault_id: vaultId,
          user_id: grantee.type === "user" ? grantee.id : null,
          agent_id: grantee.type === "agent" ? grantee.id : null,
          role,
          created_at: new Date(this.#clock.now()).toISOString(),
        })
        .execute();
      announce({ kind: "actor", actorId: grantee.id });
      this.#audit.record(tx, by, { action, target: grantee, vaultId, after: { role } });
    });
  }

  /** Gives a grant up. @throws {NotFound} without one. @throws {Conflict} `last_admin`. */
  async leave(actor: Actor, vaultId: string): Promise<void> {
    const grantee = granteeOf(actor);
    await this.#remove({ by: actor, vaultId, grantee, action: "vault.leave", guardsLastAdmin: true });
  }

  async #remove({ by, vaultId, grantee, action, guardsLastAdmin }: Removal): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      await this.#database.lockVault(tx, vaultId);
      const grant = await findGrant(tx, vaultId, grantee);
      if (grant === undefined) throw noGrant();
      if (guardsLastAdmin && grant.role === "admin") await requireAnotherAdmin(tx, vaultId, grant.id);
      await tx.deleteFrom("vault_grants").where("id", "=", grant.id).execute();
      announce({ kind: "actor", actorId: grantee.id });
      this.#audit.record(tx, by, { action, target: grantee, vaultId, before: { role: grant.role } });
    });
  }

  async #setRole({ by, vaultId, grantee, role, guardsLastAdmin }: RoleChange): Promise<VaultRole> {
    return this.#changes.transaction(async (tx, announce) => {
      await this.#database.lockVault(tx, vaultId);
      const grant = await findGrant(tx, vaultId, grantee);
      if (grant === undefined) throw noGrant();
      if (guardsLastAdmin && grant.role === "admin" && role !== "admin") {
        await requireAnotherAdmin(tx, vaultId, grant.id);
      }
      await tx.updateTable("vault_grants").set({ role }).where("id", "=", grant.id).execute();
      announce({ kind: "actor", actorId: grantee.id });
      this.#audit.record(tx, by, {
        action: "member.set_role",
        target: grantee,
        vaultId,
        before: { role: grant.role },
        after: { role },
      });
      return grant.role as VaultRole;
    });
  }

  async #findUser(address: string) {
    const user = await this.#database.db
      .selectFrom("users")
      .select(["id", "email"])
      .where("email", "=", normalizeEmail(address))
      .executeTakeFirst();
    if (user === undefined) throw userNotFound(address);
    return user;
  }

  async #findAgent(name: string) {
    const agent = await this.#database.db
      .selectFrom("agents")
      .select(["id", "status"])
      .where("name", "=", name)
      .executeTakeFirst();
    if (agent === undefined) throw agentNotFound(name);
    return agent;
  }
}

/** A change to somebody's grant, and who makes it. */
interface GrantChange {
  readonly by: Principal;
  readonly vaultId: string;
  readonly grantee: Grantee;
}

interface Grant extends GrantChange {
  readonly role: VaultRole;
  readonly action: "member.add" | "vault.join";
}

interface Removal extends GrantChange {
  readonly action: "member.remove" | "vault.leave";
  readonly guardsLastAdmin: boolean;
}

interface RoleChange extends GrantChange {
  readonly role: VaultRole;
  readonly guardsLastAdmin: boolean;
}

async function findGrant(tx: Transaction<Schema>, vaultId: string, grantee: Grantee) {
  return tx
    .selectFrom("vault_grants")
    .select(["id", "role"])
    .where("vault_id", "=", vaultId)
    .where(grantee.type === "user" ? "user_id" : "agent_id", "=", grantee.id)
    .executeTakeFirst();
}

/** Under the vault's lock. Agents that are revoked administer nothing. */
async function requireAnotherAdmin(tx: Transaction<Schema>, vaultId: string, exceptGrant: string) {
  const admins = await tx
    .selectFrom("vault_grants")
    .leftJoin("agents", "agents.id", "vault_grants.agent_id")
    .select(["vault_grants.id", "agents.status"])
    .where("vault_grants.vault_id", "=", vaultId)
    .where("vault_grants.role", "=", "admin")
    .execute();
  const others = admins.filter((grant) => grant.id !== exceptGrant && grant.status !== "revoked");
  if (others.length === 0) {
    throw new Conflict("last_admin", "This is the last admin of the vault; make somebody else an admin first");
  }
}

function noGrant(): NotFound {
  return new NotFound("grant_not_found", "Has no access to this vault");
}
