import type { Stage } from "./stage.ts";

/** Makes an agent with a grant on the default vault. @returns its token. */
export async function newAgent(stage: Stage, name: string): Promise<string> {
  const vaults = [{ vault_name: "default", vault_role: "proxy" }];
  const made = (await stage.server.api("POST", "/v1/agents", { name, vaults })) as { av_agent_token: string };
  return made.av_agent_token;
}
