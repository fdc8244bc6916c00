/**
 * Invitations of agents. They are managed under a path of their own: `/v1/agents/invites` is the agent of that name. An
 * agent redeems its link by a bare POST, as agents were told to by the versions that had it first.
 */
import type { Access } from "../../domain/actors/access.ts";
import type { AgentInvites, CreatedAgentInvite, RedeemedAgent } from "../../domain/actors/agent-invite.ts";
import { AppError } from "../../errors.ts";
import { json, secretJson, text, wireTime } from "../answer.ts";
import { createAgentInvite, listAgentInvites, redeemAgentInvite, revokeAgentInvite } from "../contracts/agents.ts";
import { nextCursor, parsePage } from "../page.ts";
import { type ApiRequest, type ApiRouter, callerOf } from "../router.ts";
import { requireText } from "./agents.ts";
import { readVaults } from "./invites.ts";
import { formatGrant } from "./users.ts";

export interface AgentInviteDependencies {
  readonly access: Access;
  readonly agentInvites: AgentInvites;
  readonly baseUrl: string;
}

export function registerAgentInviteRoutes(
  router: ApiRouter,
  { access, agentInvites, baseUrl }: AgentInviteDependencies,
): void {
  const answerCreated = (invite: CreatedAgentInvite) =>
    secretJson(
      {
        token: invite.token,
        agent_name: invite.agentName,
        role: invite.role,
        vaults: invite.vaults.map(formatGrant),
        invite_link: `${baseUrl}/invite/${invite.token}`,
        expires_at: wireTime(invite.expiresAt),
      },
      { status: 201 },
    );

  router.on(createAgentInvite, async (request) => {
    const actor = access.instanceMember(request.principal);
    const body = await request.body();
    if (body.rotate) {
      const name = requireText(body, "name");
      return answerCreated(await agentInvites.createRotation(actor, name, body.ttl_seconds));
    }
    const invite = await agentInvites.create(actor, {
      name: body.name,
      role: body.role,
      vaults: readVaults(body),
      ttlSeconds: body.ttl_seconds,
      tokenTtlSeconds: body.session_ttl_seconds,
    });
    return answerCreated(invite);
  });

  router.on(listAgentInvites, async (request) => {
    const actor = access.instanceMember(request.principal);
    const wanted = parsePage(request);
    const page = await agentInvites.page(actor, request.query("status"), wanted);
    return json({
      invites: page.items.map((invite) => ({
        id: invite.id,
        token_suffix: invite.tokenSuffix,
        agent_name: invite.agentName,
        role: invite.role,
        status: invite.status,
        rotation: invite.isRotation,
        vaults: invite.vaults.map(formatGrant),
        created_by: invite.createdBy,
        created_at: wireTime(invite.createdAt),
        expires_at: wireTime(invite.expiresAt),
      })),
      ...nextCursor(wanted, page),
    });
  });

  router.on(revokeAgentInvite, async (request) => {
    await agentInvites.revoke(access.instanceMember(request.principal), request.params.token);
    return json({ message: "Invite revoked" });
  });

  router.on(redeemAgentInvite, async (request) => {
    const token = request.params.token;
    // The invitations of people are pages; only those of agents take a POST.
    if (!token.startsWith("av_inv_")) {
      return text("Method Not Allowed", { status: 405, headers: { allow: "GET, HEAD" } });
    }
    try {
      return answerRedeemed(await agentInvites.redeem(token, await readName(request), callerOf(request)), baseUrl);
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error;
      return json({ error: error.code, message: error.message }, { status: error.status });
    }
  });
}

function answerRedeemed({ token, name, vaults }: RedeemedAgent, baseUrl: string): Response {
  const vault = vaults[0]?.vaultName ?? "VAULT";
  return secretJson({
    av_addr: baseUrl,
    av_agent_token: token,
    agent_name: name,
    vaults: vaults.map(formatGrant),
    instructions: [
      "Keep av_agent_token to yourself: it is shown only now. Set AGENT_VAULT_ADDR to av_addr, AGENT_VAULT_TOKEN to",
      `av_agent_token and AGENT_VAULT_VAULT to the vault (${vault}), then start programs with: agent-vault run -- COMMAND`,
    ].join(" "),
  });
}

/** Agents were told to send `{}`, and some send nothing. */
async function readName(request: ApiRequest<{ readonly name: string | undefined }>): Promise<string | undefined> {
  try {
    return (await request.body()).name;
  } catch {
    return undefined; // an invitation with a name needs none, and one without says what is missing
  }
}
