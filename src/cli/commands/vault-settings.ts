import { UsageError } from "../../errors.ts";
import { command, jsonFlag } from "../command.ts";
import { asPerson, resolveVault } from "../connect.ts";
import { printable, printJson, success } from "../output.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };

const get = command({
  meta: { name: "get", description: "Show the settings of the vault" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const settings = await asPerson(context, {}, (client) => client.vaultSettings(vault));
    if (args.json) return printJson(context.terminal, settings);
    context.terminal.out(`unmatched_host_policy: ${printable(settings.unmatched_host_policy)}\n`);
  },
});

const set = command({
  meta: {
    name: "set",
    description: "Change settings of the vault; those that are not named stay",
    examples: ["agent-vault vault settings set --unmatched-host-policy deny"],
  },
  args: {
    "unmatched-host-policy": {
      type: "string",
      options: ["passthrough", "deny"],
      description: "What happens to requests that no service covers: sent on without a credential, or refused",
    },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const policy = args["unmatched-host-policy"];
    if (policy === undefined) {
      throw new UsageError("nothing_to_change", "No setting is named", { hint: "--unmatched-host-policy deny" });
    }
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) =>
      client.changeVaultSettings(vault, { unmatched_host_policy: policy }),
    );
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `unmatched_host_policy of the vault "${vault}" is ${answer.unmatched_host_policy}`);
  },
});

export const vaultSettingsCommand = command({
  meta: { name: "settings", group: "Contents", description: "Settings of a vault" },
  subCommands: { get: async () => get, set: async () => set },
});
