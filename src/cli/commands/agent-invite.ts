import type { CreatedAgentInvite } from "../../client/wire.ts";
import { parseDuration } from "../../config/variables.ts";
import { UsageError } from "../../errors.ts";
import { addressFlag, type CliContext, command, jsonFlag } from "../command.ts";
import { asPerson } from "../connect.ts";
import { formatTime, note, printable, printJson, printTable, success } from "../output.ts";
import { instanceRoles, parseVaultGrants } from "../roles.ts";

/** Commands of `agent invite`, and what `agent rotate --invite` shares with it. */

export const inviteTtlFlag = {
  type: "string",
  valueHint: "duration",
  shownDefault: "15m",
  description: "How long the invitation may be redeemed, at most 168h",
} as const;

export const inviteTokenOnlyFlag = {
  type: "boolean",
  description: "Print the invitation's token alone, without a line end",
} as const;

const list = command({
  meta: { name: "list", description: "List invitations of agents, newest first" },
  args: {
    status: {
      type: "string",
      options: ["pending", "redeemed", "expired", "revoked"],
      description: "Only those in this state",
    },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.listAgentInvites(args.status));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["TOKEN", "AGENT", "ROLE", "STATUS", "VAULTS", "CREATED", "EXPIRES"],
      rows: (answer.invites ?? []).map((invite) => [
        `…${invite.token_suffix}`,
        invite.agent_name || "-",
        invite.rotation ? "(new token)" : invite.role,
        invite.status,
        (invite.vaults ?? []).map((grant) => `${grant.vault_name}:${grant.vault_role}`).join(", ") || "-",
        formatTime(invite.created_at),
        formatTime(invite.expires_at),
      ]),
      empty: "There are no invitations of agents.",
    });
  },
});

const revoke = command({
  meta: { name: "revoke", description: "Take an invitation of an agent back" },
  args: {
    token_suffix: { type: "positional", description: "The invitation's token, or the last eight characters of it" },
  },
  async run({ args, context }) {
    const token = args.token_suffix.replace(/^.*\//, "").replace(/^(…|\.{3})/, "");
    await asPerson(context, {}, (client) => client.revokeAgentInvite(token));
    success(context.terminal, "Invitation revoked");
  },
});

export const agentInviteCommand = command({
  meta: {
    name: "invite",
    description: "Invite an agent: it exchanges the invitation for a token of its own",
    examples: ["agent-vault agent invite reporter --vault billing"],
  },
  args: {
    name: { type: "positional", description: "Name of the new agent" },
    role: { type: "string", options: instanceRoles, default: "member", description: "Role on the server" },
    vault: {
      type: "string",
      repeatable: true,
      description: "Vault to let it into, NAME or NAME:ROLE; the role is proxy when absent",
    },
    "invite-ttl": inviteTtlFlag,
    "token-only": inviteTokenOnlyFlag,
    address: addressFlag,
    json: jsonFlag,
  },
  subCommands: { list: async () => list, revoke: async () => revoke },
  async run({ args, context }) {
    const vaults = parseVaultGrants(args.vault, { roles: ["proxy", "member", "admin"], fallback: "proxy" });
    const ttl = readInviteTtl(args["invite-ttl"]);
    const invite = await asPerson(context, { address: args.address }, (client) =>
      client.inviteAgent({ name: args.name, role: args.role, vaults, ttl_seconds: ttl }),
    );
    if (args.json) return printJson(context.terminal, invite);
    if (args["token-only"]) return context.terminal.outValue(invite.token);
    showAgentInvite(context, invite);
  },
});

/** Whole seconds. @throws {UsageError} */
export function readInviteTtl(text = "15m"): number {
  const milliseconds = parseDuration(text);
  if (milliseconds !== undefined && milliseconds >= 60_000) return Math.floor(milliseconds / 1000);
  throw new UsageError("bad_invite_ttl", `--invite-ttl cannot be "${text}"`, {
    hint: "a duration of at least a minute, such as 15m or 24h",
  });
}

/** What to paste into the agent's prompt. */
export function showAgentInvite({ terminal }: CliContext, invite: CreatedAgentInvite): void {
  const name = printable(invite.agent_name);
  success(terminal, `The agent "${name}" is invited, until ${formatTime(invite.expires_at)}`);
  note(terminal, "Give this to the agent; the invitation works once and is shown only now:");
  terminal.out(
    [
      `You are the agent "${name}" of an Agent Vault server. Get your token by this request, once:`,
      "",
      `  curl -X POST -H "Content-Type: application/json" -d "{}" ${printable(invite.invite_link)}`,
      "",
      "The answer holds av_agent_token, and instructions on how to use it. Keep the token to yourself.",
      "",
    ].join("\n"),
  );
}
