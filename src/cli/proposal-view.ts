/** A proposal on a terminal. Everything in it may come from an agent, so nothing is printed as it is. */
import type * as wire from "../client/wire.ts";
import type { Terminal } from "../runtime/terminal.ts";
import { formatTime, paint, printable, printFacts } from "./output.ts";

const colors = { pending: "yellow", applied: "green", rejected: "red", expired: "gray" } as const;
const maxSummary = 60;

/** Facts, services, credentials, and what an approval would change. */
export function printProposal(terminal: Terminal, vault: string, proposal: wire.Proposal): void {
  const { status } = proposal;
  terminal.out(`Proposal ${proposal.id} in the vault "${printable(vault)}": ${paintStatus(terminal, status)}\n`);
  printFacts(terminal, factsOf(proposal));
  printItems(terminal, "Services", servicesOf(proposal).map(describeService));
  printItems(terminal, "Credentials", slotsOf(proposal).map(describeSlot));
  const consequences = proposal.consequences ?? [];
  if (consequences.length > 0) {
    terminal.out(`\n${paint(terminal, "bold", "What would change")}\n`);
    for (const { severity, text } of consequences) {
      const mark = severity === "warning" ? paint(terminal, "yellow", "!") : "-";
      terminal.out(`  ${mark} ${oneLine(text)}\n`);
    }
  }
}

/** The first line of a message, at most 60 characters. */
export function summaryOf(message: string): string {
  const characters = Array.from(message.replace(/\s+/g, " ").trim());
  return characters.length <= maxSummary ? characters.join("") : `${characters.slice(0, maxSummary - 1).join("")}…`;
}

function proposerOf({ proposed_by: party }: wire.Proposal): string {
  if (party === undefined) return "-";
  if (party.via !== "vault_token") return party.name ?? "an agent that is gone";
  const label = party.label ? ` ("${party.label}")` : "";
  return party.name === undefined ? `a vault token${label}` : `a token of ${party.name}${label}`;
}

export function servicesOf(proposal: wire.Proposal): readonly wire.ProposedService[] {
  return proposal.services ?? parseList<wire.ProposedService>(proposal.services_json);
}

export function slotsOf(proposal: wire.Proposal): readonly wire.ProposalSlot[] {
  return proposal.credentials ?? parseList<wire.ProposalSlot>(proposal.credentials_json);
}

function factsOf(proposal: wire.Proposal): readonly (readonly [string, string])[] {
  const { declined } = proposal;
  const left = declined ? [...declined.services, ...declined.credentials].join(", ") : "";
  const facts: readonly (readonly [string, string | null | undefined])[] = [
    ["Asked by", proposerOf(proposal)],
    ["Created", formatTime(proposal.created_at)],
    ["Expires", proposal.expires_at && formatTime(proposal.expires_at)],
    ["Reviewed", proposal.reviewed_at && formatTime(`${proposal.reviewed_at.replace(" ", "T")}Z`)],
    ["Reviewed by", proposal.reviewed_by?.name],
    ["Note", proposal.review_note],
    ["Left out", left],
    ["Superseded by", proposal.superseded_by?.toString()],
    ["For you", proposal.user_message],
    ["Message", proposal.message],
  ];
  return facts.flatMap(([label, value]) => (value ? [[label, value] as const] : []));
}

interface Item {
  readonly isRemoval: boolean;
  readonly text: string;
  readonly details: readonly string[];
}

function printItems(terminal: Terminal, title: string, items: readonly Item[]): void {
  if (items.length === 0) return;
  terminal.out(`\n${paint(terminal, "bold", title)}\n`);
  for (const { isRemoval, text, details } of items) {
    terminal.out(`  ${isRemoval ? paint(terminal, "red", "-") : paint(terminal, "green", "+")} ${oneLine(text)}\n`);
    for (const detail of details) terminal.out(`      ${oneLine(detail)}\n`);
  }
}

function describeService(service: wire.ProposedService): Item {
  const { action, name, host, auth, enabled } = service;
  const type = auth === undefined ? [] : [`auth ${auth.type}`];
  const state = enabled === undefined ? [] : [enabled ? "switched on" : "switched off"];
  const substitutions = (service.substitutions ?? []).map(
    ({ placeholder, key, in: surfaces }) => `${placeholder} → ${key} (${(surfaces ?? []).join(", ")})`,
  );
  return {
    isRemoval: action === "delete",
    text: [`${name ?? "(no name)"}  ${host}`, ...type, ...state].join("  "),
    details: substitutions,
  };
}

function describeSlot(slot: wire.ProposalSlot): Item {
  const tags = [slot.type === "oauth" ? "OAuth" : "", slot.has_value ? "value supplied by the agent" : ""];
  return {
    isRemoval: slot.action === "delete",
    text: [slot.key, ...tags.filter((tag) => tag !== "").map((tag) => `(${tag})`)].join("  "),
    details: [slot.description, slot.obtain && `Get it at ${slot.obtain}`, slot.obtain_instructions].filter(
      (detail): detail is string => Boolean(detail),
    ),
  };
}

function paintStatus(terminal: Terminal, status: string): string {
  const color = Object.entries(colors).find(([known]) => known === status)?.[1];
  return color === undefined ? printable(status) : paint(terminal, color, status);
}

/** Line breaks of an agent must not look like lines of ours. */
function oneLine(text: string): string {
  return printable(text).replaceAll("\n", "\\n");
}

function parseList<T>(text: string | undefined): readonly T[] {
  // The server is trusted to keep the shapes of its API; what it says is made printable where it is shown.
  return text === undefined ? [] : ((JSON.parse(text) ?? []) as readonly T[]);
}
