/** `vault settings`: what a vault does with hosts that no service covers, and with answers that hold a credential. */
import type { VaultSettings } from "../../client/wire.ts";
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
    for (const name of names) {
      const value = settings[name];
      if (value !== undefined) context.terminal.out(`${name}: ${printable(value)}\n`);
    }
  },
});

/** As the API calls them. */
const names = ["unmatched_host_policy", "scrub"] as const satisfies readonly (keyof VaultSettings)[];

const set = command({
  meta: {
    name: "set",
    description: "Change settings of the vault; those that are not named stay",
    examples: [
      "agent-vault vault settings set --unmatched-host-policy deny",
      "agent-vault vault settings set --scrub block",
    ],
  },
  args: {
    "unmatched-host-policy": {
      type: "string",
      options: ["passthrough", "deny"],
      description: "What happens to requests that no service covers: sent on without a credential, or refused",
    },
    scrub: {
      type: "string",
      options: ["off", "detect", "redact", "block"],
      description: "What happens to credentials in answers, for services that do not say it themselves",
    },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const policy = args["unmatched-host-policy"];
    const { scrub } = args;
    if (policy === undefined && scrub === undefined) {
      throw new UsageError("nothing_to_change", "No setting is named", { hint: "--unmatched-host-policy deny" });
    }
    const wanted = {
      ...(policy !== undefined && { unmatched_host_policy: policy }),
      ...(scrub !== undefined && { scrub }),
    };
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) => client.changeVaultSettings(vault, wanted));
    if (args.json) return printJson(context.terminal, answer);
    for (const name of names) {
      if (name in wanted) success(context.terminal, `${name} of the vault "${vault}" is ${answer[name]}`);
    }
  },
});

export const vaultSettingsCommand = command({
  meta: { name: "settings", group: "Contents", description: "Settings of a vault" },
  subCommands: { get: async () => get, set: async () => set },
});
