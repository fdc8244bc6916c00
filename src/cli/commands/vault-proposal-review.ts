import type * as wire from "../../client/wire.ts";
import { Conflict, InvalidInput, UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm, orAborted } from "../confirm.ts";
import { asAnyone, resolveVault } from "../connect.ts";
import { note, printJson, success, warn } from "../output.ts";
import { numberArgument, readNumber } from "../proposal-follow.ts";
import { printProposal, slotsOf } from "../proposal-view.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };

export const approveCommand = command({
  meta: {
    name: "approve",
    description: "Approve a proposal, or some items of it",
    details:
      "Shows what would change and asks. Values that the agent did not supply are asked for without showing them;\n" +
      "KEY=- reads one from standard input. KEY=VALUE is visible in the shell's history and in the list of processes.\n" +
      "With --service and --credential only these items are applied, and the rest is declined.",
    usage: "<number> [key=value...] [flags]",
    examples: [
      "agent-vault vault proposal approve 3",
      "gh auth token | agent-vault vault proposal approve 3 GITHUB_TOKEN=- --yes",
      "agent-vault vault proposal approve 3 --service github --credential GITHUB_TOKEN",
    ],
  },
  args: {
    number: numberArgument,
    value: { type: "positional", repeatable: true, required: false, description: "KEY=VALUE or KEY=-" },
    service: { type: "string", repeatable: true, description: "Apply this service, and what else is named, only" },
    credential: {
      type: "string",
      repeatable: true,
      description: "Apply this credential, and what else is named, only",
    },
    yes: yesFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const number = readNumber(args.number);
    const inline = await readInline(context, args.value, args.yes);
    const proposal = await asAnyone(context, {}, (client) => client.proposal(vault, number));
    refuseEnded(proposal);
    const only =
      args.service.length + args.credential.length > 0
        ? { services: args.service, credentials: args.credential }
        : undefined;
    const stray = [...inline.keys()].find((key) => !slotsToFill(proposal, only).some((slot) => slot.key === key));
    if (stray) throw new UsageError("stray_value", `Proposal ${number} asks for no value of ${stray}`);
    if (!args.json) printProposal(context.terminal, vault, proposal);
    if (!(await confirm(context, `Approve ${only ? "these items of " : ""}proposal ${number}?`, args.yes))) return;
    const answer = await decide(context, vault, proposal, { inline, only, isSure: args.yes });
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `Proposal ${number} applied`);
  },
});

interface Choice {
  readonly inline: ReadonlyMap<string, string>;
  readonly only: wire.ProposalSelection | undefined;
  readonly isSure: boolean;
}

async function decide(
  context: CliContext,
  vault: string,
  proposal: wire.Proposal,
  choice: Choice,
): Promise<wire.DecidedProposal> {
  const credentials = await askForValues(context, proposal, choice);
  return asAnyone(context, {}, (client) =>
    client.approveProposal(vault, String(proposal.id), {
      credentials,
      ...(choice.only && { only: choice.only }),
      // What was shown is what is applied, or nothing.
      ...(proposal.vault_version !== undefined && { vault_version: proposal.vault_version }),
    }),
  );
}

/** An OAuth credential is connected afterwards and needs no value. */
function slotsToFill(proposal: wire.Proposal, only: wire.ProposalSelection | undefined) {
  const isChosen = (slot: wire.ProposalSlot) => only === undefined || only.credentials.includes(slot.key);
  return slotsOf(proposal).filter((slot) => slot.action === "set" && slot.type !== "oauth" && isChosen(slot));
}

async function askForValues(
  context: CliContext,
  proposal: wire.Proposal,
  { inline, only, isSure }: Choice,
): Promise<Record<string, string>> {
  const { terminal } = context;
  const slots = slotsToFill(proposal, only);
  const missing = slots.filter((slot) => !inline.has(slot.key) && !slot.has_value).map(({ key }) => key);
  if (missing.length > 0 && !terminal.isInteractive) {
    throw new InvalidInput("values_missing", `Proposal ${proposal.id} needs values for ${missing.join(", ")}`, {
      hint: missing.map((key) => `${key}=-`)[0] ?? "",
    });
  }
  const values: Record<string, string> = {};
  for (const slot of slots) {
    const given = inline.get(slot.key);
    if (given !== undefined) values[slot.key] = given;
    else if (!slot.has_value || !(isSure || (await acceptsSupplied(context, slot.key)))) {
      values[slot.key] = await terminal.askHidden(`${slot.key}: `, `${slot.key}=-`);
    }
  }
  return values;
}

/** `[Y/n]`: only a plain answer counts, so the end of the input is an error and no consent. */
async function acceptsSupplied({ terminal }: CliContext, key: string): Promise<boolean> {
  const answer = await terminal.ask(`Take the value that the agent supplied for ${key}? [Y/n] `, "--yes");
  return !/^no?$/i.test(answer.trim());
}

async function readInline(
  context: CliContext,
  words: readonly string[],
  isSure: boolean,
): Promise<ReadonlyMap<string, string>> {
  const values = new Map<string, string>();
  let isWarned = false;
  for (const word of words) {
    const [, key, value] = /^([A-Z][A-Z0-9_]*)=(.*)$/s.exec(word) ?? [];
    // A word that is no assignment may be a value in the wrong place: it is not repeated.
    if (key === undefined || value === undefined) {
      throw new UsageError("bad_value", "Values are given as KEY=VALUE or KEY=-", { hint: "GITHUB_TOKEN=-" });
    }
    if (values.has(key)) throw new UsageError("key_twice", `${key} is given twice`);
    if (value === "-" && (!isSure || words.filter((other) => other.endsWith("=-")).length > 1)) {
      throw new UsageError("stdin_twice", "Standard input holds one value and then cannot answer questions", {
        hint: "KEY=- --yes, with one KEY",
      });
    }
    if (value !== "-" && !isWarned) {
      isWarned = true;
      warn(context.terminal, "a value on the command line is visible to other processes and in the shell's history");
    }
    values.set(key, value === "-" ? (await context.terminal.readAll()).replace(/\r?\n$/, "") : value);
  }
  return values;
}

function refuseEnded({ id, status }: wire.Proposal): void {
  if (status !== "pending") throw new Conflict("proposal_ended", `Proposal ${id} is already ${status}`);
}

export const reviewCommand = command({
  meta: { name: "review", description: "Walk through the proposals that wait, newest first" },
  async run({ args, context }) {
    const { terminal } = context;
    if (!terminal.isInteractive) {
      throw new InvalidInput("no_terminal", "A review needs a terminal", {
        hint: "agent-vault vault proposal list --status pending, then approve or reject",
      });
    }
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const { proposals } = await asAnyone(context, {}, (client) => client.listProposals(vault, { status: "pending" }));
    const done: Record<Decision, number[]> = { approved: [], rejected: [], skipped: [] };
    for (const { id } of proposals ?? []) {
      const decision = await orAborted(context, () => reviewOne(context, vault, String(id)));
      if (decision === undefined || decision === "quit") break;
      done[decision].push(id);
    }
    if ((proposals ?? []).length === 0) return note(terminal, `No proposals wait in the vault "${vault}".`);
    for (const [decision, ids] of Object.entries(done)) {
      if (ids.length > 0) note(terminal, `${ids.length} ${decision}: ${ids.map((id) => `#${id}`).join(", ")}`);
    }
  },
});

type Decision = "approved" | "rejected" | "skipped";

async function reviewOne(context: CliContext, vault: string, number: string): Promise<Decision | "quit"> {
  const { terminal } = context;
  const proposal = await asAnyone(context, {}, (client) => client.proposal(vault, number));
  if (proposal.status !== "pending") return "skipped";
  printProposal(terminal, vault, proposal);
  for (;;) {
    const answer = (await terminal.ask("[a]pprove, [r]eject, [s]kip or [q]uit? ", "vault proposal approve")).trim();
    switch (answer.toLowerCase()) {
      case "a":
      case "approve":
        await decide(context, vault, proposal, { inline: new Map(), only: undefined, isSure: false });
        success(terminal, `Proposal ${number} applied`);
        return "approved";
      case "r":
      case "reject": {
        const reason = await terminal.ask("Reason (may be empty): ", "--reason");
        await asAnyone(context, {}, (client) => client.rejectProposal(vault, number, reason.trim()));
        success(terminal, `Proposal ${number} rejected`);
        return "rejected";
      }
      case "s":
      case "skip":
        return "skipped";
      case "q":
      case "quit":
        return "quit";
      default:
        note(terminal, "Type a, r, s or q.");
    }
  }
}
