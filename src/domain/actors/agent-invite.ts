/**
 * Invitations of agents: a token that lives for minutes stands in a prompt or a script, and the agent exchanges it for
 * its own. The own token is then known to the agent alone.
 */
import { mintToken, tokenDigest, uuidv7 } from "../../crypto/token.ts";
import { Conflict, Forbidden, Gone, InvalidInput, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Audit } from "../audit/audit.ts";
import { anonymous } from "../audit/author.ts";
import type { Clock } from "../clock.ts";
import { mapPage, type Page, type PageRequest } from "../page.ts";
import { parseSlug } from "../slug.ts";
import type { Agents } from "./agent.ts";
import {
  type AgentInviteRow,
  claimAgentInvite,
  existingVaults,
  managedStill,
  readAgentInvites,
  requireRoom,
  vaultsOf,
} from "./agent-invite-rows.ts";
import { findAgent, insertAgent, issueAgentToken, nameTaken, replaceAgentToken } from "./agent-rows.ts";
import { recordNewGrant } from "./grant-trail.ts";
import {
  type AssignedVault,
  describeAssigned,
  parseAssignments,
  type RequestedVault,
  stillAssignable,
} from "./preassignment.ts";
import type { Actor, InstanceRole } from "./principal.ts";
import { parseInstanceRole, parseVaultRole } from "./roles.ts";
import type { Caller } from "./session.ts";

const minTtlSeconds = 60;
const maxTtlSeconds = 7 * 86_400;
const maxTokenTtlSeconds = 365 * 86_400;
const suffixLength = 8;

export type AgentInviteStatus = "pending" | "redeemed" | "revoked" | "expired";

export interface AgentInvite {
  readonly id: string;
  readonly tokenSuffix: string;
  /** Empty: whoever redeems it chooses the name. */
  readonly agentName: string;
  readonly role: InstanceRole;
  readonly status: AgentInviteStatus;
  /** It replaces the token of an agent that exists. */
  readonly isRotation: boolean;
  readonly vaults: readonly AssignedVault[];
  readonly createdBy: string;
  readonly createdAt: string;
  readonly expiresAt: string;
}

export interface AgentInviteRequest {
  readonly name: string | undefined;
  readonly role: string | undefined;
  readonly vaults: readonly RequestedVault[];
  readonly ttlSeconds: number | undefined;
  /** Life of the agent's token; without it the token does not expire. */
  readonly tokenTtlSeconds: number | undefined;
}

export interface CreatedAgentInvite {
  /** Shown once. */
  readonly token: string;
  readonly agentName: string;
  readonly role: InstanceRole;
  readonly vaults: readonly AssignedVault[];
  readonly expiresAt: string;
}

export interface RedeemedAgent {
  readonly token: string;
  readonly name: string;
  readonly vaults: readonly AssignedVault[];
}

export class AgentInvites {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #agents: Agents;
  readonly #audit: Audit;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly agents: Agents;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#agents = options.agents;
    this.#audit = options.audit;
  }

  /**
   * @throws {InvalidInput} @throws {NotFound} for a vault. @throws {Forbidden} for what the caller cannot give.
   * @throws {Conflict} `name_taken`. @throws {RateLimited} beyond 100 open ones.
   */
  async create(actor: Actor, request: AgentInviteRequest): Promise<CreatedAgentInvite> {
    const name = request.name ? parseSlug(request.name, "Agent name") : "";
    const vaults = await parseAssignments(this.#database, actor, request.vaults, {
      defaultRole: "proxy",
      parseRole: parseVaultRole,
    });
    const role = parseInstanceRole(request.role || "member");
    if (role === "owner" && actor.role !== "owner") {
      throw new Forbidden("owner_required", "Only owners can invite owner agents");
    }
    const ttlSeconds = parseTtl("ttl_seconds", request.ttlSeconds, maxTtlSeconds) ?? maxTtlSeconds;
    const tokenTtlSeconds = parseTtl("session_ttl_seconds", request.tokenTtlSeconds, maxTokenTtlSeconds);
    if (name !== "" && (await findAgent(this.#database.db, name)) !== undefined) throw nameTaken(name);
    const invite = { name, role, vaults, ttlSeconds, tokenTtlSeconds, agentId: undefined };
    const { token, expiresAt } = await this.#insert(actor, invite);
    return { token, agentName: name, role, vaults, expiresAt };
  }

  /**
   * An invitation for an agent that exists: redeeming it replaces the agent's token. Until then the old one is good.
   * @throws {NotFound} @throws {Forbidden} unless the caller manages the agent. @throws {RateLimited}
   */
  async createRotation(actor: Actor, name: string, ttlSeconds: number | undefined): Promise<CreatedAgentInvite> {
    const agent = await this.#agents.findManaged(this.#database.db, actor, name);
    const role = agent.role as InstanceRole;
    const invite = {
      name: agent.name,
      role,
      vaults: [],
      ttlSeconds: parseTtl("ttl_seconds", ttlSeconds, maxTtlSeconds) ?? 900,
      tokenTtlSeconds: undefined,
      agentId: agent.id,
    };
    const { token, expiresAt } = await this.#insert(actor, invite);
    return { token, agentName: agent.name, role, vaults: [], expiresAt };
  }

  async #insert(
    actor: Actor,
    invite: {
      readonly name: string;
      readonly role: InstanceRole;
      readonly vaults: readonly AssignedVault[];
      readonly ttlSeconds: number;
      readonly tokenTtlSeconds: number | undefined;
      readonly agentId: string | undefined;
    },
  ): Promise<{ readonly token: string; readonly expiresAt: string }> {
    const token = mintToken("av_inv_");
    const nowMs = this.#clock.now();
    const now = new Date(nowMs).toISOString();
    const expiresAt = new Date(nowMs + invite.ttlSeconds * 1000).toISOString();
    const id = uuidv7(nowMs);
    await this.#changes.transaction(async (tx) => {
      await this.#database.lockVault(tx, "agent-invites");
      await requireRoom(tx, now);
      this.#audit.record(tx, actor, {
        action: "agent_invite.create",
        target: { type: "agent_invite", id, name: invite.name },
        after: {
          role: invite.role,
          vaults: invite.vaults.map(describeAssigned),
          expires_at: expiresAt,
          ...(invite.agentId !== undefined && { rotates: invite.agentId }),
        },
      });
      await tx
        .insertInto("agent_invites")
        .values({
          id,
          token_digest: tokenDigest(token),
          token_suffix: token.slice(-suffixLength),
          agent_name: invite.name,
          role: invite.role,
          status: "pending",
          vaults: JSON.stringify(invite.vaults),
          created_by_type: actor.kind,
          created_by_id: actor.id,
          created_at: now,
          expires_at: expiresAt,
          redeemed_at: null,
          session_ttl_seconds: invite.tokenTtlSeconds ?? null,
          agent_id: invite.agentId ?? null,
        })
        .execute();
    });
    return { token, expiresAt };
  }

  /** Newest first: all for owners, else one's own. */
  async page(actor: Actor, status: string | undefined, request?: PageRequest): Promise<Page<AgentInvite>> {
    const now = this.#now();
    const createdById = actor.role === "owner" ? undefined : actor.id;
    const page = await readAgentInvites(this.#database.db, { createdById, status: status || undefined, now }, request);
    return mapPage(page, (row) => describe(row, now));
  }

  /**
   * @param reference is the token, the last eight or more characters of it, or the id.
   * @throws {NotFound} unless it is open and the caller's own, or the caller an owner. @throws {Conflict} when two end alike.
   */
  async revoke(actor: Actor, reference: string): Promise<void> {
    const query = this.#database.db
      .selectFrom("agent_invites")
      .select(["id", "agent_name", "role"])
      .where("status", "=", "pending")
      .where("expires_at", ">", this.#now())
      .where((on) => {
        const isSuffix = /^[0-9a-f]{8,64}$/.test(reference);
        if (isSuffix) return on("token_suffix", "=", reference.slice(-suffixLength));
        return on.or([on("token_digest", "=", tokenDigest(reference)), on("id", "=", reference)]);
      });
    const found = await (actor.role === "owner" ? query : query.where("created_by_id", "=", actor.id)).execute();
    const [invite] = found;
    if (invite === undefined) throw inviteNotFound();
    if (found.length > 1) {
      throw new Conflict("ambiguous_invite", "Two open invitations end like that; name one by its id");
    }
    await this.#changes.transaction(async (tx) => {
      const revoked = await tx
        .updateTable("agent_invites")
        .set({ status: "revoked" })
        .where("id", "=", invite.id)
        .where("status", "=", "pending")
        .executeTakeFirst();
      // Of two at once, one; and nothing is left to revoke of what was redeemed meanwhile.
      if (revoked.numUpdatedRows === 0n) throw inviteNotFound();
      this.#audit.record(tx, actor, {
        action: "agent_invite.revoke",
        target: { type: "agent_invite", id: invite.id, name: invite.agent_name },
        before: { role: invite.role },
      });
    });
  }

  /**
   * Exchanges an invitation for the agent's own token, once. Vaults are given where the inviter could still give them.
   * @param name for an invitation without one.
   * @throws {NotFound} @throws {Gone} with the ending as its code. @throws {InvalidInput} `name_required`, `invalid_name`.
   * @throws {Conflict} `name_taken`; the invitation then stays open.
   */
  async redeem(token: string, name: string | undefined, caller: Caller): Promise<RedeemedAgent> {
    const row = await this.#findOpen(token);
    const agentName = row.agent_name || parseChosenName(name);
    const nowMs = this.#clock.now();
    return this.#changes
      .transaction(async (tx, announce) => {
        if (!(await claimAgentInvite(tx, row.id, this.#now()))) throw gone("redeemed");
        const ttlSeconds = row.session_ttl_seconds ?? undefined;
        // Whoever has the link redeems it: nobody has proved to be anybody.
        const by = anonymous(caller);
        const redeemed = {
          action: "agent_invite.redeem",
          target: { type: "agent_invite", id: row.id, name: row.agent_name },
        } as const;
        if (row.agent_id !== null) {
          const agentToRotate = await managedStill(tx, row.agent_id, row.created_by_id);
          if (agentToRotate === undefined) throw gone("revoked");
          announce({ kind: "actor", actorId: row.agent_id });
          const target = { type: "agent", id: row.agent_id, name: agentToRotate.name };
          this.#audit.record(tx, by, { ...redeemed, after: { agent_id: row.agent_id } });
          this.#audit.record(tx, by, {
            action: "agent.rotate",
            target,
            before: { status: agentToRotate.status },
            after: { status: "active" },
          });
          const rotated = await replaceAgentToken(tx, row.agent_id, { nowMs, ttlSeconds });
          return { token: rotated, name: agentToRotate.name, vaults: [] };
        }
        const vaults = await stillAssignable(tx, row.created_by_id, await existingVaults(tx, vaultsOf(row)));
        const createdBy = { type: row.created_by_type, id: row.created_by_id };
        const role = row.role as InstanceRole;
        const id = await insertAgent(tx, { name: agentName, role, vaults, createdBy, nowMs });
        announce({ kind: "actor", actorId: id });
        const grantee = { type: "agent", id, name: agentName } as const;
        this.#audit.record(tx, by, { ...redeemed, after: { agent_id: id } });
        this.#audit.record(tx, by, {
          action: "agent.create",
          target: grantee,
          after: { role, vaults: vaults.map(describeAssigned) },
        });
        const trail = { audit: this.#audit, tx, by, grantee };
        for (const { vaultId, vaultRole } of vaults) recordNewGrant(trail, { vaultId, role: vaultRole });
        return { token: await issueAgentToken(tx, id, { nowMs, ttlSeconds }), name: agentName, vaults };
      })
      .catch((error: unknown) => {
        if (this.#database.isUniqueViolation(error)) throw nameTaken(agentName);
        throw error;
      });
  }

  async #findOpen(token: string): Promise<AgentInviteRow> {
    const row = await this.#database.db
      .selectFrom("agent_invites")
      .selectAll()
      .where("token_digest", "=", tokenDigest(token))
      .executeTakeFirst();
    if (row === undefined) throw inviteNotFound();
    const { status } = describe(row, this.#now());
    if (status !== "pending") throw gone(status);
    return row;
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString();
  }
}

function describe(row: AgentInviteRow, now: string): AgentInvite {
  const isOverdue = row.status === "pending" && row.expires_at <= now;
  return {
    id: row.id,
    tokenSuffix: row.token_suffix,
    agentName: row.agent_name,
    role: row.role as InstanceRole,
    status: isOverdue ? "expired" : (row.status as AgentInviteStatus),
    isRotation: row.agent_id !== null,
    vaults: vaultsOf(row),
    createdBy: row.created_by_id ?? "",
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  };
}

function parseTtl(field: string, seconds: number | undefined, longest: number): number | undefined {
  if (seconds === undefined) return undefined;
  if (seconds >= minTtlSeconds && seconds <= longest) return seconds;
  throw new InvalidInput("invalid_ttl", `${field} must be between ${minTtlSeconds} and ${longest}`);
}

function parseChosenName(name: string | undefined): string {
  if (!name) throw new InvalidInput("name_required", "This invitation names no agent; choose a name in the field name");
  try {
    return parseSlug(name, "Agent name");
  } catch (error) {
    throw new InvalidInput("invalid_name", error instanceof Error ? error.message : "The name is not valid", {
      cause: error,
    });
  }
}

function inviteNotFound(): NotFound {
  return new NotFound("invite_not_found", "Invitation not found");
}

function gone(status: Exclude<AgentInviteStatus, "pending">): Gone {
  const sentences = {
    redeemed: "This invitation has already been redeemed",
    revoked: "This invitation has been revoked",
    expired: "This invitation has expired",
  };
  return new Gone(`invite_${status}`, sentences[status]);
}
