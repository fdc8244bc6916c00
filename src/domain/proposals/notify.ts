/** Tells people and programs what became of proposals: by mail and by webhook, in the background, never failing anybody. */
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Database } from "../../storage/database.ts";
import type { VaultRef } from "../actors/access.ts";
import type { Clock } from "../clock.ts";
import type { Mail } from "../mail.ts";
import { formatPattern } from "../services/pattern.ts";
import { excerpt } from "./plain-text.ts";
import { nameOfService, type Proposal, type Proposer, patternOf } from "./proposal.ts";
import { findProposal } from "./proposal-store.ts";
import type { Webhooks } from "./webhooks.ts";

export type ProposalEvent =
  | {
      readonly event: "created";
      readonly vault: VaultRef;
      readonly number: number;
      /** Goes into mails to the people of the vault, never to a webhook: it holds the approval token. */
      readonly approvalUrl: string;
    }
  | {
      readonly event: "applied" | "rejected" | "expired" | "superseded";
      readonly vault: VaultRef;
      readonly number: number;
    };

export interface ProposalEventsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly mail: Mail;
  readonly webhooks: Webhooks;
  readonly log: Logger;
  readonly baseUrl: string;
}

const maxExcerptBytes = 200;

export class ProposalEvents {
  readonly #options: ProposalEventsOptions;
  readonly #telling = new Set<Promise<void>>();

  constructor(options: ProposalEventsOptions) {
    this.#options = options;
  }

  /** To be called after the commit. Returns at once. */
  tell(event: ProposalEvent): void {
    const telling = this.#tell(event)
      .catch((error: unknown) => {
        this.#options.log.warn("nobody could be told about a proposal", {
          event: event.event,
          error: messageOf(error),
        });
      })
      .finally(() => this.#telling.delete(telling));
    this.#telling.add(telling);
  }

  /** Waits until what was told is handed over; deliveries that wait for another try are given up. */
  async close(): Promise<void> {
    await Promise.all(this.#telling);
    await this.#options.webhooks.close();
  }

  async #tell(event: ProposalEvent): Promise<void> {
    const { database, clock, mail, webhooks, baseUrl } = this.#options;
    const { vault, number } = event;
    const proposal = await findProposal(database.db, vault.id, number, clock.now());
    if (proposal === undefined) return;
    if (event.event === "created" && mail.isConfigured) {
      const message = {
        kind: "proposal",
        vault: vault.name,
        agent: describeProposer(proposal.proposer),
        number,
        message: excerpt(proposal.message, maxExcerptBytes),
        link: event.approvalUrl,
      } as const;
      // One message each: nobody learns the others' addresses.
      for (const to of await peopleOf(database, vault.id)) mail.deliver({ ...message, to });
    }
    await webhooks.deliver(vault.id, `proposal.${event.event}`, {
      proposal: payloadOf(proposal, vault),
      url: `${baseUrl}/vaults/${encodeURIComponent(vault.name)}/proposals`,
    });
  }
}

/** `ag-proxy`, or `a token of ann@example.com ("ci")`. Empty when nobody knows any more. */
export function describeProposer(proposer: Proposer | undefined): string {
  if (proposer?.name === undefined) return "";
  if (!proposer.isToken) return proposer.name;
  return `a token of ${proposer.name}${proposer.label === undefined ? "" : ` ("${proposer.label}")`}`;
}

async function peopleOf({ db }: Database, vaultId: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom("vault_grants")
    .innerJoin("users", "users.id", "vault_grants.user_id")
    .select("users.email")
    .where("vault_grants.vault_id", "=", vaultId)
    .where("users.is_active", "=", 1)
    .orderBy("users.email")
    .execute();
  return rows.map(({ email }) => email);
}

/** What a webhook learns: names and the agent's words, neither values nor the approval link. */
function payloadOf(proposal: Proposal, vault: VaultRef): object {
  return {
    id: proposal.number,
    vault: vault.name,
    status: proposal.status,
    message: proposal.message,
    user_message: proposal.userMessage,
    proposed_by: describeProposer(proposal.proposer),
    services: proposal.services.map((entry) => ({
      action: entry.action === "delete" ? "delete" : "set",
      name: nameOfService(entry),
      host: formatPattern(patternOf(entry)),
    })),
    credentials: proposal.slots.map(({ action, key }) => ({ action, key })),
    ...(proposal.reviewer?.name !== undefined && { reviewed_by: proposal.reviewer.name }),
    review_note: proposal.reviewNote,
    ...(proposal.declined !== undefined && { declined: proposal.declined }),
    ...(proposal.supersededBy !== undefined && { superseded_by: proposal.supersededBy }),
    created_at: wholeSeconds(proposal.createdAt),
    expires_at: wholeSeconds(proposal.expiresAt),
  };
}

function wholeSeconds(timestamp: string): string {
  return `${timestamp.slice(0, 19)}Z`;
}
