import { command, jsonFlag, publicAddressFlag } from "../command.ts";
import { anonymousClient, resolveAddress } from "../connect.ts";
import { printJson, printTable } from "../output.ts";

export const catalogCommand = command({
  meta: { name: "catalog", group: "Work", description: "List services that need no more than a key to be added" },
  args: { json: jsonFlag, address: publicAddressFlag },
  async run({ args, context }) {
    const answer = await anonymousClient(await resolveAddress(context, args.address)).catalog();
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["ID", "NAME", "HOST", "AUTH TYPE", "SUGGESTED KEY"],
      rows: answer.services.map((template) => [
        template.id,
        template.name,
        template.host,
        `${template.auth_type}${template.substitutions?.length ? " + substitution" : ""}`,
        template.suggested_credential_key ?? "-",
      ]),
      empty: "The catalog is empty.",
    });
  },
});
