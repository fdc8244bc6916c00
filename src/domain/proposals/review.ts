/** How proposals end: approved, rejected, or by age. An approval is one transaction under the vault's lock, or nothing. */

import type { Keyring } from "../../crypto/keyring.ts";
import type { Secret } from "../../crypto/secret.ts";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict, InvalidInput, messageOf } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import { type Access, responsibleFor, type VaultRef } from "../actors/access.ts";
import type { Principal } from "../actors/principal.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { type Credentials, refuseExternalStore } from "../credentials/credential.ts";
import type { OAuthSettings } from "../credentials/oauth-settings.ts";
import { OAuthStore } from "../credentials/oauth-store.ts";
import { quote } from "../input.ts";
import { auditForm } from "../services/audit-form.ts";
import { referencedKeys } from "../services/definition.ts";
import type { CredentialKey } from "../services/service.ts";
import { readServices } from "../services/service-store.ts";
import { insertServices, updateDefinition } from "../services/services.ts";
import type { VaultWrite, VaultWriter } from "../vaults/vault-writer.ts";
import { planMerge, type Step } from "./merge.ts";
import type { ProposalEvents } from "./notify.ts";
import { plainText } from "./plain-text.ts";
import {
  nameOfService,
  namesIn,
  type OAuthRequest,
  type Proposal,
  type ProposedService,
  type Selection,
  type Slot,
} from "./proposal.ts";
import { endProposal, expiryCutoff, findProposal, readSlotValues } from "./proposal-store.ts";
import { alreadyEnded, proposalNotFound, readKeys, refuseEnded } from "./proposals.ts";
import { tieToExisting } from "./proposed-service.ts";

export interface ReviewOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly log: Logger;
  readonly writer: VaultWriter;
  readonly access: Access;
  readonly credentials: Credentials;
  readonly events: ProposalEvents;
  readonly audit: Audit;
}

export interface Approval {
  /** Values of the reviewer; one beats what the agent supplied. */
  readonly values: ReadonlyMap<CredentialKey, Secret>;
  /** Only these items are applied; undefined for all of them. */
  readonly only?: Selection | undefined;
  /** The version of the vault that the reviewer looked at. */
  readonly vaultVersion?: number | undefined;
}

const maxReasonBytes = 5_000;
/** Rows that one transaction of the sweep ends. */
const sweepSize = 200;

export class Reviews {
  readonly #options: ReviewOptions;

  constructor(options: ReviewOptions) {
    this.#options = options;
  }

  /**
   * Applies a proposal, or the chosen items of it: services and credentials as one change of the vault.
   * @returns what was left out.
   * @throws {NotFound} `proposal_not_found`. @throws {Forbidden} `own_proposal`.
   * @throws {InvalidInput} a value is missing or empty, or the choice makes no sense.
   * @throws {Conflict} `proposal_ended`, `vault_changed`, `external_credential_store`, or the vault has changed so
   * that it cannot be applied: `proposal_outdated`.
   */
  async approve(
    reviewer: Principal,
    vault: VaultRef,
    number: number,
    approval: Approval,
  ): Promise<Selection | undefined> {
    const { writer, clock, access, changes, events, audit } = this.#options;
    const declined = await writer.change(vault.id, async (change) => {
      const proposal = await findProposal(change.tx, vault.id, number, clock.now());
      if (proposal === undefined) throw proposalNotFound(number);
      if (proposal.proposer !== undefined) access.refuseOwnProposal(reviewer, proposal.proposer);
      refuseEnded(proposal);
      await requireVersion(change, vault.id, approval.vaultVersion);
      const chosen = choose(proposal, approval.only);
      if (chosen.slots.length > 0) await refuseExternalStore(change.tx, vault.id);
      const values = await this.#resolveValues(change, proposal.id, chosen.slots, approval.values);
      const steps = await this.#applyServices(change, vault.id, chosen);
      const by = responsibleFor(reviewer);
      await this.#applySlots(change, vault.id, chosen.slots, { values, by: reviewer });
      audit.record(change.tx, reviewer, {
        action: "proposal.approve",
        target: { type: "proposal", id: proposal.id, name: String(number) },
        vaultId: vault.id,
        after: { ...namesIn(chosen), services: steps.flatMap(stepForAudit) },
      });
      const ending = { status: "applied", review: { at: change.now, by }, declined: chosen.declined } as const;
      if (!(await endProposal(change.tx, proposal.id, ending))) throw alreadyEnded(number, "ended");
      changes.announce(change.tx, { kind: "proposal", vaultId: vault.id, number });
      return chosen.declined;
    });
    events.tell({ event: "applied", vault, number });
    return declined;
  }

  /**
   * @throws {NotFound} `proposal_not_found`. @throws {Conflict} `proposal_ended`. @throws {InvalidInput} an endless reason.
   */
  async reject(reviewer: Principal, vault: VaultRef, number: number, reason: string): Promise<void> {
    const { database, changes, clock, events, audit } = this.#options;
    const note = plainText(reason, "reason", maxReasonBytes);
    await changes.transaction(async (tx, announce) => {
      await database.lockVault(tx, vault.id);
      const proposal = await findProposal(tx, vault.id, number, clock.now());
      if (proposal === undefined) throw proposalNotFound(number);
      refuseEnded(proposal);
      const review = { at: new Date(clock.now()).toISOString(), by: responsibleFor(reviewer) };
      if (!(await endProposal(tx, proposal.id, { status: "rejected", review, note }))) {
        throw alreadyEnded(number, "ended");
      }
      audit.record(tx, reviewer, {
        action: "proposal.reject",
        target: { type: "proposal", id: proposal.id, name: String(number) },
        vaultId: vault.id,
      });
      announce({ kind: "proposal", vaultId: vault.id, number });
    });
    events.tell({ event: "rejected", vault, number });
  }

  /** Ends every proposal of the instance that is too old, and forgets the values that they held. */
  async expireOverdue(): Promise<void> {
    const { changes, clock, events, log } = this.#options;
    for (;;) {
      const ended = await changes.transaction(async (tx, announce) => {
        const rows = await tx
          .selectFrom("proposals")
          .innerJoin("vaults", "vaults.id", "proposals.vault_id")
          .select(["proposals.id", "proposals.number", "vaults.id as vaultId", "vaults.name as vaultName"])
          .where("proposals.status", "=", "pending")
          .where("proposals.created_at", "<=", expiryCutoff(clock.now()))
          .orderBy("proposals.created_at")
          .limit(sweepSize)
          .execute();
        const ended: typeof rows = [];
        for (const row of rows) {
          if (!(await endProposal(tx, row.id, { status: "expired" }))) continue;
          announce({ kind: "proposal", vaultId: row.vaultId, number: row.number });
          ended.push(row);
        }
        return ended;
      });
      for (const { vaultId, vaultName, number } of ended) {
        events.tell({ event: "expired", vault: { id: vaultId, name: vaultName }, number });
      }
      if (ended.length > 0) log.debug("proposals expired", { count: ended.length });
      if (ended.length < sweepSize) return;
    }
  }

  /** The value of every slot that is to be set, without looking at any that is not. */
  async #resolveValues(
    change: VaultWrite,
    proposalId: string,
    slots: readonly Slot[],
    given: ReadonlyMap<CredentialKey, Secret>,
  ): Promise<ReadonlyMap<CredentialKey, Secret>> {
    const wanted = slots.filter((slot) => slot.action === "set" && slot.type !== "oauth");
    if (wanted.length === 0) return new Map();
    const held = await readSlotValues(change.tx, this.#options.keyring, proposalId);
    const missing = wanted.filter(({ key }) => !given.has(key) && !held.has(key)).map(({ key }) => key);
    if (missing[0] !== undefined) {
      throw new InvalidInput("missing_value", `Missing value for credential ${quote(missing[0])}`, {
        details: { missing },
      });
    }
    const values = new Map<CredentialKey, Secret>();
    for (const { key } of wanted) {
      const value = given.get(key) ?? held.get(key);
      if (value === undefined || value.reveal() === "") {
        throw new InvalidInput("empty_value", `Credential ${quote(key)} cannot be empty`);
      }
      values.set(key, value);
    }
    return values;
  }

  async #applyServices(change: VaultWrite, vaultId: string, { services, slots }: Chosen): Promise<readonly Step[]> {
    if (services.length === 0) return [];
    const stored = await readServices(change.tx, vaultId);
    const existing = stored.map(({ service }) => service);
    const tied = outdated(() => tieToExisting(services, existing));
    refuseMissingKeys(tied, slots, await readKeys(change.tx, vaultId));
    const steps = planMerge(tied, existing);
    const rows = new Map(stored.map((row) => [row.service.name, row.id]));
    for (const step of steps) await applyStep(change, step, rows);
    const next = (stored.at(-1)?.position ?? -1) + 1;
    const added = steps.flatMap((step) => (step.kind === "add" ? [step.after] : []));
    const newRows = added.map((service, index) => ({ id: uuidv7(), service, position: next + index }));
    await insertServices(change.tx, vaultId, newRows, change.now);
    return steps;
  }

  async #applySlots(
    change: VaultWrite,
    vaultId: string,
    slots: readonly Slot[],
    { values, by }: { readonly values: ReadonlyMap<CredentialKey, Secret>; readonly by: Principal },
  ): Promise<void> {
    const oauth = new OAuthStore({ keyring: this.#options.keyring });
    if (values.size > 0) await this.#options.credentials.setIn(by, change, { vaultId, values });
    for (const slot of slots) {
      if (slot.action === "delete") {
        await change.tx.deleteFrom("credentials").where("vault_id", "=", vaultId).where("key", "=", slot.key).execute();
      } else if (slot.type === "oauth") {
        const write = { vaultId, key: slot.key, settings: settingsOf(slot.oauth), now: change.now };
        await oauth.saveSettings(change.tx, { ...write, clientSecret: { kind: "keep" } });
      }
    }
  }
}

/** A step of an approval as the audit log shows it. */
function stepForAudit(step: Step): object[] {
  switch (step.kind) {
    case "add":
      return [{ action: "add", name: step.after.name, after: auditForm(step.after) }];
    case "replace":
    case "switch":
      return [
        { action: step.kind, name: step.after.name, before: auditForm(step.before), after: auditForm(step.after) },
      ];
    case "remove":
      return [{ action: "remove", name: step.before.name, before: auditForm(step.before) }];
    case "impossible":
    case "nothing":
      return [];
  }
}

/** As the store keeps them; a person adds what is missing when they connect. */
function settingsOf(asked: OAuthRequest): OAuthSettings {
  return {
    authorizationUrl: asked.authorizationUrl,
    tokenUrl: asked.tokenUrl,
    clientId: asked.clientId ?? "",
    scopes: asked.scopes ?? "",
    scopeSeparator: asked.scopeSeparator ?? "",
    disablePkce: asked.disablePkce === true,
    tokenAuthMethod: asked.tokenAuthMethod ?? "client_secret_post",
  };
}

interface Chosen {
  readonly services: readonly ProposedService[];
  readonly slots: readonly Slot[];
  readonly declined: Selection | undefined;
}

/** @throws {InvalidInput} `invalid_selection`, for an item that the proposal does not have, and for none at all. */
function choose({ services, slots, number }: Proposal, only: Selection | undefined): Chosen {
  if (only === undefined) return { services, slots, declined: undefined };
  const unknown =
    only.services.find((name) => !services.some((entry) => nameOfService(entry) === name)) ??
    only.credentials.find((key) => !slots.some((slot) => slot.key === key));
  if (unknown !== undefined) {
    throw new InvalidInput("invalid_selection", `Proposal ${number} has no item ${quote(unknown)}`);
  }
  const isChosen = (entry: ProposedService) => only.services.includes(nameOfService(entry));
  const chosen = {
    services: services.filter(isChosen),
    slots: slots.filter(({ key }) => only.credentials.includes(key)),
  };
  if (chosen.services.length + chosen.slots.length === 0) {
    throw new InvalidInput("invalid_selection", "Nothing is chosen; reject the proposal instead");
  }
  const declined = {
    services: services.filter((entry) => !isChosen(entry)).map(nameOfService),
    credentials: slots.map(({ key }) => key).filter((key) => !only.credentials.includes(key)),
  };
  return { ...chosen, declined: declined.services.length + declined.credentials.length > 0 ? declined : undefined };
}

async function requireVersion(change: VaultWrite, vaultId: string, expected: number | undefined): Promise<void> {
  if (expected === undefined) return;
  const vault = await change.tx.selectFrom("vaults").select("version").where("id", "=", vaultId).executeTakeFirst();
  if (vault?.version === expected) return;
  throw new Conflict("vault_changed", "The vault has changed since you looked at this proposal", {
    hint: "look at it again, then decide",
  });
}

/** A key may have been deleted since the proposal was made, or be among what the reviewer left out. */
function refuseMissingKeys(
  services: readonly ProposedService[],
  slots: readonly Slot[],
  storedKeys: ReadonlySet<CredentialKey>,
): void {
  const keys = new Set(storedKeys);
  for (const slot of slots) {
    if (slot.action === "set") keys.add(slot.key);
    else keys.delete(slot.key);
  }
  for (const entry of services) {
    if (entry.action !== "set") continue;
    const missing = referencedKeys(entry.service).find((key) => !keys.has(key));
    if (missing === undefined) continue;
    throw new Conflict(
      "proposal_outdated",
      `Service ${quote(entry.service.name)} needs the credential ${quote(missing)}, which is neither in the vault nor among what is approved`,
    );
  }
}

async function applyStep(change: VaultWrite, step: Step, rows: ReadonlyMap<string, string>): Promise<void> {
  switch (step.kind) {
    case "replace":
    case "switch":
      return updateDefinition(change.tx, rows.get(step.before.name) ?? "", step.after, change.now);
    case "remove": {
      const id = rows.get(step.before.name) ?? "";
      await change.tx.deleteFrom("services").where("id", "=", id).execute();
      return;
    }
    case "impossible":
      throw new Conflict(
        "proposal_outdated",
        `There is no service ${quote(step.name)} to switch, and a new one needs an auth`,
      );
    case "add":
    case "nothing":
      return;
  }
}

/** What was fine when it was proposed and is not any more. */
function outdated<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof InvalidInput)) throw error;
    throw new Conflict("proposal_outdated", `The vault has changed since: ${messageOf(error)}`, { cause: error });
  }
}
