/**
 * The contract between the data plane and the domain: what a proxy token stands for.
 * Resolved once per tunnel (or per absolute-form request) and asked again, without I/O, for every request inside it.
 */
import type { AppError } from "../../errors.ts";
import type { VaultRole } from "./principal.ts";

/** What a token and an optional vault hint resolve to (spec of the proxy, section 8). */
export interface Scope {
  readonly vaultId: string;
  readonly vaultName: string;
  readonly vaultRole: VaultRole;
  /** The minter of a scoped token, or the agent itself: never empty, so limits are never skipped. */
  readonly actorType: "user" | "agent";
  readonly actorId: string;
  /** Public id of the session row: safe to log. */
  readonly sessionId: string;
}

const attributions = new WeakMap<AppError, Scope>();

/** Says whose token was refused, and for which vault: that vault's journal is to show it. @returns the error. */
export function attributed<E extends AppError>(error: E, scope: Scope | undefined): E {
  if (scope !== undefined && !attributions.has(error)) attributions.set(error, scope);
  return error;
}

/** Undefined for a token that is nobody's. The scope does not hold: it is for the journal alone. */
export function attributionOf(error: unknown): Scope | undefined {
  return typeof error === "object" && error !== null ? attributions.get(error as AppError) : undefined;
}

/** A scope that can be asked whether it still holds. */
export interface ScopeLease {
  readonly scope: Scope;
  /**
   * True while nothing that could end this scope has changed since it was last checked and it has not expired.
   * Costs two comparisons; false means "ask `renew`", not "revoked".
   */
  isCurrent(nowMs: number): boolean;
  /**
   * Looks again. Afterwards `isCurrent` is true once more.
   * @throws {Unauthenticated} when the token was revoked or has expired.
   * @throws {Forbidden} when the grant behind it is gone.
   * @throws {NotFound} when its vault is gone.
   * @throws {Unavailable} when the database cannot be asked.
   */
  renew(): Promise<void>;
}

export interface ScopeResolver {
  /**
   * @param token as presented in Proxy-Authorization.
   * @param vaultHint the password slot of Basic credentials, if any.
   * @throws {Unauthenticated} unknown or expired token.
   * @throws {Forbidden} hint names another vault than the token's, or one the agent has no grant on.
   * @throws {NotFound} the vault does not exist.
   * @throws {InvalidInput} the vault is ambiguous or absent, or the token is a login session.
   * @throws {Unavailable} the database cannot be asked; never counts as a wrong token.
   */
  resolve(token: string, vaultHint: string | undefined): Promise<ScopeLease>;
}
