/**
 * What a route is, before it does anything: where it is, who may call it, what it takes and what it answers. The router
 * takes nothing else, so that there is no route without a description, and a handler gets from a request only what its
 * contract names.
 */
import type { Body } from "./body.ts";
import type { ErrorCode } from "./error-codes.ts";
import { type Schema, whole } from "./schema.ts";

/** Chapters of the reference, in its order. */
export const areas = {
  Accounts: "Register, sign in, and what people do with their own account",
  Users: "People of the instance, and their invitations",
  Agents: "Programs with an identity and a token of their own",
  Vaults: "Vaults, who is in them, and their settings",
  Services: "What may be reached through a vault, and how it authenticates",
  Credentials: "Values that services use, and what is known about them",
  OAuth: "Credentials that a provider issues",
  Proposals: "What agents ask for, and what people decide",
  Tokens: "Tokens of one vault, for the proxy",
  Agent: "What an agent itself calls: what it may use, and what it asks for",
  Log: "Requests that went through the proxy",
  Audit: "Who changed what",
  Instance: "Settings and state of the whole server",
  Pages: "Addresses that a browser opens",
} as const;
export type Area = keyof typeof areas;

/**
 * Who may call. Decided in domain/actors/access.ts, and said here; test/http/permissions.server.test.ts holds the two
 * together.
 */
export const callers = {
  anybody: { says: "Anybody", codes: [] },
  token: { says: "Anybody with a token", codes: [] },
  identity: { says: "People and agents, not vault tokens", codes: ["not_authenticated"] },
  actor: { says: "People and agents, not vault tokens", codes: ["actor_required"] },
  person: { says: "A person who is signed in", codes: ["user_session_required"] },
  "instance-member": { says: "Instance role member or owner", codes: ["actor_required", "member_required"] },
  owner: { says: "Instance role owner", codes: ["actor_required", "owner_required"] },
  "vault-access": {
    says: "Any role in the vault, vault tokens included",
    codes: ["vault_not_found", "no_vault_access"],
  },
  "vault-member": {
    says: "Vault role member or admin",
    codes: ["vault_not_found", "no_vault_access", "vault_member_required"],
  },
  "vault-admin": {
    says: "Vault role admin",
    codes: ["vault_not_found", "no_vault_access", "vault_admin_required"],
  },
  "vault-admin-or-owner": {
    says: "Vault role admin, or instance role owner; never a vault token",
    codes: ["vault_not_found", "no_vault_access", "actor_required", "vault_admin_required"],
  },
  agent: {
    says: "A vault token, or an agent that names its vault in `X-Vault`; not people",
    codes: ["vault_required", "vault_not_found", "no_vault_access", "vault_scope_required", "vault_gone"],
  },
} as const satisfies Readonly<Record<string, { readonly says: string; readonly codes: readonly ErrorCode[] }>>;
export type CallerKind = keyof typeof callers;

export interface Parameter {
  readonly schema: Schema;
  readonly isRequired?: boolean;
}

export interface AnswerContract {
  readonly description: string;
  /** By media type; without one the answer has no body. */
  readonly content?: Readonly<Record<string, Schema>>;
  /** Headers besides those that every answer has. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RouteContract<Path extends string = string, BodyValue = unknown, Query extends string = string> {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Segments in braces are parameters; `{rest...}` takes whatever is left. */
  readonly path: Path;
  /** The operation's id: stable, for generated clients. */
  readonly operation: string;
  readonly area: Area;
  /** One line without a full stop. */
  readonly does: string;
  /** What else a caller should know; Markdown without headings. */
  readonly notes?: string;
  /** `session` routes answer 401 without a valid token; `public` ones never look at it by themselves. */
  readonly access: "public" | "session";
  readonly who: CallerKind;
  /** Which limit applies besides the global one: by client address, by address and token, or by actor. */
  readonly tier: "global" | "auth-ip" | "auth-token" | "authed";
  /** Answer 503 while no user exists; true unless said otherwise. */
  readonly initGate?: boolean;
  /** Judge the origin even without a cookie: what signs a browser in or out can be forged from anywhere. */
  readonly checksOrigin?: boolean;
  /** What the parameters of the path are, where the usual words do not do. */
  readonly params?: Readonly<Record<string, Schema>>;
  readonly query?: Readonly<Record<Query, Parameter>>;
  /** Request headers that change what the route does. */
  readonly headers?: Readonly<Record<string, Schema>>;
  readonly body?: Body<BodyValue>;
  readonly answers: Readonly<Record<number, AnswerContract>>;
  /** Besides those that come with `who`, the tier and the body. */
  readonly errors?: readonly ErrorCode[];
  /** Errors of this route have their word in `error` and the sentence in `message`. */
  readonly hasBrokerErrors?: boolean;
}

type Defaults = "access" | "tier" | "who";

/** A route for holders of a token. */
export function authed<const P extends string, B = undefined, Q extends string = never>(
  contract: Omit<RouteContract<P, B, Q>, Exclude<Defaults, "who">>,
): RouteContract<P, B, Q> {
  const defaults = { access: "session", tier: "authed" } as const;
  return { ...defaults, ...contract };
}

/** A route that needs no token. */
export function open<const P extends string, B = undefined, Q extends string = never>(
  contract: Omit<RouteContract<P, B, Q>, Defaults> & Partial<Pick<RouteContract, Defaults>>,
): RouteContract<P, B, Q> {
  return { access: "public", who: "anybody", tier: "global", ...contract };
}

/** JSON with this content. */
export function answer(schema: Schema, description = "Done"): AnswerContract {
  return { description, content: { "application/json": schema } };
}

export function param(schema: Schema): Parameter {
  return { schema };
}

export function neededParam(schema: Schema): Parameter {
  return { schema, isRequired: true };
}

/** Lists give everything to whoever sends neither. */
export const pageQuery = {
  limit: param(whole("Items of one page; more than 1000 are cut to that", { minimum: 1, default: 100 })),
  cursor: param({ type: "string", description: "`next_cursor` of the page before" }),
} as const;
