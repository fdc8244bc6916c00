/** Contracts of agents and their invitations (spec of accounts, 6.6 and 13). */
import { body, boolean, integer, needed, string } from "../openapi/body.ts";
import { answer, authed, open, pageQuery, param } from "../openapi/contract.ts";
import { choice, flag, listOf, maybe, named, shape, text, time, uuid, whole } from "../openapi/schema.ts";
import { grant, instanceRole, message, nextCursor, slug, vaultRole, vaultsField } from "./common.ts";

const member = { area: "Agents", who: "instance-member" } as const;
const managed = ["agent_not_found", "owner_required", "agent_creator_required"] as const;
const gives = ["invalid_role", "owner_required", "vault_not_found", "vault_admin_required", "duplicate_vault"] as const;

const listed = {
  name: text(),
  role: instanceRole,
  status: choice(["active", "revoked"]),
  vaults: listOf(grant),
  created_at: time(),
  revoked_at: maybe(time()),
  token_expires_at: maybe(time("Absent when it never does, or when there is no token")),
};

export const createAgent = authed({
  ...member,
  method: "POST",
  path: "/v1/agents",
  operation: "createAgent",
  does: "Create an agent",
  body: body({
    name: needed(string(slug("Name of the agent"))),
    role: string(instanceRole),
    vaults: vaultsField(vaultRole),
  }),
  answers: {
    201: answer(
      shape({
        av_agent_token: text("The token of the agent, shown only now"),
        name: text(),
        role: instanceRole,
        vaults: listOf(grant),
        created_at: time(),
      }),
      "Created",
    ),
  },
  errors: ["missing_field", "invalid_name", ...gives, "too_many_vaults", "name_taken"],
});

export const listAgents = authed({
  ...member,
  method: "GET",
  path: "/v1/agents",
  operation: "listAgents",
  does: "List agents by name",
  notes: "Owners see all, others those that they made and those in a vault of theirs.",
  query: pageQuery,
  answers: { 200: answer(shape({ agents: listOf(named("Agent", shape(listed))), next_cursor: nextCursor })) },
});

export const getAgent = authed({
  ...member,
  method: "GET",
  path: "/v1/agents/{name}",
  operation: "getAgent",
  does: "Show an agent",
  answers: {
    200: answer(
      shape({
        ...listed,
        created_by: text("Id of whoever created it"),
        updated_at: time(),
        active_tokens: whole("How many tokens of it work"),
      }),
    ),
  },
  errors: ["agent_not_found"],
});

export const revokeAgent = authed({
  ...member,
  method: "DELETE",
  path: "/v1/agents/{name}",
  operation: "revokeAgent",
  does: "Revoke an agent: its tokens stop working, its grants stay",
  answers: { 200: answer(message) },
  errors: [...managed, "agent_revoked", "last_owner"],
});

export const deleteAgent = authed({
  ...member,
  method: "POST",
  path: "/v1/agents/{name}/delete",
  operation: "deleteAgent",
  does: "Delete an agent with its tokens and grants",
  answers: { 200: answer(message) },
  errors: [...managed, "last_owner"],
});

export const rotateAgent = authed({
  ...member,
  method: "POST",
  path: "/v1/agents/{name}/rotate",
  operation: "rotateAgent",
  does: "Give an agent a new token; the old one stops working at once",
  notes: "An agent that was revoked is active again.",
  answers: {
    200: answer(
      shape({ av_agent_token: text("The token of the agent, shown only now"), name: text(), rotated_at: time() }),
    ),
  },
  errors: managed,
});

export const renameAgent = authed({
  ...member,
  method: "POST",
  path: "/v1/agents/{name}/rename",
  operation: "renameAgent",
  does: "Rename an agent",
  body: body({ name: needed(string(slug("The new name"))) }),
  answers: { 200: answer(shape({ message: text(), old_name: text(), new_name: text() })) },
  errors: [...managed, "missing_field", "invalid_name", "name_taken"],
});

export const setAgentRole = authed({
  area: "Agents",
  who: "owner",
  method: "POST",
  path: "/v1/agents/{name}/role",
  operation: "setAgentRole",
  does: "Give an agent another role in the instance",
  body: body({ role: needed(string(instanceRole)) }),
  answers: { 200: answer(shape({ agent: text(), old_role: instanceRole, new_role: instanceRole })) },
  errors: ["missing_field", "invalid_role", "agent_not_found", "agent_revoked", "last_owner"],
});

export const createAgentInvite = authed({
  ...member,
  method: "POST",
  path: "/v1/agent-invites",
  operation: "createAgentInvite",
  does: "Make a link that an agent exchanges for its own token",
  notes: "With `rotate` it gives a new token to the agent `name`, which exists.",
  body: body({
    name: string(slug("Name of the agent; without one it chooses")),
    role: string(instanceRole),
    vaults: vaultsField(vaultRole),
    rotate: boolean("A new token for an agent that exists"),
    ttl_seconds: integer(whole("How long the link works", { minimum: 60, maximum: 604_800 })),
    session_ttl_seconds: integer(
      whole("How long the agent's token works; for ever without it", { minimum: 60, maximum: 31_536_000 }),
    ),
  }),
  answers: {
    201: answer(
      shape({
        token: text("The token of the link, shown only now"),
        agent_name: text(),
        role: instanceRole,
        vaults: listOf(grant),
        invite_link: text("For the agent, shown only now", { format: "uri" }),
        expires_at: time(),
      }),
      "Created",
    ),
  },
  errors: [
    "missing_field",
    "invalid_name",
    "invalid_ttl",
    ...gives,
    "too_many_vaults",
    "name_taken",
    "agent_not_found",
    "agent_creator_required",
    "too_many_invites",
  ],
});

export const listAgentInvites = authed({
  ...member,
  method: "GET",
  path: "/v1/agent-invites",
  operation: "listAgentInvites",
  does: "List the links that are made for agents",
  query: { ...pageQuery, status: param(text("`pending`, `redeemed`, `revoked` or `expired`")) },
  answers: {
    200: answer(
      shape({
        invites: listOf(
          named(
            "AgentInvite",
            shape({
              id: uuid(),
              token_suffix: text("The end of the link's token"),
              agent_name: text(),
              role: instanceRole,
              status: choice(["pending", "redeemed", "revoked", "expired"]),
              rotation: flag("It gives a new token to an agent that exists"),
              vaults: listOf(grant),
              created_by: text("Whoever made it"),
              created_at: time(),
              expires_at: time(),
            }),
          ),
        ),
        next_cursor: nextCursor,
      }),
    ),
  },
});

export const revokeAgentInvite = authed({
  ...member,
  method: "DELETE",
  path: "/v1/agent-invites/{token}",
  operation: "revokeAgentInvite",
  does: "Revoke a link for an agent",
  params: { token: text("The id of the invitation, its token, or the end of it") },
  answers: { 200: answer(message) },
  errors: ["invite_not_found", "ambiguous_invite"],
});

export const redeemAgentInvite = open({
  area: "Agents",
  tier: "auth-token",
  method: "POST",
  path: "/invite/{token}",
  operation: "redeemAgentInvite",
  does: "Exchange a link for the token of an agent",
  notes: "Called by the agent itself, with the address that it was given. It works once.",
  params: { token: text("The token of the link; it begins with `av_inv_`") },
  body: body({ name: string(slug("The name that the agent chooses, where the link has none")) }),
  answers: {
    200: answer(
      shape({
        av_addr: text("Address of this server", { format: "uri" }),
        av_agent_token: text("The token of the agent, shown only now"),
        agent_name: text(),
        vaults: listOf(grant),
        instructions: text("What to do with it"),
      }),
      "Redeemed",
    ),
    405: { description: "The token is not that of an agent's link", content: { "text/plain": text() } },
  },
  errors: [
    "invite_not_found",
    "invite_redeemed",
    "invite_revoked",
    "invite_expired",
    "name_required",
    "invalid_name",
    "name_taken",
  ],
  hasBrokerErrors: true,
});
