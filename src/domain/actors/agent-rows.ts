/** The rows of agents: found, written and given a token here; who may do what is in agent.ts and agent-invite.ts. */
import type { Transaction } from "kysely";
import { mintToken, randomHex, tokenDigest, uuidv7 } from "../../crypto/token.ts";
import { Conflict, NotFound } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import { revokeInvitesOf } from "./invite-rows.ts";
import type { AssignedVault } from "./preassignment.ts";
import type { InstanceRole } from "./principal.ts";
import { insertSession } from "./session-rows.ts";

type Reader = Pick<Transaction<Schema>, "selectFrom">;

export interface NewAgent {
  readonly name: string;
  readonly role: InstanceRole;
  readonly vaults: readonly AssignedVault[];
  readonly createdBy: { readonly type: string | null; readonly id: string | null };
  readonly nowMs: number;
}

/** @returns its id. @throws {Conflict} `name_taken`; of two at once the index refuses one. */
export async function insertAgent(tx: Transaction<Schema>, agent: NewAgent): Promise<string> {
  if ((await findAgent(tx, agent.name)) !== undefined) throw nameTaken(agent.name);
  const id = uuidv7(agent.nowMs);
  const now = new Date(agent.nowMs).toISOString();
  await tx
    .insertInto("agents")
    .values({
      id,
      name: agent.name,
      role: agent.role,
      status: "active",
      created_by_type: agent.createdBy.type,
      created_by_id: agent.createdBy.id,
      created_at: now,
      updated_at: now,
      revoked_at: null,
    })
    .execute();
  if (agent.vaults.length > 0) {
    const grants = agent.vaults.map(({ vaultId, vaultRole }) => ({
      id: uuidv7(agent.nowMs),
      vault_id: vaultId,
      user_id: null,
      agent_id: id,
      role: vaultRole,
      created_at: now,
    }));
    await tx.insertInto("vault_grants").values(grants).execute();
  }
  return id;
}

/** The old token of an agent ends, a new one begins, and a revoked agent comes back to life. @returns the token. */
export async function replaceAgentToken(
  tx: Transaction<Schema>,
  agentId: string,
  token: { readonly nowMs: number; readonly ttlSeconds?: number | undefined },
): Promise<string> {
  // The row first: of several at once, each waits here for the one before, and then sees the token that it has to end.
  await tx
    .updateTable("agents")
    .set({ status: "active", revoked_at: null, updated_at: new Date(token.nowMs).toISOString() })
    .where("id", "=", agentId)
    .execute();
  await tx.deleteFrom("sessions").where("agent_id", "=", agentId).execute();
  return issueAgentToken(tx, agentId, token);
}

/** @returns the token, shown once. Without `ttlSeconds` it does not expire. */
export async function issueAgentToken(
  tx: Transaction<Schema>,
  agentId: string,
  { nowMs, ttlSeconds }: { readonly nowMs: number; readonly ttlSeconds?: number | undefined },
): Promise<string> {
  const token = mintToken("av_agt_");
  await insertSession(tx, {
    digest: tokenDigest(token),
    public_id: randomHex(10),
    kind: "agent",
    agent_id: agentId,
    expires_at: ttlSeconds === undefined ? null : new Date(nowMs + ttlSeconds * 1000).toISOString(),
    created_at: new Date(nowMs).toISOString(),
  });
  return token;
}

export async function findAgent(db: Reader, name: string) {
  return db
    .selectFrom("agents")
    .select(["id", "name", "role", "status", "created_by_id"])
    .where("name", "=", name)
    .executeTakeFirst();
}

/** Its tokens, those it minted, and the invitations it has open. @returns how many invitations those were. */
export async function endTokens(tx: Transaction<Schema>, agentId: string): Promise<number> {
  await tx
    .deleteFrom("sessions")
    .where((on) => on.or([on("agent_id", "=", agentId), on("created_by_agent_id", "=", agentId)]))
    .execute();
  return revokeInvitesOf(tx, agentId);
}

export function agentNotFound(name: string): NotFound {
  return new NotFound("agent_not_found", `Agent "${name}" not found`);
}

export function nameTaken(name: string): Conflict {
  return new Conflict("name_taken", `Agent name "${name}" is already in use`);
}
