import type { Client } from "../../client/client.ts";
import { Forbidden, InvalidInput, NotFound } from "../../errors.ts";
import { addressFlag, type CliContext, command, jsonFlag, vaultFlag, yesFlag } from "../command.ts";
import { confirm, confirmPhrase } from "../confirm.ts";
import {
  asAnyone,
  asPerson,
  asSavedPerson,
  chooseVault,
  findAgent,
  pick,
  requirePerson,
  resolveVault,
} from "../connect.ts";
import { findLogin, findProject, findVaultInUse, saveProject, saveVaultInUse } from "../local-state.ts";
import { formatTime, note, printable, printFacts, printJson, printTable, success, warn } from "../output.ts";
import { sessionFlags, sessionRequest } from "../session-request.ts";
import { infisicalConfig, infisicalFlags } from "../store-flags.ts";

const nameArgument = { type: "positional", completes: "vault", description: "Name of the vault" } as const;

const create = command({
  meta: {
    name: "create",
    group: "Vaults",
    description: "Create a vault",
    examples: ["agent-vault vault create billing"],
  },
  args: {
    name: { type: "positional", description: "3 to 64 of a-z, 0-9 and single hyphens" },
    "credential-store": {
      type: "string",
      options: ["builtin", "infisical"],
      description: "Where credentials are kept",
      shownDefault: "builtin",
    },
    ...infisicalFlags,
    json: jsonFlag,
  },
  async run({ args, given, context }) {
    const store = infisicalConfig(args["credential-store"], args, given);
    const body = "kind" in store ? { name: args.name, credential_store: store } : { name: args.name };
    const vault = await asPerson(context, {}, (client) => client.createVault(body));
    if (args.json) return printJson(context.terminal, vault);
    success(context.terminal, `Vault "${vault.name}" created`);
  },
});

const list = command({
  meta: { name: "list", group: "Vaults", description: "List your vaults" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    // A token of one vault may not list any; inside of `run` that is the one in the environment, and the login is there.
    const token = findAgent(context)?.token;
    const isPerson = !token?.startsWith("av_agt_") && (await findLogin(context)) !== undefined;
    const asWhom = isPerson || token === undefined ? asPerson : asAnyone;
    const answer = await asWhom(context, {}, listVaults);
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["ID", "NAME", "ROLE", "STORE", "CREATED"],
      rows: (answer.vaults ?? []).map((vault) => [
        vault.id,
        vault.name,
        vault.role ?? "-",
        vault.credential_store?.kind ?? "builtin",
        formatTime(vault.created_at),
      ]),
      empty: "There are no vaults that you can use.",
    });
  },
});

/** The server only says that a token for one vault is nobody. */
async function listVaults(client: Client) {
  try {
    return await client.listVaults();
  } catch (error) {
    if (!(error instanceof Forbidden) || error.code !== "actor_required") throw error;
    throw new Forbidden(error.code, "This token is for one vault and cannot list vaults", {
      hint: "agent-vault vault discover shows its vault; a login or the token of an agent lists vaults",
      cause: error,
    });
  }
}

const remove = command({
  meta: { name: "delete", group: "Vaults", description: "Delete a vault with everything in it" },
  args: { name: nameArgument, yes: yesFlag },
  async run({ args, context }) {
    await requirePerson(context);
    const question = `This deletes the vault "${args.name}" with its services and credentials.`;
    if (!(await confirmPhrase(context, { question, phrase: args.name, isSure: args.yes }))) return;
    await asPerson(context, {}, (client) => client.deleteVault(args.name));
    if ((await findVaultInUse(context)) === args.name) await saveVaultInUse(context, undefined);
    success(context.terminal, `Vault "${args.name}" deleted`);
  },
});

const rename = command({
  meta: { name: "rename", group: "Vaults", description: "Rename a vault" },
  args: {
    "old-name": { ...nameArgument, description: "Its name now" },
    "new-name": { type: "positional", description: "Its name from now on" },
  },
  async run({ args, context }) {
    const [from, to] = [args["old-name"], args["new-name"]];
    await asPerson(context, {}, (client) => client.renameVault(from, to));
    if ((await findVaultInUse(context)) === from) await saveVaultInUse(context, to);
    success(context.terminal, `Vault "${from}" is now "${to}"`);
  },
});

const use = command({
  meta: { name: "use", group: "Choose", description: "Use a vault from now on" },
  args: { name: nameArgument },
  async run({ args, context }) {
    await checkExists(context, args.name);
    await saveVaultInUse(context, args.name);
    success(context.terminal, `Using the vault "${args.name}"`);
  },
});

/** Works logged out, too: then the name is taken as it is. */
async function checkExists(context: CliContext, name: string): Promise<void> {
  let names: readonly string[];
  try {
    const answer = await asSavedPerson(context, (client) => client.listVaults());
    names = (answer.vaults ?? []).map((vault) => vault.name);
  } catch {
    warn(context.terminal, `could not ask the server whether the vault "${name}" exists`);
    return;
  }
  if (!names.includes(name)) {
    throw new NotFound("vault_not_found", `Vault "${name}" does not exist, or you are not in it`, {
      hint: names.length > 0 ? `one of ${names.slice(0, 8).join(", ")}` : "agent-vault vault create",
    });
  }
}

const current = command({
  meta: { name: "current", group: "Choose", description: "Print the vault that commands use here" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const { vault } = args as { vault?: string };
    const name = await resolveVault(context, vault);
    if (args.json) return printJson(context.terminal, { vault: name });
    context.terminal.out(`${printable(name)}\n`);
  },
});

const init = command({
  meta: {
    name: "init",
    group: "Choose",
    description: "Bind this project to a vault",
    details: "Writes agent-vault.json, meant to be committed. Commands in this folder and below then use that vault.",
  },
  args: { yes: yesFlag },
  async run({ args, context }) {
    const { vault: flag } = args as { vault?: string };
    const name = flag ?? (await pickVault(context));
    const existing = await findProject({ ...context, home: context.workingDirectory }, (text) =>
      warn(context.terminal, text),
    );
    if (existing?.vault === name) return note(context.terminal, `${existing.file} already names the vault "${name}".`);
    if (
      existing &&
      !(await confirm(context, `${existing.file} names the vault "${existing.vault}". Replace it?`, args.yes))
    )
      return;
    const file = await saveProject(context.workingDirectory, name);
    note(context.terminal, `${file} now names the vault "${name}". Commit it, so that others use the same.`);
  },
});

async function pickVault(context: CliContext): Promise<string> {
  const { vaults } = await asPerson(context, {}, (client) => client.listVaults());
  const names = (vaults ?? []).map((vault) => vault.name);
  const [only] = names;
  if (only === undefined)
    throw new NotFound("no_vaults", "There are no vaults that you can use", { hint: "agent-vault vault create" });
  return names.length === 1 ? only : pick(context, "Vault", names);
}

const discover = command({
  meta: {
    name: "discover",
    group: "Work",
    description: "Show which services and credential names a vault offers to agents",
    environment: {
      AGENT_VAULT_ADDR: "Address of the server, with a token",
      AGENT_VAULT_TOKEN: "Token of an agent",
      AGENT_VAULT_VAULT: "Vault to ask about",
    },
  },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const { vault: flag } = args as { vault?: string };
    const vault = await resolveVault(context, flag);
    const found = findAgent(context)
      ? await asAnyone(context, {}, (client) => client.discover(vault))
      : await discoverAsPerson(context, vault);
    if (found.vault !== vault) {
      throw new InvalidInput("vault_mismatch", `The token belongs to the vault "${found.vault}", not to "${vault}"`, {
        hint: `--vault ${found.vault}, or a token of the other vault`,
      });
    }
    if (args.json) return printJson(context.terminal, found);
    printFacts(context.terminal, [["Vault", found.vault]]);
    printTable(context.terminal, {
      head: ["NAME", "HOST"],
      rows: (found.services ?? []).map((service) => [service.name, service.host]),
      empty: "It has no services.",
    });
    printFacts(context.terminal, [["Credentials", (found.available_credentials ?? []).join(", ") || "(none)"]]);
  },
});

/** The server answers only tokens with a vault; a person's login gets one for the occasion. */
async function discoverAsPerson(context: CliContext, vault: string) {
  const { services } = await asPerson(context, {}, (client) => client.listServices(vault));
  const { keys } = await asPerson(context, {}, (client) => client.listCredentials(vault));
  const named = (services ?? []).map(({ name, host }) => ({ name, host }));
  return { vault, services: named, available_credentials: keys ?? [] };
}

const tokenList = command({
  meta: { name: "list", description: "List the tokens of a vault that still live" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as { vault?: string }).vault);
    const answer = await asPerson(context, {}, (client) => client.listScopedSessions(vault));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["ID", "LABEL", "ROLE", "CREATED BY", "CREATED", "EXPIRES"],
      rows: (answer.sessions ?? []).map((session) => [
        session.id,
        session.label ?? "-",
        session.vault_role,
        session.created_by?.display_name ?? "-",
        formatTime(session.created_at),
        formatTime(session.expires_at),
      ]),
      empty: `The vault "${vault}" has no tokens.`,
    });
  },
});

const tokenRevoke = command({
  meta: { name: "revoke", description: "End a token of a vault" },
  args: { id: { type: "positional", description: "ID from vault token list" } },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as { vault?: string }).vault);
    await asPerson(context, {}, (client) => client.revokeScopedSession(vault, args.id));
    success(context.terminal, `Token ${args.id} revoked`);
  },
});

const token = command({
  meta: {
    name: "token",
    group: "Work",
    description: "Print a short-lived token for one vault",
    environment: {
      AGENT_VAULT_TOKEN: "Where a program expects the token",
      AGENT_VAULT_VAULT: "Vault to make the token for",
    },
    examples: ["AGENT_VAULT_TOKEN=$(agent-vault vault token --vault billing --ttl 3600)"],
  },
  args: { ...sessionFlags, address: addressFlag, json: jsonFlag },
  subCommands: { list: async () => tokenList, revoke: async () => tokenRevoke },
  async run({ args, context }) {
    const { vault: flag } = args as { vault?: string };
    const request = sessionRequest(args);
    const issued = await asPerson(context, args, async (client) => {
      const vault = await chooseVault(context, flag, client);
      return { vault, ...(await client.createScopedSession({ vault, ...request })) };
    });
    if (args.json) return printJson(context.terminal, issued);
    context.terminal.outValue(issued.token);
  },
});

export const vaultCommand = command({
  meta: { name: "vault", group: "Work", description: "Vaults, and the services and credentials in them" },
  inherited: { vault: vaultFlag, address: addressFlag },
  subCommands: {
    create: async () => create,
    list: async () => list,
    delete: async () => remove,
    rename: async () => rename,
    use: async () => use,
    current: async () => current,
    init: async () => init,
    service: () => import("./vault-service.ts").then((file) => file.serviceCommand),
    credential: () => import("./vault-credential.ts").then((file) => file.credentialCommand),
    creds: () => import("./vault-credential.ts").then((file) => file.credentialCommand),
    "credential-store": () => import("./vault-store.ts").then((file) => file.credentialStoreCommand),
    settings: () => import("./vault-settings.ts").then((file) => file.vaultSettingsCommand),
    proposal: () => import("./vault-proposal.ts").then((file) => file.proposalCommand),
    user: () => import("./vault-members.ts").then((file) => file.vaultUserCommand),
    agent: () => import("./vault-members.ts").then((file) => file.vaultAgentCommand),
    discover: async () => discover,
    logs: () => import("./logs.ts").then((file) => file.logsCommand),
    run: () => import("./run.ts").then((file) => file.runCommand),
    token: async () => token,
  },
});
