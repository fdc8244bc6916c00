/** Agents (spec of accounts, 6.6). */
import type { Access } from "../../domain/actors/access.ts";
import type { Agent, Agents } from "../../domain/actors/agent.ts";
import { parseInstanceRole } from "../../domain/actors/roles.ts";
import { InvalidInput } from "../../errors.ts";
import { json, secretJson, wireTime } from "../answer.ts";
import {
  createAgent,
  deleteAgent,
  getAgent,
  listAgents,
  renameAgent,
  revokeAgent,
  rotateAgent,
  setAgentRole,
} from "../contracts/agents.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRouter } from "../router.ts";
import { readVaults } from "./invites.ts";
import { formatGrant } from "./users.ts";

export interface AgentDependencies {
  readonly access: Access;
  readonly agents: Agents;
}

export function registerAgentRoutes(router: ApiRouter, { access, agents }: AgentDependencies): void {
  router.on(createAgent, async (request) => {
    const actor = access.instanceMember(request.principal);
    const body = await request.body();
    const agent = await agents.create(actor, {
      name: requireText(body, "name"),
      role: body.role,
      vaults: readVaults(body),
    });
    return secretJson(
      {
        av_agent_token: agent.token,
        name: agent.name,
        role: agent.role,
        vaults: agent.vaults.map(formatGrant),
        created_at: wireTime(agent.createdAt),
      },
      { status: 201 },
    );
  });

  router.on(listAgents, async (request) => {
    const actor = access.instanceMember(request.principal);
    const wanted = parsePage(request);
    const page = await agents.page(actor, wanted);
    return json({ agents: page.items.map(formatListed), ...nextCursor(wanted, page) });
  });

  router.on(getAgent, async (request) => {
    const agent = await agents.get(access.instanceMember(request.principal), request.params.name);
    return json({
      name: agent.name,
      role: agent.role,
      status: agent.status,
      vaults: agent.vaults.map(formatGrant),
      created_by: agent.createdBy,
      created_at: wireTime(agent.createdAt),
      updated_at: wireTime(agent.updatedAt),
      ...(agent.revokedAt && { revoked_at: wireTime(agent.revokedAt) }),
      active_tokens: agent.activeTokens,
      ...(agent.tokenExpiresAt && { token_expires_at: wireTime(agent.tokenExpiresAt) }),
    });
  });

  router.on(revokeAgent, async (request) => {
    const name = request.params.name;
    await agents.revoke(access.instanceMember(request.principal), name);
    return json({ message: `Agent "${name}" revoked` });
  });

  router.on(deleteAgent, async (request) => {
    const name = request.params.name;
    await agents.delete(access.instanceMember(request.principal), name);
    return json({ message: `Agent "${name}" deleted` });
  });

  router.on(rotateAgent, async (request) => {
    const name = request.params.name;
    const { token, rotatedAt } = await agents.rotate(access.instanceMember(request.principal), name);
    return secretJson({ av_agent_token: token, name, rotated_at: wireTime(rotatedAt) });
  });

  router.on(renameAgent, async (request) => {
    const oldName = request.params.name;
    const actor = access.instanceMember(request.principal);
    const newName = await agents.rename(actor, oldName, async () => requireText(await request.body(), "name"));
    return json({ message: `Agent renamed to "${newName}"`, old_name: oldName, new_name: newName });
  });

  router.on(setAgentRole, async (request) => {
    const owner = access.owner(request.principal);
    const name = request.params.name;
    const role = parseInstanceRole(requireText(await request.body(), "role"));
    const oldRole = await agents.setRole(owner, name, role);
    return json({ agent: name, old_role: oldRole, new_role: role });
  });
}

function formatListed(agent: Agent): object {
  return {
    name: agent.name,
    role: agent.role,
    status: agent.status,
    vaults: agent.vaults.map(formatGrant),
    created_at: wireTime(agent.createdAt),
    ...(agent.revokedAt && { revoked_at: wireTime(agent.revokedAt) }),
    ...(agent.tokenExpiresAt && { token_expires_at: wireTime(agent.tokenExpiresAt) }),
  };
}

/** @throws {InvalidInput} when the field is missing or empty. */
export function requireText<Name extends string>(body: Readonly<Record<Name, string | undefined>>, name: Name): string {
  const value = body[name] ?? "";
  if (value === "") throw new InvalidInput("missing_field", `${name} is required`);
  return value;
}
