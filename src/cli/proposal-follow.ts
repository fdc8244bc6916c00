/** Finding a proposal, as an agent or as a reviewer, and waiting for what becomes of it. */
import type { Client } from "../client/client.ts";
import type * as wire from "../client/wire.ts";
import { Conflict, UsageError } from "../errors.ts";
import type { CliContext } from "./command.ts";
import { asAnyone, asPerson, findAgent } from "./connect.ts";

export const proposalEnvironment = {
  AGENT_VAULT_ADDR: "Address of the server, with a token",
  AGENT_VAULT_TOKEN: "Token of an agent, instead of a login",
  AGENT_VAULT_VAULT: "Vault to use",
};
export const numberArgument = { type: "positional", description: "Number of the proposal" } as const;
/** `--wait` and its limit. */
export const waitFlags = {
  wait: { type: "boolean", description: "Wait until somebody has decided; exit code 0 means applied" },
  timeout: { type: "string", valueHint: "int", default: "600", description: "Seconds to wait at most" },
} as const;
/** One request of a wait; the server answers earlier when there is something to say. */
const waitSeconds = 25;

/** An agent reads it as an agent; anybody else as a reviewer. */
export function fetchProposal(
  context: CliContext,
  vault: string,
  number: string,
  wait?: number,
): Promise<wire.Proposal> {
  const isAgent = findAgent(context) !== undefined;
  return asAnyone(
    context,
    {},
    (client): Promise<wire.Proposal> =>
      isAgent ? client.ownProposal(vault, number, wait) : client.proposal(vault, number, wait),
  );
}

/** Until it is not pending any more. @throws {Conflict} `still_pending`, when the time is over. */
export async function waitFor(
  context: CliContext,
  vault: string,
  number: string,
  timeoutSeconds: number,
  fetchOne: (wait: number) => Promise<wire.Proposal> = (wait) => fetchProposal(context, vault, number, wait),
): Promise<wire.Proposal> {
  const endsAtMs = Date.now() + timeoutSeconds * 1000;
  for (;;) {
    const leftSeconds = Math.ceil((endsAtMs - Date.now()) / 1000);
    const askedAtMs = Date.now();
    const proposal = await fetchOne(Math.max(1, Math.min(waitSeconds, leftSeconds)));
    if (proposal.status !== "pending") return proposal;
    if (Date.now() >= endsAtMs) {
      throw new Conflict("still_pending", `Nobody has decided about proposal ${number} within ${timeoutSeconds} s`, {
        hint: `agent-vault vault proposal get ${number} --wait`,
      });
    }
    // A server that does not know how to wait answers at once.
    if (Date.now() - askedAtMs < 500) await new Promise((resolve) => setTimeout(resolve, 3_000));
  }
}

/** Success only when what was asked for is there. */
export function exitCodeOf(proposal: wire.Proposal): number {
  return proposal.status === "applied" ? 0 : 1;
}

export function readNumber(text: string): string {
  const digits = text.replace(/^#/, "");
  if (/^\d{1,10}$/.test(digits)) return String(Number(digits));
  throw new UsageError("bad_proposal_number", `"${text}" is not the number of a proposal`, {
    hint: "agent-vault vault proposal list",
  });
}

export function readTimeout(text: string): number {
  const seconds = Number(text);
  if (seconds >= 1 && seconds <= 86_400) return seconds;
  throw new UsageError("bad_timeout", `--timeout cannot be ${text}`, { hint: "give --timeout 1 to 86400 seconds" });
}

/** Runs `work` with a token of the vault: the agent's, or one made for the occasion from a person's login. */
export async function withVaultToken<T>(
  context: CliContext,
  vault: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  if (findAgent(context)) return asAnyone(context, {}, work);
  return asPerson(context, {}, async (client) => {
    const { token } = await client.createScopedSession({ vault, ttl_seconds: 300, label: "proposal create" });
    return work(client.withToken(token));
  });
}
