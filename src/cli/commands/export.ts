import { resolve } from "node:path";
import { writeAtomically } from "../../runtime/files.ts";
import { addressFlag, command, jsonFlag } from "../command.ts";
import { asPerson, resolveVault } from "../connect.ts";
import { readVault, toManifest } from "../manifest/current.ts";
import { formatManifest } from "../manifest/manifest.ts";
import { loadServiceRules } from "../manifest/service-rules.ts";
import { note, printable, printJson } from "../output.ts";

export const exportCommand = command({
  meta: {
    name: "export",
    group: "Work",
    description: "Print vaults as a file that apply reads back",
    details:
      "Services, settings and grants, and the names of the credentials that the services need: never a value. Applying\n" +
      "the file where it came from changes nothing.",
    examples: [
      "agent-vault export > vaults.yaml",
      "agent-vault export billing reports -o vaults.yaml",
      "agent-vault export --all | agent-vault apply -f - --address https://other.example.com",
    ],
  },
  args: {
    vault: {
      type: "positional",
      required: false,
      repeatable: true,
      completes: "vault",
      description: "Vaults to print; the one in use when none is named",
    },
    all: { type: "boolean", description: "Every vault that you are in" },
    output: { type: "string", alias: "o", completes: "file", description: "File to write instead of standard output" },
    address: addressFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const rules = await loadServiceRules();
    const vaults = await asPerson(context, {}, async (client) => {
      // An owner sees vaults that they are not in, and may not read them.
      const listed = args.all
        ? ((await client.listVaults()).vaults ?? []).filter(({ role }) => role !== undefined)
        : [];
      const named = args.all ? listed.map(({ name }) => name) : args.vault;
      const names = named.length > 0 || args.all ? named : [await resolveVault(context, undefined)];
      const read = [];
      for (const name of new Set(names)) read.push(toManifest(await readVault(client, name, rules)));
      return read;
    });
    if (args.json) return printJson(context.terminal, { vaults });
    const text = printable(formatManifest(vaults));
    if (args.output === undefined) return context.terminal.out(text);
    const file = resolve(context.workingDirectory, args.output);
    await writeAtomically(file, text, 0o644);
    note(context.terminal, `${vaults.length} vault${vaults.length === 1 ? "" : "s"} in ${file}`);
  },
});
