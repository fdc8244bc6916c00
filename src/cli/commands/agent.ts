import type { Client } from "../../client/client.ts";
import type { VaultGrant } from "../../client/wire.ts";
import { offerCopy } from "../clipboard.ts";
import { addressFlag, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm, confirmIfAsked } from "../confirm.ts";
import { asPerson } from "../connect.ts";
import { formatTime, printFacts, printJson, printTable, statusStyle, success } from "../output.ts";
import { instanceRoles, parseVaultGrants, requireRole } from "../roles.ts";
import { agentInviteCommand, inviteTtlFlag, readInviteTtl, showAgentInvite } from "./agent-invite.ts";

const name = { type: "positional", completes: "agent", description: "Name of the agent" } as const;
const noCopy = { type: "boolean", description: "Leave the clipboard alone" } as const;
const tokenOnly = { type: "boolean", description: "Print the token alone, without a line end" } as const;

const create = command({
  meta: {
    name: "create",
    description: "Create an agent and print its token, once",
    examples: [
      "agent-vault agent create reporter --vault billing",
      "agent-vault agent create reporter --vault billing --token-only",
    ],
  },
  args: {
    name: { type: "positional", description: "Name of the agent" },
    role: { type: "string", options: instanceRoles, default: "no-access", description: "Role on the server" },
    vault: {
      type: "string",
      repeatable: true,
      completes: "vault",
      description: "Vault to let it into, NAME or NAME:ROLE; the role is proxy when absent",
    },
    "token-only": tokenOnly,
    "no-copy": noCopy,
    address: addressFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vaults = parseVaultGrants(args.vault, { roles: ["proxy", "member", "admin"], fallback: "proxy" });
    const { agent, address } = await asPerson(context, { address: args.address }, async (client: Client) => ({
      agent: await client.createAgent({ name: args.name, role: args.role, vaults }),
      address: client.address,
    }));
    if (args.json) return printJson(context.terminal, agent);
    if (args["token-only"]) return context.terminal.outValue(agent.av_agent_token);
    success(context.terminal, `Agent "${agent.name}" created`);
    printFacts(context.terminal, [
      ["Role", agent.role ?? args.role],
      ["Vaults", formatGrants(agent.vaults ?? vaults)],
      ["Token", agent.av_agent_token],
    ]);
    const first = vaults[0]?.vault_name;
    if (!args["no-copy"]) await offerCopy(context, "the token", agent.av_agent_token);
    const variables = `AGENT_VAULT_ADDR=${address} AGENT_VAULT_TOKEN=${agent.av_agent_token} AGENT_VAULT_VAULT=${first ?? "VAULT"}`;
    context.terminal.out(
      `\nThe token is shown only now. To run a command as this agent:\n  ${variables} agent-vault run -- <command>\n`,
    );
    if (vaults.length > 1) {
      context.terminal.out(`It may use ${vaults.length} vaults: name another one in AGENT_VAULT_VAULT.\n`);
    }
  },
});

const list = command({
  meta: { name: "list", description: "List agents" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.listAgents());
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["NAME", "ROLE", "STATUS", "VAULTS", "CREATED"],
      rows: (answer.agents ?? []).map((agent) => [
        agent.name,
        agent.role,
        agent.status,
        formatGrants(agent.vaults),
        formatTime(agent.created_at),
      ]),
      styleOf: statusStyle,
      empty: "There are no agents.",
    });
  },
});

const info = command({
  meta: { name: "info", description: "Show an agent" },
  args: { name, json: jsonFlag },
  async run({ args, context }) {
    const agent = await asPerson(context, {}, (client) => client.agent(args.name));
    if (args.json) return printJson(context.terminal, agent);
    printFacts(context.terminal, [
      ["Name", agent.name],
      ["Role", agent.role],
      ["Status", agent.status],
      ["Vaults", formatGrants(agent.vaults)],
      ["Active tokens", String(agent.active_tokens ?? 0)],
      ["Created", formatTime(agent.created_at)],
      ["Updated", formatTime(agent.updated_at)],
      ...(agent.revoked_at ? [["Revoked", formatTime(agent.revoked_at)] as const] : []),
    ]);
  },
});

const revoke = command({
  meta: { name: "revoke", description: "End an agent's token and keep the agent; rotate brings it back" },
  args: { name, yes: yesFlag },
  async run({ args, context }) {
    if (!(await confirm(context, `Revoke the agent "${args.name}"?`, args.yes))) return;
    await asPerson(context, {}, (client) => client.revokeAgent(args.name));
    success(context.terminal, `Agent "${args.name}" revoked`);
  },
});

const remove = command({
  meta: { name: "delete", description: "Delete an agent for good" },
  args: { name, yes: yesFlag },
  async run({ args, context }) {
    if (!(await confirm(context, `Delete the agent "${args.name}" for good?`, args.yes))) return;
    await asPerson(context, {}, (client) => client.deleteAgent(args.name));
    success(context.terminal, `Agent "${args.name}" deleted`);
  },
});

const rotate = command({
  meta: { name: "rotate", description: "Give an agent a new token; the old one ends at once" },
  args: {
    name,
    invite: { type: "boolean", description: "Give an invitation instead; the old token ends when it is redeemed" },
    "invite-ttl": inviteTtlFlag,
    "token-only": tokenOnly,
    "no-copy": noCopy,
    yes: yesFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    if (args.invite) {
      const body = { name: args.name, rotate: true, ttl_seconds: readInviteTtl(args["invite-ttl"]) };
      const invite = await asPerson(context, {}, (client) => client.inviteAgent(body));
      if (args.json) return printJson(context.terminal, invite);
      if (args["token-only"]) return context.terminal.outValue(invite.token);
      return showAgentInvite(context, invite);
    }
    // Scripts ask for the token alone, and nobody is there to answer.
    const question = `Replace the token of the agent "${args.name}"? The old one ends at once.`;
    if (!(await confirmIfAsked(context, question, args.yes || args["token-only"]))) return;
    const agent = await asPerson(context, {}, (client) => client.rotateAgent(args.name));
    if (args.json) return printJson(context.terminal, agent);
    if (args["token-only"]) return context.terminal.outValue(agent.av_agent_token);
    success(context.terminal, `Agent "${args.name}" has a new token, shown only now`);
    printFacts(context.terminal, [["Token", agent.av_agent_token]]);
    if (!args["no-copy"]) await offerCopy(context, "the token", agent.av_agent_token);
  },
});

const rename = command({
  meta: { name: "rename", description: "Rename an agent" },
  args: { name, "new-name": { type: "positional", description: "Its name from now on" } },
  async run({ args, context }) {
    await asPerson(context, {}, (client) => client.renameAgent(args.name, args["new-name"]));
    success(context.terminal, `Agent "${args.name}" is now "${args["new-name"]}"`);
  },
});

const setRole = command({
  meta: {
    name: "set-role",
    description: "Change an agent's role on the server",
    usage: "<name> --role <role> [flags]",
  },
  args: { name, role: { type: "string", options: instanceRoles, description: "The new role (required)" } },
  async run({ args, context }) {
    const role = requireRole(args.role, instanceRoles);
    await asPerson(context, {}, (client) => client.setAgentRole(args.name, role));
    success(context.terminal, `Agent "${args.name}" is ${role} now`);
  },
});

function formatGrants(grants: readonly VaultGrant[] | null | undefined): string {
  return (grants ?? []).map((grant) => `${grant.vault_name}:${grant.vault_role}`).join(", ") || "-";
}

export const agentCommand = command({
  meta: { name: "agent", group: "Account", description: "Agents and their tokens" },
  inherited: { address: addressFlag },
  subCommands: {
    create: async () => create,
    invite: async () => agentInviteCommand,
    list: async () => list,
    info: async () => info,
    revoke: async () => revoke,
    delete: async () => remove,
    rotate: async () => rotate,
    rename: async () => rename,
    "set-role": async () => setRole,
  },
});
