import { UsageError } from "../../errors.ts";
import { command, jsonFlag } from "../command.ts";
import { asAnyone, asPerson, resolveVault } from "../connect.ts";
import { printFacts, printJson, success } from "../output.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };

const get = command({
  meta: { name: "get", description: "Show the settings of a vault" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const settings = await asAnyone(context, {}, (client) => client.vaultSettings(vault));
    if (args.json) return printJson(context.terminal, settings);
    printFacts(context.terminal, [
      ["Unmatched hosts", settings.unmatched_host_policy],
      ["Scrub", settings.scrub ?? "off"],
    ]);
  },
});

const set = command({
  meta: {
    name: "set",
    description: "Change the settings of a vault",
    examples: [
      "agent-vault vault settings set --unmatched-host-policy deny",
      "agent-vault vault settings set --scrub block",
    ],
  },
  args: {
    "unmatched-host-policy": {
      type: "string",
      options: ["passthrough", "deny"],
      description: "Hosts that no service covers: forward without a credential, or refuse",
    },
    scrub: {
      type: "string",
      options: ["off", "detect", "redact", "block"],
      description: "Credentials in answers, for services that do not say it themselves",
    },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const policy = args["unmatched-host-policy"];
    const { scrub } = args;
    if (policy === undefined && scrub === undefined) {
      throw new UsageError("setting_missing", "No setting is given", { hint: "--scrub redact" });
    }
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const settings = await asPerson(context, {}, (client) =>
      client.changeVaultSettings(vault, {
        ...(policy !== undefined && { unmatched_host_policy: policy }),
        ...(scrub !== undefined && { scrub }),
      }),
    );
    if (args.json) return printJson(context.terminal, settings);
    success(context.terminal, `Settings of the vault "${vault}" changed`);
  },
});

export const vaultSettingsCommand = command({
  meta: { name: "settings", group: "Work", description: "Hosts without a service, and credentials in answers" },
  subCommands: { get: async () => get, set: async () => set },
});
