import type { Migration } from "./migrations.ts";

/** Invitations of agents: how long the token lives, and which agent gets a new one. */
export const accounts: Migration = {
  name: "0003-accounts",
  statements: ({ text, integer }) => [
    `alter table agent_invites add column session_ttl_seconds ${integer}`,
    `alter table agent_invites add column agent_id ${text} references agents (id) on delete cascade`,
    `create index agent_invites_by_agent on agent_invites (agent_id) where agent_id is not null`,
  ],
};
