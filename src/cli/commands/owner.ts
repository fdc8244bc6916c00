import { UsageError } from "../../errors.ts";
import { addressFlag, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm, confirmPhrase } from "../confirm.ts";
import { asPerson } from "../connect.ts";
import { formatTime, note, printable, printFacts, printJson, printTable, success, warn } from "../output.ts";
import { instanceRoles, requireRole } from "../roles.ts";

const email = { type: "positional", completes: "user", description: "E-mail address of the person" } as const;
const vaultName = { type: "positional", completes: "vault", description: "Name of the vault" } as const;

const userInfo = command({
  meta: { name: "info", description: "Show a person; yourself when none is named" },
  args: { email: { ...email, required: false }, json: jsonFlag },
  async run({ args, context }) {
    const user = await asPerson(context, {}, (client) => client.profile(args.email));
    if (args.json) return printJson(context.terminal, user);
    const vaults = (user.vaults ?? []).map((grant) =>
      typeof grant === "string" ? grant : `${grant.vault_name}:${grant.vault_role}`,
    );
    printFacts(context.terminal, [
      ["Email", user.email],
      ["Role", user.role],
      ["Vaults", vaults.join(", ") || "(none)"],
      ["Created", formatTime(user.created_at)],
    ]);
  },
});

const userRemove = command({
  meta: { name: "remove", description: "Remove a person from the server" },
  args: { email, yes: yesFlag },
  async run({ args, context }) {
    if (!(await confirm(context, `Remove ${args.email} from the server?`, args.yes))) return;
    const { agents = [] } = await asPerson(context, {}, (client) => client.removeUser(args.email));
    success(context.terminal, `${args.email} removed`);
    if (agents.length === 0) return;
    warn(context.terminal, `agents that they created go on, and they may know the tokens: ${agents.join(", ")}`);
    note(context.terminal, "agent-vault agent rotate or agent revoke ends a token.");
  },
});

const userSetRole = command({
  meta: {
    name: "set-role",
    description: "Change a person's role on the server",
    usage: "<email> --role <role> [flags]",
  },
  args: { email, role: { type: "string", options: instanceRoles, description: "The new role (required)" } },
  async run({ args, context }) {
    const role = requireRole(args.role, instanceRoles);
    await asPerson(context, {}, (client) => client.setUserRole(args.email, role));
    success(context.terminal, `${args.email} is ${role} now`);
  },
});

const user = command({
  meta: { name: "user", description: "The people of the server" },
  subCommands: {
    list: () => import("./user.ts").then((file) => file.userCommand.subCommands?.list?.() ?? userInfo),
    info: async () => userInfo,
    remove: async () => userRemove,
    "set-role": async () => userSetRole,
  },
});

const vaultList = command({
  meta: { name: "list", description: "List all vaults of the server" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.listAllVaults());
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["ID", "NAME", "CREATED"],
      rows: (answer.vaults ?? []).map((vault) => [vault.id, vault.name, formatTime(vault.created_at)]),
      empty: "There are no vaults.",
    });
  },
});

const vaultJoin = command({
  meta: { name: "join", description: "Become an admin of a vault" },
  args: { name: vaultName },
  async run({ args, context }) {
    await asPerson(context, {}, (client) => client.joinVault(args.name));
    success(context.terminal, `You are an admin of the vault "${args.name}" now`);
  },
});

const vaultDelete = command({
  meta: { name: "delete", description: "Delete a vault with everything in it" },
  args: { name: vaultName, yes: yesFlag },
  async run({ args, context }) {
    const question = `This deletes the vault "${args.name}" with its services and credentials.`;
    if (!(await confirmPhrase(context, { question, phrase: args.name, isSure: args.yes }))) return;
    await asPerson(context, {}, (client) => client.deleteVault(args.name));
    success(context.terminal, `Vault "${args.name}" deleted`);
  },
});

const vault = command({
  meta: { name: "vault", description: "All vaults of the server" },
  subCommands: { list: async () => vaultList, join: async () => vaultJoin, delete: async () => vaultDelete },
});

const configGet = command({
  meta: { name: "get", description: "Show the settings" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const settings = await asPerson(context, {}, (client) => client.settings());
    if (args.json) return printJson(context.terminal, settings);
    const domains = (settings.allowed_email_domains ?? []).join(", ") || "(any)";
    context.terminal.out(
      `invite_only: ${settings.invite_only ? "enabled" : "disabled"}\nallowed_email_domains: ${printable(domains)}\n`,
    );
  },
});

const configSet = command({
  meta: {
    name: "set",
    description: "Change settings; those that are not named stay",
    examples: [
      "agent-vault owner config set --invite-only",
      "agent-vault owner config set --allowed-domains example.com,example.org",
    ],
  },
  args: {
    "invite-only": { type: "boolean", description: "Only invited people may register" },
    "allowed-domains": {
      type: "string",
      description: "E-mail domains that may register, separated by commas; empty allows all",
    },
    json: jsonFlag,
  },
  async run({ args, given, context }) {
    const domains = args["allowed-domains"]
      ?.split(",")
      .map((domain) => domain.trim())
      .filter((domain) => domain !== "");
    const change = {
      ...(given.has("invite-only") ? { invite_only: args["invite-only"] } : {}),
      ...(domains === undefined ? {} : { allowed_email_domains: domains }),
    };
    if (Object.keys(change).length === 0) {
      throw new UsageError("nothing_to_set", "No setting is named", { hint: "--invite-only or --allowed-domains" });
    }
    const settings = await asPerson(context, {}, (client) => client.changeSettings(change));
    if (args.json) return printJson(context.terminal, settings);
    if ("invite_only" in change)
      success(context.terminal, `invite_only is ${change.invite_only ? "enabled" : "disabled"}`);
    if (domains !== undefined) success(context.terminal, `allowed_email_domains is ${domains.join(", ") || "(any)"}`);
  },
});

const config = command({
  meta: { name: "config", alias: ["settings"], description: "Settings of the server" },
  subCommands: { get: async () => configGet, set: async () => configSet },
});

const emailTest = command({
  meta: { name: "test", description: "Send a test message" },
  args: { to: { type: "string", description: "Recipient; yourself when absent" }, address: addressFlag },
  async run({ args, context }) {
    const { message } = await asPerson(context, args, (client) => client.testEmail(args.to));
    context.terminal.out(`${printable(message)}\n`);
  },
});

export const emailCommand = command({
  meta: { name: "email", description: "E-mail of the server" },
  subCommands: { test: async () => emailTest },
});

const reset = command({
  meta: {
    name: "reset",
    description: "Destroy the server of this home with all its data",
    details:
      "You must be logged in as an owner at the server that runs from this home. It is stopped, its files are\n" +
      "overwritten and removed, the login too. With DATABASE_URL set it refuses.",
    environment: { DATABASE_URL: "Set: refuse, as the data is not in this home" },
  },
  args: { yes: yesFlag },
  async run({ args, context }) {
    const { resetServer } = await import("../serve/reset.ts");
    await resetServer(context, { isSure: args.yes });
  },
});

export const ownerCommand = command({
  meta: { name: "owner", group: "Account", description: "For owners: people, vaults and settings of the server" },
  inherited: { address: addressFlag },
  subCommands: {
    user: async () => user,
    vault: async () => vault,
    config: async () => config,
    settings: async () => config,
    email: async () => emailCommand,
    reset: async () => reset,
  },
});
