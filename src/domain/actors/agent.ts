/** Agents: programs with an identity and a token of their own. */
import type { Selectable, SelectQueryBuilder, Transaction } from "kysely";
import { mintToken, randomHex, tokenDigest, uuidv7 } from "../../crypto/token.ts";
import { Conflict, Forbidden, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { parseSlug } from "../slug.ts";
import { recordLostGrants, recordNewGrant } from "./grant-trail.ts";
import { requireAnotherOwner } from "./owners.ts";
import { type AssignedVault, describeAssigned, parseAssignments, type RequestedVault } from "./preassignment.ts";
import type { Actor, InstanceRole, VaultRole } from "./principal.ts";
import { parseInstanceRole, parseVaultRole } from "./roles.ts";
import { insertSession } from "./session-rows.ts";
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
    const id = uuidv7(this.#clock.now());
    const createdAt = this.#now();
    const token = await this.#changes
      .transaction(async (tx, announce) => {
        await this.#refuseTaken(tx, name);
        await tx
          .insertInto("agents")
          .values({
            id,
            name,
            role,
            status: "active",
            created_by_type: actor.kind,
            created_by_id: actor.id,
            created_at: createdAt,
            updated_at: createdAt,
            revoked_at: null,
          })
          .execute();
        for (const vault of vaults) {
          await tx
            .insertInto("vault_grants")
            .values({
              id: uuidv7(this.#clock.now()),
              vault_id: vault.vaultId,
              user_id: null,
              agent_id: id,
              role: vault.vaultRole,
              created_at: createdAt,
            })
            .execute();
        }
        announce({ kind: "actor", actorId: id });
        this.#audit.record(tx, actor, {
          action: "agent.create",
          target: { type: "agent", id, name },
          after: { role, vaults: vaults.map(describeAssigned) },
        });
        const trail = { audit: this.#audit, tx, by: actor, grantee: { type: "agent", id, name } } as const;
        for (const { vaultId, vaultRole } of vaults) recordNewGrant(trail, { vaultId, role: vaultRole });
        return this.#issueToken(tx, id);
      })
      .catch((error: unknown) => this.#orTaken(error, name));
    return { name, role, vaults, createdAt, token };
  }

  /** By name, revoked ones included: all for owners, else one's own and those in one's vaults. */
  async list(actor: Actor): Promise<readonly Agent[]> {
    return this.#load(visible(this.#database.db, actor));
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
      const agent = await this.#findManaged(tx, actor, name);
      if (agent.status !== "active") throw new Conflict("agent_revoked", `Agent "${name}" is already revoked`);
      if (agent.role === "owner") await requireAnotherOwner(this.#database, tx);
      await endTokens(tx, agent.id);
      await tx
        .updateTable("agents")
        .set({ status: "revoked", revoked_at: this.#now(), updated_at: this.#now() })
        .where("id", "=", agent.id)
        .execute();
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, actor, {
        action: "agent.revoke",
        target: { type: "agent", id: agent.id, name },
        before: { status: agent.status },
        after: { status: "revoked" },
      });
    });
  }

  /** @throws {NotFound} @throws {Forbidden} @throws {Conflict} `last_owner`. */
  async delete(actor: Actor, name: string): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      const agent = await this.#findManaged(tx, actor, name);
      if (agent.role === "owner" && agent.status === "active") await requireAnotherOwner(this.#database, tx);
      await endTokens(tx, agent.id);
      const grantee = { type: "agent", id: agent.id, name } as const;
      await recordLostGrants({ audit: this.#audit, tx, by: actor, grantee });
      await tx.deleteFrom("agents").where("id", "=", agent.id).execute();
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, actor, {
        action: "agent.delete",
        target: grantee,
        before: { role: agent.role, status: agent.status },
      });
    });
  }

  /**
   * A new token; the old one ends at once. A revoked agent comes back to life.
   * @throws {NotFound} @throws {Forbidden}
   */
  async rotate(actor: Actor, name: string): Promise<{ readonly token: string; readonly rotatedAt: string }> {
    const rotatedAt = this.#now();
    const token = await this.#changes.transaction(async (tx, announce) => {
      const agent = await this.#findManaged(tx, actor, name);
      await tx.deleteFrom("sessions").where("agent_id", "=", agent.id).execute();
      await tx
        .updateTable("agents")
        .set({ status: "active", revoked_at: null, updated_at: rotatedAt })
        .where("id", "=", agent.id)
        .execute();
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, actor, {
        action: "agent.rotate",
        target: { type: "agent", id: agent.id, name },
        before: { status: agent.status },
        after: { status: "active" },
      });
      return this.#issueToken(tx, agent.id);
    });
    return { token, rotatedAt };
  }

  /**
   * @param newName is looked at only once the caller is known to be allowed to rename.
   * @throws {NotFound} @throws {Forbidden} @throws {InvalidInput} @throws {Conflict} `name_taken`.
   */
  async rename(actor: Actor, name: string, newName: () => Promise<string>): Promise<string> {
    await this.#findManaged(this.#database.db, actor, name);
    const slug = parseSlug(await newName(), "Agent name");
    await this.#changes
      .transaction(async (tx, announce) => {
        const agent = await this.#findManaged(tx, actor, name);
        await this.#refuseTaken(tx, slug);
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
      const agent = await findAgent(tx, name);
      if (agent === undefined) throw agentNotFound(name);
      if (agent.status !== "active") throw new Conflict("agent_revoked", `Agent "${name}" is revoked`);
      if (agent.role === "owner" && role !== "owner") await requireAnotherOwner(this.#database, tx);
      await tx.updateTable("agents").set({ role, updated_at: this.#now() }).where("id", "=", agent.id).execute();
      announce({ kind: "actor", actorId: agent.id });
      this.#audit.record(tx, by, {
        action: "agent.set_role",
        target: { type: "agent", id: agent.id, name },
        before: { role: agent.role },
        after: { role },
      });
      return agent.role as InstanceRole;
    });
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString();
  }

  /** Owners manage every agent, others those they created; what one cannot see does not exist. */
  async #findManaged(db: Pick<Transaction<Schema>, "selectFrom">, actor: Actor, name: string) {
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
    const [grants, tokens] = await Promise.all([
      this.#database.db
        .selectFrom("vault_grants")
        .innerJoin("vaults", "vaults.id", "vault_grants.vault_id")
        .select(["vault_grants.agent_id", "vaults.name", "vault_grants.role"])
        .where("vault_grants.agent_id", "in", ids)
        .orderBy("vault_grants.created_at")
        .orderBy("vault_grants.id")
        .execute(),
      this.#database.db
        .selectFrom("sessions")
        .select(["agent_id", "expires_at"])
        .where("agent_id", "in", ids)
        .execute(),
    ]);
    const now = this.#now();
    const live = tokens.filter((token) => token.expires_at === null || token.expires_at > now);
    const grantsOf = Map.groupBy(grants, (grant) => grant.agent_id);
    const tokensOf = Map.groupBy(live, (token) => token.agent_id);
    return agents.map((agent) => ({
      id: agent.id,
      name: agent.name,
      role: agent.role as InstanceRole,
      status: agent.status as Agent["status"],
      vaults: (grantsOf.get(agent.id) ?? []).map((grant) => ({
        vaultName: grant.name,
        vaultRole: grant.role as VaultRole,
      })),
      createdBy: agent.created_by_id ?? "",
      createdAt: agent.created_at,
      updatedAt: agent.updated_at,
      revokedAt: agent.revoked_at ?? undefined,
      activeTokens: tokensOf.get(agent.id)?.length ?? 0,
      tokenExpiresAt: tokensOf.get(agent.id)?.[0]?.expires_at ?? undefined,
    }));
  }

  async #issueToken(tx: Transaction<Schema>, agentId: string): Promise<string> {
    const token = mintToken("av_agt_");
    await insertSession(tx, {
      digest: tokenDigest(token),
      public_id: randomHex(10),
      kind: "agent",
      agent_id: agentId,
      expires_at: null,
      created_at: this.#now(),
    });
    return token;
  }

  async #refuseTaken(tx: Transaction<Schema>, name: string): Promise<void> {
    if ((await findAgent(tx, name)) !== undefined) throw nameTaken(name);
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

async function findAgent(db: Pick<Transaction<Schema>, "selectFrom">, name: string) {
  return db
    .selectFrom("agents")
    .select(["id", "role", "status", "created_by_id"])
    .where("name", "=", name)
    .executeTakeFirst();
}

async function endTokens(tx: Transaction<Schema>, agentId: string): Promise<void> {
  await tx
    .deleteFrom("sessions")
    .where((on) => on.or([on("agent_id", "=", agentId), on("created_by_agent_id", "=", agentId)]))
    .execute();
}

export function agentNotFound(name: string): NotFound {
  return new NotFound("agent_not_found", `Agent "${name}" not found`);
}

function nameTaken(name: string): Conflict {
  return new Conflict("name_taken", `Agent name "${name}" is already in use`);
}
