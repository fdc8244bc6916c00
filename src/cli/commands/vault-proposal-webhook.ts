import { command, jsonFlag } from "../command.ts";
import { asPerson, resolveVault } from "../connect.ts";
import { formatTime, note, printJson, printTable, success } from "../output.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };

const set = command({
  meta: {
    name: "set",
    description: "Call a webhook about every proposal of the vault",
    details: "Prints the secret that deliveries are signed with; it is shown this once.",
  },
  args: { url: { type: "positional", description: "https address" }, json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) => client.setProposalWebhook(vault, args.url));
    if (args.json) return printJson(context.terminal, answer);
    note(
      context.terminal,
      `Proposals of the vault "${vault}" are reported to ${answer.origin}, signed with this secret:`,
    );
    context.terminal.outValue(answer.secret ?? "");
  },
});

const show = command({
  meta: { name: "show", description: "Show where proposals are reported to, and how the last delivery went" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) => client.proposalWebhook(vault));
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["ORIGIN", "LAST DELIVERY", "RESULT"],
      rows: [[answer.origin, formatTime(answer.last_attempt_at), answer.last_result ?? "-"]],
      empty: "",
    });
  },
});

const remove = command({
  meta: { name: "delete", description: "Report proposals no longer" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const answer = await asPerson(context, {}, (client) => client.deleteProposalWebhook(vault));
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `Proposals of the vault "${vault}" are not reported any more`);
  },
});

export const webhookCommand = command({
  meta: { name: "webhook", description: "Who is called about proposals" },
  subCommands: { set: async () => set, show: async () => show, delete: async () => remove },
});
