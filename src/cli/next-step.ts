/** What would help where a server only says what is wrong: the command that shows more, or that would work. */

const steps: Readonly<Record<string, string>> = {
  actor_required: "this token is for one vault; use a login, or the token of an agent",
  agent_not_found: "agent-vault agent list",
  agent_revoked: "agent-vault agent rotate NAME brings it back",
  already_member: "agent-vault vault user set-role, or agent-vault vault agent set-role",
  credential_not_found: "agent-vault vault credential list",
  grant_not_found: "agent-vault vault user list, or agent-vault vault agent list",
  invalid_session: "agent-vault auth login",
  invite_not_found: "agent-vault user invite list",
  invite_not_pending: "agent-vault user invite list",
  invite_only: "agent-vault user invite EMAIL, by an owner or a member",
  invite_pending: "agent-vault user invite list",
  last_admin: "agent-vault vault user set-role EMAIL --role admin, for somebody else first",
  last_owner: "agent-vault owner user set-role EMAIL --role owner, for somebody else first",
  no_vault_access: "agent-vault vault user add EMAIL, by an admin of the vault; owners: agent-vault owner vault join",
  not_initialised: "agent-vault auth register",
  owner_required: "agent-vault user list says who is an owner",
  service_not_found: "agent-vault vault service list --table",
  session_not_found: "agent-vault auth sessions list, or agent-vault vault token list",
  user_exists: "agent-vault auth login",
  user_not_found: "agent-vault user list",
  vault_admin_required: "agent-vault vault user list says who is an admin",
  vault_exists: "agent-vault vault use NAME",
  vault_not_found: "agent-vault vault list",
};

/** By the code of an error. */
export function nextStep(code: string): string | undefined {
  return Object.hasOwn(steps, code) ? steps[code] : undefined;
}

export const errorsWithNextStep: readonly string[] = Object.keys(steps);
