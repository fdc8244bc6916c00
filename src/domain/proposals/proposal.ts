/**
 * What an agent asks for: services to set, switch or remove, and credentials to store or delete. Nothing of it holds
 * until somebody with a say in the vault has approved it (spec of the API, section 7).
 */
import type { CredentialKey, Pattern, Service } from "../services/service.ts";

export type ProposalStatus = "pending" | "applied" | "rejected" | "expired";

export type ProposedService =
  | { readonly action: "set"; readonly service: Service }
  /** On the wire a `set` without auth: only the switch of an existing service. */
  | { readonly action: "switch"; readonly name: string; readonly pattern: Pattern; readonly enabled: boolean }
  | { readonly action: "delete"; readonly name: string; readonly pattern: Pattern };

/** What the agent says about a credential, for whoever obtains it. */
export interface SlotNotes {
  readonly key: CredentialKey;
  readonly description?: string;
  /** An http or https address where a value can be had. */
  readonly obtain?: string;
  readonly obtainInstructions?: string;
}

export interface OAuthRequest {
  readonly tokenUrl: string;
  readonly authorizationUrl?: string;
  readonly clientId?: string;
  readonly scopes?: string;
  readonly scopeSeparator?: string;
  readonly disablePkce?: boolean;
  readonly tokenAuthMethod?: "client_secret_post" | "client_secret_basic";
}

export type StaticSlot = SlotNotes & {
  readonly action: "set";
  /** Only when it was spelt out, because reads show it then. */
  readonly type?: "static";
  /** The agent supplied a value, which is kept sealed beside the proposal. */
  readonly hasValue: boolean;
};
export type OAuthSlot = SlotNotes & { readonly action: "set"; readonly type: "oauth"; readonly oauth: OAuthRequest };
export type Slot = StaticSlot | OAuthSlot | (SlotNotes & { readonly action: "delete" });

/** Whoever proposed or reviewed. Null where nobody was recorded. */
export interface Party {
  readonly type: "user" | "agent";
  readonly id: string;
  /** Name of an agent, address of a person; undefined once they are gone. */
  readonly name: string | undefined;
}

export interface Proposer extends Party {
  /** The proposal came with a vault token that this party had minted, not from the party itself. */
  readonly isToken: boolean;
  /** Public id of the session that it came with. */
  readonly sessionId: string;
  /** Label of that token. */
  readonly label: string | undefined;
}

/** Names of services and keys of credentials. */
export interface Selection {
  readonly services: readonly string[];
  readonly credentials: readonly CredentialKey[];
}

export interface Proposal {
  readonly id: string;
  readonly vaultId: string;
  /** Sequential within the vault; the id on the wire. */
  readonly number: number;
  readonly status: ProposalStatus;
  readonly services: readonly ProposedService[];
  readonly slots: readonly Slot[];
  /** For developers. */
  readonly message: string;
  /** For whoever reviews. */
  readonly userMessage: string;
  readonly proposer: Proposer | undefined;
  readonly reviewer: Party | undefined;
  readonly reviewNote: string;
  readonly reviewedAt: string | undefined;
  /** What the reviewer left out of an applied proposal. */
  readonly declined: Selection | undefined;
  /** Number of the proposal that took its place. */
  readonly supersededBy: number | undefined;
  readonly createdAt: string;
  /** When a pending proposal ends by itself. */
  readonly expiresAt: string;
}

/** A pending proposal ends by itself after this time. */
export const proposalLifetimeMs = 7 * 86_400_000;
export const approvalTokenLifetimeMs = 86_400_000;
/** Pending ones of a vault: a loop must not bury the request that matters. */
export const maxPending = 20;

export function nameOfService(proposed: ProposedService): string {
  return proposed.action === "set" ? proposed.service.name : proposed.name;
}

export function patternOf(proposed: ProposedService): Pattern {
  return proposed.action === "set" ? proposed.service.pattern : proposed.pattern;
}

/** What it is about, for the audit log: names and keys, never values. */
export function namesIn({
  services,
  slots,
}: {
  readonly services: readonly ProposedService[];
  readonly slots: readonly Slot[];
}): { readonly services: readonly object[]; readonly credentials: readonly object[] } {
  return {
    services: services.map((service) => ({ action: service.action, name: nameOfService(service) })),
    credentials: slots.map(({ action, key }) => ({ action, key })),
  };
}
