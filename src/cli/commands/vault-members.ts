import { command, jsonFlag, yesFlag } from "../command.ts";
import { confirmIfAsked } from "../confirm.ts";
import { asPerson, resolveVault } from "../connect.ts";
import { printJson, printTable, statusStyle, success } from "../output.ts";
import { requireRole } from "../roles.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };
const userRoles = ["member", "admin"] as const;
const agentRoles = ["proxy", "member", "admin"] as const;
const email = { type: "positional", completes: "user", description: "E-mail address of the person" } as const;
const agentName = { type: "positional", completes: "agent", description: "Name of the agent" } as const;

const userAdd = command({
  meta: { name: "add", description: "Let a person into the vault" },
  args: {
    email,
    role: { type: "string", options: userRoles, default: "member", description: "Role in the vault" },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) =>
      client.addVaultUser(vault, { email: args.email, role: args.role }),
    );
    if (args.json) return printJson(context.terminal, answer);
    success(
      context.terminal,
      `${args.email} is a${args.role === "admin" ? "n admin" : ` ${args.role}`} of the vault "${vault}" now`,
    );
  },
});

const userList = command({
  meta: { name: "list", description: "List the people of the vault" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) => client.listVaultUsers(vault));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["EMAIL", "STATUS", "ROLE"],
      rows: (answer.users ?? []).map((user) => [user.email, user.status, user.role]),
      styleOf: statusStyle,
      empty: `Nobody is in the vault "${vault}".`,
    });
  },
});

const userRemove = command({
  meta: { name: "remove", description: "Take a person's access to the vault away" },
  args: { email, yes: yesFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    if (!(await confirmIfAsked(context, `Take ${args.email} out of the vault "${vault}"?`, args.yes))) return;
    await asPerson(context, {}, (client) => client.removeVaultUser(vault, args.email));
    success(context.terminal, `${args.email} has left the vault "${vault}"`);
  },
});

const userSetRole = command({
  meta: {
    name: "set-role",
    description: "Change a person's role in the vault",
    usage: "<email> --role <role> [flags]",
  },
  args: { email, role: { type: "string", options: userRoles, description: "The new role (required)" } },
  async run({ args, context }) {
    const role = requireRole(args.role, userRoles);
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    await asPerson(context, {}, (client) => client.setVaultUserRole(vault, args.email, role));
    success(context.terminal, `${args.email} is ${role} of the vault "${vault}" now`);
  },
});

export const vaultUserCommand = command({
  meta: { name: "user", group: "Members", description: "The people of a vault" },
  subCommands: {
    add: async () => userAdd,
    list: async () => userList,
    remove: async () => userRemove,
    "set-role": async () => userSetRole,
  },
});

const agentAdd = command({
  meta: { name: "add", description: "Let an agent into the vault" },
  args: {
    name: agentName,
    role: { type: "string", options: agentRoles, default: "proxy", description: "Role in the vault" },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) =>
      client.addVaultAgent(vault, { name: args.name, role: args.role }),
    );
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `Agent "${args.name}" is in the vault "${vault}" as ${args.role}`);
  },
});

const agentList = command({
  meta: { name: "list", description: "List the agents of the vault" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) => client.listVaultAgents(vault));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["NAME", "ROLE", "STATUS"],
      rows: (answer.agents ?? []).map((agent) => [agent.name, agent.vault_role, agent.status]),
      styleOf: statusStyle,
      empty: `No agent is in the vault "${vault}".`,
    });
  },
});

const agentRemove = command({
  meta: { name: "remove", description: "Take an agent's access to the vault away" },
  args: { name: agentName, yes: yesFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const question = `Take the agent "${args.name}" out of the vault "${vault}"? Its requests fail from then on.`;
    if (!(await confirmIfAsked(context, question, args.yes))) return;
    await asPerson(context, {}, (client) => client.removeVaultAgent(vault, args.name));
    success(context.terminal, `Agent "${args.name}" has left the vault "${vault}"`);
  },
});

const agentSetRole = command({
  meta: { name: "set-role", description: "Change an agent's role in the vault", usage: "<name> --role <role> [flags]" },
  args: { name: agentName, role: { type: "string", options: agentRoles, description: "The new role (required)" } },
  async run({ args, context }) {
    const role = requireRole(args.role, agentRoles);
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    await asPerson(context, {}, (client) => client.setVaultAgentRole(vault, args.name, role));
    success(context.terminal, `Agent "${args.name}" is ${role} in the vault "${vault}" now`);
  },
});

export const vaultAgentCommand = command({
  meta: { name: "agent", group: "Members", description: "The agents of a vault" },
  subCommands: {
    add: async () => agentAdd,
    list: async () => agentList,
    remove: async () => agentRemove,
    "set-role": async () => agentSetRole,
  },
});
