/** Proposals as rows: written, found and ended here. A pending row that is too old counts as expired everywhere. */
import type { Kysely, Transaction } from "kysely";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { Corrupt, messageOf } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import type { CredentialKey } from "../services/service.ts";
import {
  maxPending,
  type Party,
  type Proposal,
  type ProposalStatus,
  type Proposer,
  proposalLifetimeMs,
  type Selection,
} from "./proposal.ts";
import { formatProposedService, readProposedService } from "./proposed-service.ts";
import { formatSlot, readSlot } from "./slot.ts";

export interface ProposalFilter {
  readonly status?: string | undefined;
  /** Numbers below this one. */
  readonly before?: number | undefined;
  readonly limit?: number | undefined;
}

export interface NewProposal {
  readonly id: string;
  readonly vaultId: string;
  readonly number: number;
  readonly services: Proposal["services"];
  readonly slots: Proposal["slots"];
  readonly message: string;
  readonly userMessage: string;
  readonly proposedBy: { readonly type: string; readonly id: string; readonly sessionId: string };
  readonly approvalTokenDigest: string;
  readonly approvalTokenExpiresAt: string;
  readonly createdAt: string;
}

/** How a pending proposal ends. */
export interface Ending {
  readonly status: Exclude<ProposalStatus, "pending">;
  /** Undefined when nobody decided: it expired, or another one took its place. */
  readonly review?: { readonly at: string; readonly by: { readonly type: string; readonly id: string } };
  readonly note?: string;
  readonly supersededBy?: number;
  readonly declined?: Selection | undefined;
}

/** Binds the sealed value of a slot to its proposal and key (crypto/keyring.ts). */
export function slotRecord(proposalId: string, key: CredentialKey): RecordKey {
  return ["proposal_credentials", `${proposalId}/${key}`, "value_sealed"];
}

/** Pending proposals made at or before this time have expired. */
export function expiryCutoff(nowMs: number): string {
  return new Date(nowMs - proposalLifetimeMs).toISOString();
}

export async function findProposal(
  db: Kysely<Schema>,
  vaultId: string,
  number: number,
  nowMs: number,
): Promise<Proposal | undefined> {
  const row = await selectProposals(db)
    .where("proposals.vault_id", "=", vaultId)
    .where("proposals.number", "=", number)
    .executeTakeFirst();
  return row && toProposal(row, nowMs);
}

/** Newest first. A status that nobody has finds nothing. */
export async function listProposals(
  db: Kysely<Schema>,
  vaultId: string,
  filter: ProposalFilter,
  nowMs: number,
): Promise<readonly Proposal[]> {
  const cutoff = expiryCutoff(nowMs);
  let query = selectProposals(db).where("proposals.vault_id", "=", vaultId).orderBy("proposals.number", "desc");
  const { status, before, limit } = filter;
  if (status === "pending") {
    query = query.where("proposals.status", "=", "pending").where("proposals.created_at", ">", cutoff);
  } else if (status === "expired") {
    query = query.where((on) =>
      on.or([
        on("proposals.status", "=", "expired"),
        on.and([on("proposals.status", "=", "pending"), on("proposals.created_at", "<=", cutoff)]),
      ]),
    );
  } else if (status) query = query.where("proposals.status", "=", status);
  if (before !== undefined) query = query.where("proposals.number", "<", before);
  if (limit !== undefined) query = query.limit(limit);
  return (await query.execute()).map((row) => toProposal(row, nowMs));
}

export async function findByApprovalToken(db: Kysely<Schema>, digest: string, nowMs: number) {
  const row = await selectProposals(db)
    .innerJoin("vaults", "vaults.id", "proposals.vault_id")
    .select(["vaults.name as vaultName", "proposals.approval_token_expires_at as linkExpiresAt"])
    .where("proposals.approval_token_digest", "=", digest)
    .executeTakeFirst();
  return row && { proposal: toProposal(row, nowMs), vaultName: row.vaultName, linkExpiresAt: row.linkExpiresAt };
}

/** The caller holds the vault's lock. */
export async function nextNumber(tx: Transaction<Schema>, vaultId: string): Promise<number> {
  const row = await tx
    .selectFrom("proposals")
    .select(({ fn }) => fn.max("number").as("last"))
    .where("vault_id", "=", vaultId)
    .executeTakeFirst();
  return Number(row?.last ?? 0) + 1;
}

/** The caller holds the vault's lock. */
export async function isFull(tx: Transaction<Schema>, vaultId: string, nowMs: number): Promise<boolean> {
  const row = await tx
    .selectFrom("proposals")
    .select(({ fn }) => fn.countAll<number | string>().as("count"))
    .where("vault_id", "=", vaultId)
    .where("status", "=", "pending")
    .where("created_at", ">", expiryCutoff(nowMs))
    .executeTakeFirst();
  return Number(row?.count ?? 0) >= maxPending;
}

/** How many proposals made after `since` gave way to another one. The caller holds the vault's lock. */
export async function countSuperseded(tx: Transaction<Schema>, vaultId: string, since: string): Promise<number> {
  const row = await tx
    .selectFrom("proposals")
    .select(({ fn }) => fn.countAll<number | string>().as("count"))
    .where("vault_id", "=", vaultId)
    .where("superseded_by", "is not", null)
    .where("created_at", ">", since)
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

export async function insertProposal(
  tx: Transaction<Schema>,
  keyring: Keyring,
  proposal: NewProposal,
  values: ReadonlyMap<CredentialKey, Secret>,
): Promise<void> {
  const { id, vaultId, number, proposedBy } = proposal;
  await tx
    .insertInto("proposals")
    .values({
      id,
      vault_id: vaultId,
      number,
      status: "pending",
      services: JSON.stringify(proposal.services.map(formatProposedService)),
      credentials: JSON.stringify(proposal.slots.map(formatSlot)),
      message: proposal.message,
      user_message: proposal.userMessage,
      proposed_by_type: proposedBy.type,
      proposed_by_id: proposedBy.id,
      proposed_by_session: proposedBy.sessionId,
      review_note: "",
      approval_token_digest: proposal.approvalTokenDigest,
      approval_token_expires_at: proposal.approvalTokenExpiresAt,
      created_at: proposal.createdAt,
    })
    .execute();
  for (const [key, value] of values) {
    const value_sealed = await keyring.seal(slotRecord(id, key), value.reveal());
    await tx.insertInto("proposal_credentials").values({ proposal_id: id, key, value_sealed }).execute();
  }
}

/** Values that the agent supplied. @throws {Corrupt} when one does not open. */
export async function readSlotValues(
  tx: Transaction<Schema>,
  keyring: Keyring,
  proposalId: string,
): Promise<ReadonlyMap<CredentialKey, Secret>> {
  const rows = await tx
    .selectFrom("proposal_credentials")
    .select(["key", "value_sealed"])
    .where("proposal_id", "=", proposalId)
    .execute();
  const values = new Map<CredentialKey, Secret>();
  for (const { key, value_sealed } of rows) {
    values.set(key, new Secret(await keyring.unsealText(slotRecord(proposalId, key), value_sealed)));
  }
  return values;
}

/**
 * Ends a proposal that is pending still, and forgets the values that it held.
 * @returns false when somebody else has ended it.
 */
export async function endProposal(tx: Transaction<Schema>, proposalId: string, ending: Ending): Promise<boolean> {
  const ended = await tx
    .updateTable("proposals")
    .set({
      status: ending.status,
      review_note: ending.note ?? "",
      ...(ending.review && {
        reviewed_at: ending.review.at,
        reviewed_by_type: ending.review.by.type,
        reviewed_by_id: ending.review.by.id,
      }),
      ...(ending.supersededBy !== undefined && { superseded_by: ending.supersededBy }),
      ...(ending.declined && { declined: JSON.stringify(ending.declined) }),
    })
    .where("id", "=", proposalId)
    .where("status", "=", "pending")
    .executeTakeFirst();
  if (ended.numUpdatedRows === 0n) return false;
  await tx.deleteFrom("proposal_credentials").where("proposal_id", "=", proposalId).execute();
  return true;
}

function selectProposals(db: Kysely<Schema>) {
  return db
    .selectFrom("proposals")
    .leftJoin("agents as proposing_agents", (join) =>
      join.onRef("proposing_agents.id", "=", "proposals.proposed_by_id").on("proposals.proposed_by_type", "=", "agent"),
    )
    .leftJoin("users as proposing_users", (join) =>
      join.onRef("proposing_users.id", "=", "proposals.proposed_by_id").on("proposals.proposed_by_type", "=", "user"),
    )
    .leftJoin("agents as reviewing_agents", (join) =>
      join.onRef("reviewing_agents.id", "=", "proposals.reviewed_by_id").on("proposals.reviewed_by_type", "=", "agent"),
    )
    .leftJoin("users as reviewing_users", (join) =>
      join.onRef("reviewing_users.id", "=", "proposals.reviewed_by_id").on("proposals.reviewed_by_type", "=", "user"),
    )
    .leftJoin("sessions", "sessions.public_id", "proposals.proposed_by_session")
    .select([
      "proposals.id",
      "proposals.vault_id",
      "proposals.number",
      "proposals.status",
      "proposals.services",
      "proposals.credentials",
      "proposals.message",
      "proposals.user_message",
      "proposals.proposed_by_type",
      "proposals.proposed_by_id",
      "proposals.proposed_by_session",
      "proposals.reviewed_by_type",
      "proposals.reviewed_by_id",
      "proposals.review_note",
      "proposals.reviewed_at",
      "proposals.declined",
      "proposals.superseded_by",
      "proposals.created_at",
      "proposing_agents.name as proposing_agent",
      "proposing_users.email as proposing_user",
      "reviewing_agents.name as reviewing_agent",
      "reviewing_users.email as reviewing_user",
      "sessions.kind as session_kind",
      "sessions.label as session_label",
    ]);
}

type Row = Awaited<ReturnType<ReturnType<typeof selectProposals>["executeTakeFirstOrThrow"]>>;

function toProposal(row: Row, nowMs: number): Proposal {
  const isOverdue = row.status === "pending" && row.created_at <= expiryCutoff(nowMs);
  return {
    id: row.id,
    vaultId: row.vault_id,
    number: row.number,
    // The column holds what this file writes.
    status: isOverdue ? "expired" : (row.status as ProposalStatus),
    services: readList(row, row.services, readProposedService),
    slots: readList(row, row.credentials, readSlot),
    message: row.message,
    userMessage: row.user_message,
    proposer: proposerOf(row),
    reviewer: partyOf(row.reviewed_by_type, row.reviewed_by_id, row.reviewing_agent ?? row.reviewing_user),
    reviewNote: row.review_note,
    reviewedAt: row.reviewed_at ?? undefined,
    declined: row.declined === null ? undefined : (JSON.parse(row.declined) as Selection),
    supersededBy: row.superseded_by ?? undefined,
    createdAt: row.created_at,
    expiresAt: new Date(Date.parse(row.created_at) + proposalLifetimeMs).toISOString(),
  };
}

function proposerOf(row: Row): Proposer | undefined {
  const party = partyOf(row.proposed_by_type, row.proposed_by_id, row.proposing_agent ?? row.proposing_user);
  if (party === undefined) return undefined;
  // A person cannot propose but through a token; an agent's own session is of kind `agent` for as long as it lives.
  const isToken = party.type === "user" || row.session_kind === "scoped";
  const label = isToken ? (row.session_label ?? undefined) : undefined;
  return { ...party, isToken, sessionId: row.proposed_by_session ?? "", label };
}

function partyOf(type: string | null, id: string | null, name: string | null): Party | undefined {
  if ((type !== "user" && type !== "agent") || id === null) return undefined;
  return { type, id, name: name ?? undefined };
}

function readList<T>(row: Row, text: string, read: (stored: unknown) => T): readonly T[] {
  try {
    return (JSON.parse(text) as readonly unknown[]).map(read);
  } catch (error) {
    throw new Corrupt("proposal_unreadable", `Proposal ${row.number} cannot be read from the database`, {
      cause: messageOf(error),
    });
  }
}
