/** Proposals as the API shows them: to agents, to reviewers, and behind an approval link. */
import type { Consequence } from "../domain/proposals/consequences.ts";
import { describeProposer } from "../domain/proposals/notify.ts";
import type { Party, Proposal, Proposer } from "../domain/proposals/proposal.ts";
import type { Outlook } from "../domain/proposals/proposals.ts";
import { formatProposedService } from "../domain/proposals/proposed-service.ts";
import { formatSlot } from "../domain/proposals/slot.ts";
import { wireTime } from "./answer.ts";

/** One line of an agent's list. */
export function formatSummary(proposal: Proposal): object {
  const { number, status, message, createdAt } = proposal;
  return { id: number, status, message, created_at: wireTime(createdAt) };
}

export function formatForAgent(proposal: Proposal): object {
  return {
    id: proposal.number,
    status: proposal.status,
    services: services(proposal),
    credentials: slots(proposal),
    message: proposal.message,
    review_note: proposal.reviewNote,
    reviewed_at: proposal.reviewedAt === undefined ? null : reviewTime(proposal.reviewedAt),
    created_at: wireTime(proposal.createdAt),
    ...more(proposal, partyForAgents),
  };
}

/** One line of a reviewer's list. */
export function formatReviewItem(proposal: Proposal): object {
  return {
    id: proposal.number,
    status: proposal.status,
    message: proposal.message,
    ...documents(proposal),
    ...(proposal.reviewNote !== "" && { review_note: proposal.reviewNote }),
    ...reviewedAt(proposal),
    created_at: wireTime(proposal.createdAt),
    ...more(proposal),
  };
}

export function formatForReview(proposal: Proposal): object {
  return {
    id: proposal.number,
    status: proposal.status,
    message: proposal.message,
    user_message: proposal.userMessage,
    ...documents(proposal),
    review_note: proposal.reviewNote,
    created_at: wireTime(proposal.createdAt),
    ...reviewedAt(proposal),
    ...more(proposal),
  };
}

/** As the page behind an approval link shows it. */
export function formatForPage(proposal: Proposal, vaultName: string): object {
  return {
    proposal_id: proposal.number,
    vault: vaultName,
    status: proposal.status,
    services: services(proposal),
    credentials: slots(proposal),
    message: proposal.message,
    user_message: proposal.userMessage,
    agent_name: proposal.proposer?.type === "agent" ? (proposal.proposer.name ?? "") : "",
    created_at: wireTime(proposal.createdAt),
    expires_at: wireTime(proposal.expiresAt),
  };
}

/** What the page adds for whoever may decide: who has the link may be anybody. */
export function formatForReviewerOfPage(proposal: Proposal, outlook: Outlook): object {
  return { requested_by: describeProposer(proposal.proposer), ...formatOutlook(outlook) };
}

export function formatOutlook({ consequences, vaultVersion }: Outlook): object {
  return { consequences: consequences.map(formatConsequence), vault_version: vaultVersion };
}

function formatConsequence(consequence: Consequence): object {
  return { ...consequence };
}

function services({ services }: Proposal): readonly object[] {
  return services.map(formatProposedService);
}

/** Null without slots: what clients know from the beginning. */
function slots({ slots }: Proposal): readonly object[] | null {
  return slots.length === 0 ? null : slots.map(formatSlot);
}

function documents(proposal: Proposal): object {
  return { services_json: JSON.stringify(services(proposal)), credentials_json: JSON.stringify(slots(proposal)) };
}

function reviewedAt({ reviewedAt }: Proposal): object {
  return reviewedAt === undefined ? {} : { reviewed_at: reviewTime(reviewedAt) };
}

/** The one timestamp of another form: `2026-01-31 12:00:00`, UTC. */
function reviewTime(timestamp: string): string {
  return timestamp.slice(0, 19).replace("T", " ");
}

function more(proposal: Proposal, show: (party: Party) => object = partyForm): object {
  const { proposer, reviewer, declined, supersededBy, status, expiresAt } = proposal;
  return {
    ...(proposer !== undefined && { proposed_by: { ...show(proposer), ...wayOf(proposer) } }),
    ...(reviewer !== undefined && { reviewed_by: show(reviewer) }),
    ...(declined !== undefined && { declined }),
    ...(supersededBy !== undefined && { superseded_by: supersededBy }),
    ...(status === "pending" && { expires_at: wireTime(expiresAt) }),
  };
}

/** With which kind of token, and the label of that token. */
function wayOf({ isToken, label }: Proposer): object {
  return { via: isToken ? "vault_token" : "agent_token", ...(label !== undefined && { label }) };
}

/** Agents do not learn the addresses of people. */
function partyForAgents(party: Party): object {
  return party.type === "user" ? { type: party.type } : partyForm(party);
}

function partyForm({ type, id, name }: Party): object {
  return { type, id, ...(name !== undefined && { name }) };
}
