/** Agents: programs with an identity and a token of their own. */
import type { Selectable, SelectQueryBuilder, Transaction } from "kysely";
import { Conflict, Forbidden } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { cutPage, isBehind, keyAfter, type Page, type PageRequest, rowsToRead } from "../page.ts";
import { parseSlug } from "../slug.ts";
import {
  agentNotFound,
  endTokens,
  findAgent,
  insertAgent,
  issueAgentToken,
  nameTaken,
  replaceAgentToken,
} from "./agent-rows.ts";
import { recordLostGrants, recordNewGrant } from "./grant-trail.ts";
import { grantsOf } from "./grants-of.ts";
import { revokeInvitesOf } from "./invite-rows.ts";
import { lockOwners, requireAnotherOwner } from "./owners.ts";
import { type AssignedVault, describeAssigned, parseAssignments, type RequestedVault } from "./preassignment.ts";
import type { Actor, InstanceRole } from "./principal.ts";
import { parseInstanceRole, parseVaultRole } from "./roles.ts";
import type { VaultGrant } from "./user.ts";

export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly role: InstanceRole;
  readonly status: "active" | "revoked";
  readonly vaults: readonly VaultGrant[];
  /** Id of the actor who created it. */
  readonly createdBy: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly revokedAt: string | undefined;
  readonly activeTokens: number;
  /** Absent: no token, or one that does not expire. */
  readonly tokenExpiresAt: string | undefined;
}

export interface CreatedAgent {
  readonly name: string;
  readonly role: InstanceRole;
  readonly vaults: readonly AssignedVault[];
  readonly createdAt: string;
  /** Shown once. */
  readonly token: string;
}

type AgentQuery = SelectQueryBuilder<Schema, "agents", Selectable<Schema["agents"]>>;

export class Agents {
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

  /**
   * @throws {InvalidInput} @throws {NotFound} for a vault.
   * @throws {Forbidden} for a role or vault that the caller cannot give. @throws {Conflict} `name_taken`.
   */
  async create(
    actor: Actor,
    request: { readonly name: string; readonly role: string | undefined; readonly vaults: readonly RequestedVault[] },
  ): Promise<CreatedAgent> {
    const name = parseSlug(request.name, "Agent name");
    const vaults = await parseAssignments(this.#database, actor, request.vaults, {
      defaultRole: "proxy",
      parseRole: parseVaultRole,
    });
    const role = parseInstanceRole(request.role || "no-access");
    if (role === "owner" && actor.role !== "owner") {
      throw new Forbidden("owner_required", "Only owners can create owner agents");
    }
    const nowMs = this.#clock.now();
    const token = await this.#changes
      .transaction(async (tx, announce) => {
        const createdBy = { type: actor.kind, id: actor.id };
        const id = await insertAgent(tx, { name, role, vaults, createdBy, nowMs });
        announce({ kind: "actor", actorId: id });
        this.#audit.record(tx, actor, {
          action: "agent.create",
          target: { type: "agent", id, name },
          after: { role, vaults: vaults.map(describeAssigned) },
        });
        const trail = { audit: this.#audit, tx, by: actor, grantee: { type: "agent", id, name } } as const;
        for (const { vaultId, vaultRole } of vaults) recordNewGrant(trail, { vaultId, role: vaultRole });
        return issueAgentToken(tx, id, { nowMs });
      })
      .catch((error: unknown) => this.#orTaken(error, name));
    const createdAt = new Date(nowMs).toISOString();
    return { name, role, vaults, createdAt, token };
  }

  /** By name, revoked ones included: all for owners, else one's own and those in one's vaults. */
  async page(actor: Actor, request?: PageRequest): Promise<Page<Agent>> {
    const key = keyAfter(request, "text");
    let query = visible(this.#database.db, actor);
    if (key !== undefined) query = query.where(isBehind(["agents.name"], key));
    if (request !== undefined) query = query.limit(rowsToRead(request));
    return cutPage(await this.#load(query), request, ({ name }) => [name]);
  }

  /** @throws {NotFound} when it does not exist or the caller cannot see it. */
  async get(actor: Actor, name: string): Promise<Agent> {
    const [agent] = await this.#load(visible(this.#database.db, actor).where("agents.name", "=", name));
    if (agent === undefined) throw agentNotFound(name);
    return agent;
  }

  /**
   * Ends its tokens and those it minted; the name and the grants stay.
   * @throws {NotFound} @throws {Forbidden} @throws {Conflict} when it is revoked already or the last owner.
   */
  async revoke(actor: Actor, name: string): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      await lockOwners(this.#database, tx);
      const agent = await this.findManaged(tx, actor, name);
      if (agent.status !== "active") throw new Conflict("agent_revoked", `Agent "${name}" is already revoked`);
      if (agent.role === "owner") await requireAnotherOwner(this.#database, tx);
      // Before the tokens, as a new token does it: whichever of the two comes second sees what the other did.
      await tx
        .updateTable("agents")
        .set({ status: "revoked", revoked_at: this.#now(), updated_at: this.#now() })
        .where("id", "=", agent.id)
        .execute();
      const revoked = await endTokens(tx, agent.id);
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, actor, {
        action: "agent.revoke",
        target: { type: "agent", id: agent.id, name },
        before: { status: agent.status },
        after: { status: "revoked", revoked_invites: revoked },
      });
    });
  }

  /** @throws {NotFound} @throws {Forbidden} @throws {Conflict} `last_owner`. */
  async delete(actor: Actor, name: string): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      await lockOwners(this.#database, tx);
      const agent = await this.findManaged(tx, actor, name);
      if (agent.role === "owner" && agent.status === "active") await requireAnotherOwner(this.#database, tx);
      // The row before the tokens, as everybody takes them who ends tokens: or two would wait for each other.
      await tx.updateTable("agents").set({ status: "revoked" }).where("id", "=", agent.id).execute();
      const revoked = await endTokens(tx, agent.id);
      const grantee = { type: "agent", id: agent.id, name } as const;
      await recordLostGrants({ audit: this.#audit, tx, by: actor, grantee });
      await tx.deleteFrom("agents").where("id", "=", agent.id).execute();
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, actor, {
        action: "agent.delete",
        target: grantee,
        before: { role: agent.role, status: agent.status },
        after: { revoked_invites: revoked },
      });
    });
  }

  /**
   * A new token; the old one ends at once. A revoked agent comes back to life.
   * @throws {NotFound} @throws {Forbidden}
   */
  async rotate(actor: Actor, name: string): Promise<{ readonly token: string; readonly rotatedAt: string }> {
    const nowMs = this.#clock.now();
    const token = await this.#changes.transaction(async (tx, announce) => {
      const agent = await this.findManaged(tx, actor, name);
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, actor, {
        action: "agent.rotate",
        target: { type: "agent", id: agent.id, name },
        before: { status: agent.status },
        after: { status: "active" },
      });
      return replaceAgentToken(tx, agent.id, { nowMs });
    });
    const rotatedAt = new Date(nowMs).toISOString();
    return { token, rotatedAt };
  }

  /**
   * @param newName is looked at only once the caller is known to be allowed to rename.
   * @throws {NotFound} @throws {Forbidden} @throws {InvalidInput} @throws {Conflict} `name_taken`.
   */
  async rename(actor: Actor, name: string, newName: () => Promise<string>): Promise<string> {
    await this.findManaged(this.#database.db, actor, name);
    const slug = parseSlug(await newName(), "Agent name");
    await this.#changes
      .transaction(async (tx, announce) => {
        const agent = await this.findManaged(tx, actor, name);
        if ((await findAgent(tx, slug)) !== undefined) throw nameTaken(slug);
        await tx
          .updateTable("agents")
          .set({ name: slug, updated_at: this.#now() })
          .where("id", "=", agent.id)
          .execute();
        announce({ kind: "actor", actorId: agent.id });
        this.#audit.record(tx, actor, {
          action: "agent.rename",
          target: { type: "agent", id: agent.id, name: slug },
          before: { name },
          after: { name: slug },
        });
      })
      .catch((error: unknown) => this.#orTaken(error, slug));
    return slug;
  }

  /** @returns the role before. @throws {NotFound} @throws {Conflict} when it is revoked or the last owner. */
  async setRole(by: Actor, name: string, role: InstanceRole): Promise<InstanceRole> {
    return this.#changes.transaction(async (tx, announce) => {
      await lockOwners(this.#database, tx);
      const agent = await findAgent(tx, name);
      if (agent === undefined) throw agentNotFound(name);
      if (agent.status !== "active") throw new Conflict("agent_revoked", `Agent "${name}" is revoked`);
      if (agent.role === "owner" && role !== "owner") await requireAnotherOwner(this.#database, tx);
      await tx.updateTable("agents").set({ role, updated_at: this.#now() }).where("id", "=", agent.id).execute();
      const revoked = role === "owner" ? 0 : await revokeInvitesOf(tx, agent.id, { onlyOwnerRole: role === "member" });
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, by, {
        action: "agent.set_role",
        target: { type: "agent", id: agent.id, name },
        before: { role: agent.role },
        after: { role, revoked_invites: revoked },
      });
      return agent.role as InstanceRole;
    });
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString();
  }

  /**
   * Owners manage every agent, others those they created; what one cannot see does not exist.
   * @throws {NotFound} @throws {Forbidden}
   */
  async findManaged(db: Pick<Transaction<Schema>, "selectFrom">, actor: Actor, name: string) {
    const agent = await findAgent(db, name);
    if (agent === undefined) throw agentNotFound(name);
    if (actor.role === "owner") return agent;
    if (agent.role !== "owner" && agent.created_by_id === actor.id) return agent;
    const seen = await visible(db, actor).where("agents.id", "=", agent.id).executeTakeFirst();
    if (seen === undefined) throw agentNotFound(name);
    throw agent.role === "owner"
      ? new Forbidden("owner_required", "Only instance owners can manage owner agents")
      : new Forbidden("agent_creator_required", "Only the owner or agent creator can manage this agent");
  }

  async #load(query: AgentQuery): Promise<readonly Agent[]> {
    const agents = await query.orderBy("agents.name").execute();
    if (agents.length === 0) return [];
    const ids = agents.map((agent) => agent.id);
    const tokens = this.#database.db.selectFrom("sessions").select(["agent_id", "expires_at"]);
    const [grants, found] = await Promise.all([
      grantsOf(this.#database.db, "agent", ids),
      // Naming thousands of agents would cost more than reading the tokens of all.
      (ids.length > 1_000 ? tokens.where("agent_id", "is not", null) : tokens.where("agent_id", "in", ids)).execute(),
    ]);
    const now = this.#now();
    const live = found.filter((token) => token.expires_at === null || token.expires_at > now);
    const tokensOf = Map.groupBy(live, (token) => token.agent_id);
    return agents.map((agent) => ({
      id: agent.id,
      name: agent.name,
      role: agent.role as InstanceRole,
      status: agent.status as Agent["status"],
      vaults: grants.get(agent.id) ?? [],
      createdBy: agent.created_by_id ?? "",
      createdAt: agent.created_at,
      updatedAt: agent.updated_at,
      revokedAt: agent.revoked_at ?? undefined,
      activeTokens: tokensOf.get(agent.id)?.length ?? 0,
      tokenExpiresAt: tokensOf.get(agent.id)?.[0]?.expires_at ?? undefined,
    }));
  }

  /** Two at once: the index decides, and the loser gets the same answer. */
  #orTaken(error: unknown, name: string): never {
    if (this.#database.isUniqueViolation(error)) throw nameTaken(name);
    throw error;
  }
}

/** All for owners; else those one created and those with a grant on a vault that one has a grant on. */
function visible(db: Pick<Transaction<Schema>, "selectFrom">, actor: Actor): AgentQuery {
  const query = db.selectFrom("agents").selectAll("agents");
  if (actor.role === "owner") return query;
  const mine = actor.kind === "user" ? "mine.user_id" : "mine.agent_id";
  return query.where((on) =>
    on.or([
      on("agents.created_by_id", "=", actor.id),
      on.exists(
        on
          .selectFrom("vault_grants as theirs")
          .innerJoin("vault_grants as mine", "mine.vault_id", "theirs.vault_id")
          .select("theirs.id")
          .whereRef("theirs.agent_id", "=", "agents.id")
          .where(mine, "=", actor.id),
      ),
    ]),
  );
}
