/** What agents ask for, and what people make of it. */
import type { Client } from "../client.ts";
import type * as wire from "../wire.ts";
import { type Camel, camel } from "./camel.ts";
import type { ServiceAuth, Substitution } from "./services.ts";

export type ProposalStatus = "pending" | "applied" | "rejected" | "expired";

export interface ProposalService {
  readonly action: "set" | "delete";
  readonly name?: string | undefined;
  readonly host: string;
  readonly enabled?: boolean | undefined;
  readonly auth?: ServiceAuth | undefined;
  readonly substitutions?: readonly Substitution[] | undefined;
}

/** A credential that is missing: a person fills it in, unless `value` is known. */
export interface ProposalCredentialSlot {
  readonly action: "set" | "delete";
  readonly key: string;
  readonly type?: "static" | "oauth" | undefined;
  readonly description?: string | undefined;
  /** Page where the credential is to be had. */
  readonly obtain?: string | undefined;
  readonly obtain_instructions?: string | undefined;
  readonly value?: string | undefined;
  readonly oauth?: Readonly<Record<string, unknown>> | undefined;
}

export interface CreateProposalOptions {
  readonly services?: readonly ProposalService[] | undefined;
  readonly credentials?: readonly ProposalCredentialSlot[] | undefined;
  /** For developers; at most 2,000 characters. */
  readonly message?: string | undefined;
  /** For whoever decides; at most 5,000 characters. */
  readonly userMessage?: string | undefined;
}

export type CreatedProposal = Camel<wire.CreatedProposal>;
export type Proposal = Camel<Omit<wire.Proposal, "services_json" | "credentials_json" | "status">> & {
  readonly status: ProposalStatus;
};

export interface WaitOptions {
  /** Ten minutes when absent. */
  readonly timeoutMs?: number | undefined;
}

export interface ApproveOptions {
  /** Values for the slots that have none. */
  readonly credentials?: Readonly<Record<string, string>> | undefined;
  /** Only these parts; everything when absent. */
  readonly only?: wire.ProposalSelection | undefined;
}

/** A server holds a request for 50 seconds at most. */
const longestPollSeconds = 45;

export class Proposals {
  readonly #client: Client;
  readonly #vault: string | undefined;

  /** @param vault undefined: the one that the token is for. */
  constructor(client: Client, vault: string | undefined) {
    this.#client = client;
    this.#vault = vault;
  }

  /** As an agent. Show `approvalUrl` to a person who may decide. */
  async create({ services, credentials, message, userMessage }: CreateProposalOptions): Promise<CreatedProposal> {
    const body = { services, credentials, message, user_message: userMessage };
    return camel(await this.#client.createProposal(this.#vault, body));
  }

  /** As an agent: one proposal. */
  async get(id: number): Promise<Proposal> {
    return readProposal(await this.#client.ownProposal(this.#vault, String(id)));
  }

  /** As an agent: those of the vault, newest first. */
  async list({ status }: { readonly status?: ProposalStatus | undefined } = {}): Promise<readonly Proposal[]> {
    return await allPages((query) => this.#client.listOwnProposals(this.#vault, { status, ...query }));
  }

  /**
   * As an agent: the proposal once somebody decided, or as it is when the time is over. Costs one request in three
   * quarters of a minute.
   */
  async wait(id: number, { timeoutMs = 600_000 }: WaitOptions = {}): Promise<Proposal> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const left = Math.ceil((end - Date.now()) / 1000);
      const seconds = Math.min(longestPollSeconds, Math.max(0, left));
      const waiting = seconds > 0 ? seconds : undefined;
      const proposal = readProposal(await this.#client.ownProposal(this.#vault, String(id), waiting));
      if (proposal.status !== "pending" || waiting === undefined) return proposal;
    }
  }

  /** As a reviewer: those of the vault, newest first, with everything that they ask for. */
  async listForReview({ status }: { readonly status?: ProposalStatus | undefined } = {}): Promise<readonly Proposal[]> {
    return await allPages((query) => this.#client.listProposals(this.#vault, { status, ...query }));
  }

  /** As a reviewer: one, with what an approval would change. */
  async getForReview(id: number): Promise<Proposal> {
    return readProposal(await this.#client.proposal(this.#vault, String(id)));
  }

  /** Needs a member of the vault who is not the one that asked. */
  async approve(id: number, { credentials = {}, only }: ApproveOptions = {}): Promise<Camel<wire.DecidedProposal>> {
    const approval = { credentials, ...(only === undefined ? {} : { only }) };
    return camel(await this.#client.approveProposal(this.#vault, String(id), approval));
  }

  async reject(id: number, reason = ""): Promise<Camel<wire.DecidedProposal>> {
    return camel(await this.#client.rejectProposal(this.#vault, String(id), reason));
  }
}

type Page = Pick<wire.ProposalFilter, "limit" | "before">;

async function allPages(ask: (query: Page) => Promise<wire.ProposalList>): Promise<readonly Proposal[]> {
  const all: Proposal[] = [];
  for (let before: string | undefined; ; ) {
    const { proposals, next_before: next } = await ask({ limit: "500", before });
    all.push(...(proposals ?? []).map(readProposal));
    // A place that does not move would never end.
    if (next === undefined || String(next) === before) return all;
    before = String(next);
  }
}

/** Reviewers get the lists as JSON texts, agents as lists. */
function readProposal({ services_json, credentials_json, ...proposal }: wire.Proposal): Proposal {
  const lists = {
    ...(services_json === undefined ? {} : { services: JSON.parse(services_json) }),
    ...(credentials_json === undefined ? {} : { credentials: JSON.parse(credentials_json) }),
  };
  return camel({ ...proposal, ...lists }) as Proposal;
}
