import type { CredentialStore } from "../../client/wire.ts";
import { UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag, yesFlag } from "../command.ts";
import { confirmPhrase } from "../confirm.ts";
import { asPerson } from "../connect.ts";
import { formatTime, printFacts, printJson, success } from "../output.ts";
import { infisicalConfig, infisicalFlags } from "../store-flags.ts";

const nameArgument = { type: "positional", completes: "vault", description: "Name of the vault" } as const;
const builtin: CredentialStore = { kind: "builtin" };

function printStore({ terminal }: CliContext, vault: string, store: CredentialStore): void {
  const { config } = store;
  printFacts(terminal, [
    ["Vault", vault],
    ["Kind", store.kind],
    ...(config?.project_id ? [["Project", config.project_id] as const] : []),
    ...(config?.environment ? [["Environment", config.environment] as const] : []),
    ...(config?.secret_path ? [["Path", config.secret_path] as const] : []),
    ...(store.poll_interval_seconds ? [["Poll interval", `${store.poll_interval_seconds} s`] as const] : []),
    ...(store.last_sync_status ? [["Last sync", store.last_sync_status] as const] : []),
    ...(store.last_synced_at ? [["Synced at", formatTime(store.last_synced_at)] as const] : []),
    ...(store.last_sync_error ? [["Error", store.last_sync_error] as const] : []),
  ]);
}

const show = command({
  meta: { name: "show", description: "Show where a vault keeps its credentials, and the last synchronisation" },
  args: { name: nameArgument, json: jsonFlag },
  async run({ args, context }) {
    const found = await asPerson(context, {}, (client) => client.vaultContext(args.name));
    const store = found.credential_store ?? builtin;
    if (args.json) return printJson(context.terminal, { vault_name: found.vault_name, credential_store: store });
    printStore(context, found.vault_name, store);
  },
});

const sync = command({
  meta: { name: "sync", description: "Fetch the secrets of an outside store now; when that fails, the old ones stay" },
  args: { name: nameArgument, json: jsonFlag },
  async run({ args, context }) {
    const answer = await asPerson(context, {}, (client) => client.syncCredentialStore(args.name));
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `Vault "${args.name}" is synchronised`);
    printStore(context, args.name, answer.credential_store ?? builtin);
  },
});

const set = command({
  meta: {
    name: "set",
    description: "Change where a vault keeps its credentials",
    details:
      "Connecting a vault to Infisical replaces its static credentials by the secrets there.\n" +
      "Going back to builtin keeps the last ones as ordinary credentials.",
    usage: "<name> --kind <kind> [flags]",
    examples: [
      "agent-vault vault credential-store set billing --kind infisical --infisical-project-id ID --infisical-environment prod",
      "agent-vault vault credential-store set billing --kind builtin",
    ],
  },
  args: {
    name: nameArgument,
    kind: { type: "string", options: ["builtin", "infisical"], description: "The store (required)" },
    ...infisicalFlags,
    yes: { ...yesFlag },
    json: jsonFlag,
  },
  async run({ args, given, context }) {
    const { name, kind } = args;
    if (kind === undefined)
      throw new UsageError("kind_missing", "--kind is needed", { hint: "--kind builtin or --kind infisical" });
    const body =
      kind === "builtin" ? { kind, ...infisicalConfig(kind, args, given) } : infisicalConfig(kind, args, given);
    // Before anybody is asked to type: a mistaken name or a vault of somebody else ends here.
    await asPerson(context, {}, (client) => client.vaultContext(name));
    const question =
      kind === "builtin"
        ? `The vault "${name}" leaves its outside store; the last secrets stay as ordinary credentials.`
        : `This replaces the static credentials of the vault "${name}" by the secrets of Infisical.`;
    if (!(await confirmPhrase(context, { question, phrase: name, isSure: args.yes }))) return;
    const answer = await asPerson(context, {}, (client) => client.setCredentialStore(name, body));
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `The vault "${name}" keeps its credentials in ${kind} now`);
  },
});

export const credentialStoreCommand = command({
  meta: { name: "credential-store", group: "Contents", description: "Where a vault keeps its credentials" },
  subCommands: { show: async () => show, set: async () => set, sync: async () => sync },
});
