/** Proposals: made by agents, read by whoever is in the vault, shown behind an approval link. Ended in review.ts. */
import type { Transaction } from "kysely";
import type { Keyring } from "../../crypto/keyring.ts";
import { mintToken, tokenDigest, uuidv7 } from "../../crypto/token.ts";
import { Conflict, Gone, InvalidInput, NotFound, RateLimited } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import { responsibleFor, type VaultRef, vaultNotFound } from "../actors/access.ts";
import type { Principal } from "../actors/principal.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { refuseExternalStore } from "../credentials/credential.ts";
import { quote } from "../input.ts";
import { referencedKeys } from "../services/definition.ts";
import type { CredentialKey } from "../services/service.ts";
import { readServices } from "../services/service-store.ts";
import { type Consequence, consequencesOf } from "./consequences.ts";
import { planMerge } from "./merge.ts";
import type { ProposalEvents } from "./notify.ts";
import { plainText } from "./plain-text.ts";
import {
  approvalTokenLifetimeMs,
  maxPending,
  namesIn,
  type Proposal,
  type ProposedService,
  type Slot,
} from "./proposal.ts";
import {
  countSuperseded,
  endProposal,
  findByApprovalToken,
  findProposal,
  insertProposal,
  isFull,
  listProposals,
  nextNumber,
  type ProposalFilter,
} from "./proposal-store.ts";
import { maxServices, parseProposedServices, tieToExisting } from "./proposed-service.ts";
import { maxSlots, parseSlots } from "./slot.ts";

export interface ProposalsOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly events: ProposalEvents;
  readonly audit: Audit;
  /** Where people reach the API. */
  readonly baseUrl: string;
  /** AGENT_VAULT_DEV_MODE. */
  readonly allowsInternalNames: boolean;
}

/** What is asked for, as it arrived (spec of the API, section 7.2). */
export interface NewProposal {
  readonly services: readonly unknown[];
  readonly slots: readonly unknown[];
  readonly message: string;
  readonly userMessage: string;
  /** A pending proposal of the same principal that ends with this one. */
  readonly supersedes: number | undefined;
}

export interface CreatedProposal {
  readonly number: number;
  /** Holds the approval token, which is shown here and in the notification only. */
  readonly approvalUrl: string;
}

/** A proposal as whoever has its approval link sees it. */
export interface LinkedProposal {
  readonly proposal: Proposal;
  readonly vault: VaultRef;
}

/** What a pending proposal would change, in the vault as it is. */
export interface Outlook {
  readonly consequences: readonly Consequence[];
  /** Of the vault: an approval that names it fails when the vault has changed since. */
  readonly vaultVersion: number;
}

const maxMessageBytes = 2_000;
const maxUserMessageBytes = 5_000;
const hourMs = 3_600_000;
/** Each proposal is a mail to everybody; one that makes room for the next would let a loop send them without end. */
const maxSupersededPerHour = 20;

export class Proposals {
  readonly #options: ProposalsOptions;

  constructor(options: ProposalsOptions) {
    this.#options = options;
  }

  /**
   * Stores what a principal asks for. Values that it supplies are sealed.
   * @throws {InvalidInput} `invalid_proposal`. @throws {RateLimited} `too_many_proposals`.
   * @throws {NotFound} @throws {Conflict} what is to be removed, or superseded, is not there or not unique;
   * `external_credential_store`.
   */
  async create(principal: Principal, vault: VaultRef, asked: NewProposal): Promise<CreatedProposal> {
    const { changes, database, keyring, clock, audit } = this.#options;
    const { services, slots } = asked;
    refuseSizes(services, slots);
    const message = plainText(asked.message, "message", maxMessageBytes);
    const userMessage = plainText(asked.userMessage, "user_message", maxUserMessageBytes);
    const supersedes = checkNumber(asked.supersedes);
    const token = mintToken("av_appr_");
    const nowMs = clock.now();
    const { number, superseded } = await changes.transaction(async (tx, announce) => {
      await database.lockVault(tx, vault.id);
      if (slots.length > 0) await refuseExternalStore(tx, vault.id);
      const parsed = await this.#parse(tx, vault.id, services, slots);
      const number = await nextNumber(tx, vault.id);
      const superseded =
        supersedes === undefined ? undefined : await this.#supersede(tx, principal, vault.id, supersedes, number);
      if (await isFull(tx, vault.id, nowMs)) {
        throw new RateLimited("too_many_proposals", `Too many pending proposals (max ${maxPending})`);
      }
      await requireVault(tx, vault);
      const proposal = {
        ...{ id: uuidv7(nowMs), vaultId: vault.id, number, services: parsed.services, slots: parsed.slots },
        ...{ message, userMessage },
        proposedBy: { ...responsibleFor(principal), sessionId: principal.sessionId },
        approvalTokenDigest: tokenDigest(token),
        approvalTokenExpiresAt: new Date(nowMs + approvalTokenLifetimeMs).toISOString(),
        createdAt: new Date(nowMs).toISOString(),
      };
      await insertProposal(tx, keyring, proposal, parsed.values);
      audit.record(tx, principal, {
        action: "proposal.create",
        target: { type: "proposal", id: proposal.id, name: String(number) },
        vaultId: vault.id,
        after: { ...namesIn(proposal), ...(superseded !== undefined && { supersedes: superseded }) },
      });
      announce({ kind: "proposal", vaultId: vault.id, number });
      if (superseded !== undefined) announce({ kind: "proposal", vaultId: vault.id, number: superseded });
      return { number, superseded };
    });
    const approvalUrl = `${this.#options.baseUrl}/approve/${number}?token=${token}`;
    if (superseded !== undefined) this.#options.events.tell({ event: "superseded", vault, number: superseded });
    this.#options.events.tell({ event: "created", vault, number, approvalUrl });
    return { number, approvalUrl };
  }

  /** Newest first. */
  list(vaultId: string, filter: ProposalFilter = {}): Promise<readonly Proposal[]> {
    const { database, clock } = this.#options;
    return listProposals(database.db, vaultId, filter, clock.now());
  }

  find(vaultId: string, number: number): Promise<Proposal | undefined> {
    const { database, clock } = this.#options;
    return findProposal(database.db, vaultId, number, clock.now());
  }

  /** What approving it would change. Nothing, unless it is pending. */
  async outlook(proposal: Proposal): Promise<Outlook> {
    const { db } = this.#options.database;
    const { vaultId } = proposal;
    // The version first: when the vault changes in between, an approval that names it fails rather than surprises.
    const vault = await db.selectFrom("vaults").select("version").where("id", "=", vaultId).executeTakeFirst();
    const vaultVersion = vault?.version ?? 0;
    if (proposal.status !== "pending") return { consequences: [], vaultVersion };
    const [stored, storedKeys] = await Promise.all([readServices(db, vaultId), readKeys(db, vaultId)]);
    const existing = stored.map(({ service }) => service);
    return { consequences: consequencesNow(proposal, existing, storedKeys), vaultVersion };
  }

  /**
   * The proposal that an approval link shows.
   * @throws {InvalidInput} `token_required`, `proposal_mismatch`. @throws {NotFound} `unknown_link`.
   * @throws {Gone} `link_expired`, a day after it was made.
   */
  async byApprovalLink(token: string, number: string): Promise<LinkedProposal> {
    const { database, clock } = this.#options;
    if (token === "") throw new InvalidInput("token_required", "Missing token");
    const found = await findByApprovalToken(database.db, tokenDigest(token), clock.now());
    if (found === undefined) throw new NotFound("unknown_link", "Invalid or expired approval link");
    const { proposal, vaultName, linkExpiresAt } = found;
    if (String(proposal.number) !== number) throw new InvalidInput("proposal_mismatch", "Proposal ID mismatch");
    if (clock.now() > Date.parse(linkExpiresAt)) throw new Gone("link_expired", "Approval link has expired");
    return { proposal, vault: { id: proposal.vaultId, name: vaultName } };
  }

  async #parse(
    tx: Transaction<Schema>,
    vaultId: string,
    services: readonly unknown[],
    slots: readonly unknown[],
  ): Promise<ReturnType<typeof parseSlots> & { readonly services: readonly ProposedService[] }> {
    const existing = (await readServices(tx, vaultId)).map(({ service }) => service);
    const { allowsInternalNames } = this.#options;
    const proposed = parseProposedServices(services, { allowsInternalNames, existing });
    const parsed = parseSlots(slots);
    refuseUnusedSlots(proposed, parsed.slots);
    refuseUnknownKeys(proposed, parsed.slots, await readKeys(tx, vaultId));
    return { ...parsed, services: proposed };
  }

  async #supersede(
    tx: Transaction<Schema>,
    principal: Principal,
    vaultId: string,
    number: number,
    by: number,
  ): Promise<number> {
    const old = await findProposal(tx, vaultId, number, this.#options.clock.now());
    if (old === undefined || !isProposerOf(principal, old)) {
      throw new NotFound("proposal_not_found", `Proposal ${number} is not one of yours`);
    }
    refuseEnded(old);
    const hourAgo = new Date(this.#options.clock.now() - hourMs).toISOString();
    if ((await countSuperseded(tx, vaultId, hourAgo)) >= maxSupersededPerHour) {
      throw new RateLimited(
        "too_many_proposals",
        `Too many proposals were superseded (max ${maxSupersededPerHour} an hour)`,
      );
    }
    const ended = await endProposal(tx, old.id, {
      status: "expired",
      note: `Superseded by proposal ${by}`,
      supersededBy: by,
    });
    if (!ended) throw alreadyEnded(number, "ended");
    return number;
  }
}

export function proposalNotFound(number: number): NotFound {
  return new NotFound("proposal_not_found", `Proposal ${number} not found`);
}

/** @throws {Conflict} `proposal_ended`, unless it is pending. */
export function refuseEnded({ status, number }: Proposal): void {
  if (status !== "pending") throw alreadyEnded(number, status);
}

export function alreadyEnded(number: number, status: string): Conflict {
  return new Conflict("proposal_ended", `Proposal ${number} is already ${status}`);
}

/** Keys of the credentials of a vault. */
export async function readKeys(db: Database["db"], vaultId: string): Promise<ReadonlySet<CredentialKey>> {
  const rows = await db.selectFrom("credentials").select("key").where("vault_id", "=", vaultId).execute();
  return new Set(rows.map(({ key }) => key));
}

function consequencesNow(
  { services, slots }: Proposal,
  existing: Parameters<typeof planMerge>[1],
  storedKeys: ReadonlySet<CredentialKey>,
): readonly Consequence[] {
  try {
    const steps = planMerge(tieToExisting(services, existing), existing);
    return consequencesOf({ steps, slots, existing, storedKeys });
  } catch (error) {
    // Services were renamed since, so that two entries mean the same one.
    if (!(error instanceof InvalidInput)) throw error;
    return [{ kind: "cannot_be_applied", severity: "warning", text: `Cannot be applied: ${error.message}` }];
  }
}

function refuseSizes(services: readonly unknown[], slots: readonly unknown[]): void {
  if (services.length === 0 && slots.length === 0) throw invalid("at least one service or credential is required");
  if (services.length > maxServices) throw invalid(`too many services (max ${maxServices})`);
  if (slots.length > maxSlots) throw invalid(`too many credential slots (max ${maxSlots})`);
}

/** A value without a use is either a mistake or bait for the reviewer. */
function refuseUnusedSlots(proposed: readonly ProposedService[], slots: readonly Slot[]): void {
  if (proposed.length === 0) return;
  const used = new Set(proposed.flatMap((entry) => (entry.action === "set" ? referencedKeys(entry.service) : [])));
  const unused = slots.find((slot) => slot.action === "set" && !used.has(slot.key));
  if (unused === undefined) return;
  throw invalid(`credential slot ${quote(unused.key)} is not referenced by any service auth config`);
}

function refuseUnknownKeys(
  proposed: readonly ProposedService[],
  slots: readonly Slot[],
  storedKeys: ReadonlySet<CredentialKey>,
): void {
  const supplied = new Set(slots.flatMap((slot) => (slot.action === "set" ? [slot.key] : [])));
  for (const entry of proposed) {
    if (entry.action !== "set") continue;
    const missing = referencedKeys(entry.service).find((key) => !supplied.has(key) && !storedKeys.has(key));
    if (missing === undefined) continue;
    throw invalid(
      `service ${quote(entry.service.name)} references credential ${quote(missing)}, which is neither stored in the vault nor a credential slot of this proposal`,
    );
  }
}

/** A token of a person may take back only what it asked for itself: several programs may work for one person. */
function isProposerOf(principal: Principal, { proposer }: Proposal): boolean {
  if (proposer === undefined) return false;
  const { type, id } = responsibleFor(principal);
  if (type === "agent") return proposer.type === "agent" && proposer.id === id;
  return proposer.sessionId === principal.sessionId;
}

async function requireVault(tx: Transaction<Schema>, vault: VaultRef): Promise<void> {
  const row = await tx.selectFrom("vaults").select("id").where("id", "=", vault.id).executeTakeFirst();
  if (row === undefined) throw vaultNotFound(vault.name);
}

function checkNumber(supersedes: number | undefined): number | undefined {
  if (supersedes === undefined || (supersedes > 0 && supersedes < 2 ** 31)) return supersedes;
  throw new InvalidInput("invalid_body", 'Invalid request body: "supersedes" must be the number of a proposal');
}

function invalid(message: string): InvalidInput {
  return new InvalidInput("invalid_proposal", message);
}
