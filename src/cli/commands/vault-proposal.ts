import type * as wire from "../../client/wire.ts";
import { command, jsonFlag } from "../command.ts";
import { asAnyone, findAgent, resolveVault } from "../connect.ts";
import { formatTime, printJson, printTable, success } from "../output.ts";
import {
  exitCodeOf,
  fetchProposal,
  numberArgument,
  proposalEnvironment,
  readNumber,
  readTimeout,
  waitFlags,
  waitFor,
} from "../proposal-follow.ts";
import { printProposal, summaryOf } from "../proposal-view.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };

const list = command({
  meta: { name: "list", description: "List the proposals, newest first", environment: proposalEnvironment },
  args: {
    status: {
      type: "string",
      options: ["pending", "applied", "rejected", "expired"],
      description: "Only those of this status",
    },
    limit: { type: "string", valueHint: "int", description: "How many at most" },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const filter = { status: args.status, limit: args.limit };
    const isAgent = findAgent(context) !== undefined;
    const answer = await asAnyone(
      context,
      {},
      (client): Promise<wire.ProposalList> =>
        isAgent ? client.listOwnProposals(vault, filter) : client.listProposals(vault, filter),
    );
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["#", "STATUS", "CREATED", "MESSAGE"],
      rows: (answer.proposals ?? []).map((proposal) => [
        String(proposal.id),
        proposal.status,
        formatTime(proposal.created_at),
        summaryOf(proposal.message ?? ""),
      ]),
      empty: `The vault "${vault}" has no ${args.status ? `${args.status} ` : ""}proposals.`,
    });
  },
});

const show = command({
  meta: {
    name: "show",
    alias: ["get"],
    description: "Show a proposal, and what it would change",
    environment: proposalEnvironment,
    examples: ["agent-vault vault proposal show 3", "agent-vault vault proposal get 3 --wait --json"],
  },
  args: { number: numberArgument, ...waitFlags, json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const number = readNumber(args.number);
    const proposal = args.wait
      ? await waitFor(context, vault, number, readTimeout(args.timeout))
      : await fetchProposal(context, vault, number);
    if (args.json) printJson(context.terminal, proposal);
    else printProposal(context.terminal, vault, proposal);
    return args.wait ? exitCodeOf(proposal) : 0;
  },
});

const reject = command({
  meta: { name: "reject", description: "Reject a proposal" },
  args: {
    number: numberArgument,
    reason: { type: "string", description: "What the agent is told" },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const number = readNumber(args.number);
    const answer = await asAnyone(context, {}, (client) => client.rejectProposal(vault, number, args.reason ?? ""));
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `Proposal ${number} rejected`);
  },
});

export const proposalCommand = command({
  meta: {
    name: "proposal",
    group: "Contents",
    description: "What agents ask for, and what people decide",
    details: "An agent proposes services and credentials; a member of the vault approves or rejects them.",
  },
  subCommands: {
    list: async () => list,
    show: async () => show,
    get: async () => show,
    create: () => import("./vault-proposal-create.ts").then((file) => file.createCommand),
    approve: () => import("./vault-proposal-review.ts").then((file) => file.approveCommand),
    reject: async () => reject,
    review: () => import("./vault-proposal-review.ts").then((file) => file.reviewCommand),
    webhook: () => import("./vault-proposal-webhook.ts").then((file) => file.webhookCommand),
  },
});
