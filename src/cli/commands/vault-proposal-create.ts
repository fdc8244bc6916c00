import type * as wire from "../../client/wire.ts";
import { type CliContext, command, jsonFlag } from "../command.ts";
import { resolveVault } from "../connect.ts";
import { note, printFacts, printJson, success } from "../output.ts";
import { contentFromFlags, contentOfFile, refuseIncomplete } from "../proposal-content.ts";
import {
  exitCodeOf,
  proposalEnvironment,
  readTimeout,
  waitFlags,
  waitFor,
  withVaultToken,
} from "../proposal-follow.ts";
import { printProposal } from "../proposal-view.ts";
import { serviceFlags } from "../service-flags.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };
export const createCommand = command({
  meta: {
    name: "create",
    description: "Ask for a service or a credential",
    details:
      "Prints a link under which somebody with a say in the vault approves it. Nothing changes before.\n" +
      "--template takes the service from the catalog and asks for the credentials that the vault does not have yet.\n" +
      "A JSON file has the fields of the API: services, credentials, message, user_message.",
    usage: "[flags]",
    environment: proposalEnvironment,
    examples: [
      "agent-vault vault proposal create --name github --host api.github.com --auth-type bearer --token-key GITHUB_TOKEN --credential 'GITHUB_TOKEN=token with read access' -m 'to read issues'",
      "agent-vault vault proposal create --template stripe -m 'to read invoices' --wait",
      "agent-vault vault proposal create --credential STRIPE_KEY --wait",
      "agent-vault vault proposal create -f proposal.json --json",
    ],
  },
  args: {
    file: { type: "string", alias: "f", description: "JSON with the whole proposal; - is standard input" },
    ...serviceFlags,
    credential: {
      type: "string",
      repeatable: true,
      description: "KEY or KEY=DESCRIPTION of a credential to be stored; never a value",
    },
    message: { type: "string", alias: "m", description: "What it is for, for developers" },
    "user-message": { type: "string", description: "What whoever approves should know" },
    supersedes: {
      type: "string",
      valueHint: "int",
      description: "Number of an earlier proposal that this one replaces",
    },
    description: { type: "string", description: "Accepted for compatibility; not sent" },
    ...waitFlags,
    json: jsonFlag,
  },
  async run({ args, given, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const timeoutSeconds = readTimeout(args.timeout);
    const isFromFile = args.file !== undefined;
    const content = isFromFile ? await contentOfFile(context, args.file, given) : undefined;
    if (!isFromFile) refuseIncomplete(args, given);
    const created = await withVaultToken(context, vault, async (client) =>
      client.createProposal(vault, {
        ...(content ?? (await contentFromFlags(client, vault, { flags: args, given }))),
        ...(args.message !== undefined && { message: args.message }),
        ...(args["user-message"] !== undefined && { user_message: args["user-message"] }),
        ...(args.supersedes !== undefined && { supersedes: Number(args.supersedes) }),
      }),
    );
    if (!args.wait) {
      printCreated(context, created, args.json);
      return 0;
    }
    // The link is for somebody at another screen, and must be seen before the wait is over.
    note(context.terminal, `Proposal ${created.id} waits for a decision: ${created.approval_url}`);
    const ended = await waitFor(context, created.vault, String(created.id), timeoutSeconds);
    if (args.json) printJson(context.terminal, ended);
    else if (ended.status === "applied") success(context.terminal, `Proposal ${ended.id} applied`);
    else printProposal(context.terminal, created.vault, ended);
    return exitCodeOf(ended);
  },
});

function printCreated({ terminal }: CliContext, created: wire.CreatedProposal, asJson: boolean): void {
  if (asJson) {
    printJson(terminal, created);
    return;
  }
  success(terminal, `Proposal ${created.id} created in the vault "${created.vault}"`);
  printFacts(terminal, [
    ["Proposal", String(created.id)],
    ["Vault", created.vault],
    ["Approve at", created.approval_url],
  ]);
}
