/**
 * Refusals of tokens that belong to a vault, for its journal: an expired token, one that is used for another vault, one
 * with more tunnels than it may have. One row a minute for each token, vault and reason: whoever holds a token that is
 * good for nothing must not push out what the journal holds. All of them are counted in the metrics.
 */
import { attributionOf, type Scope } from "../domain/actors/scope.ts";
import { AppError } from "../errors.ts";

const quietMs = 60_000;
/** The oldest is forgotten first: it then has a row once more. */
const maxKnown = 1_000;

export class RefusedTokens {
  readonly #quietUntilMs = new Map<string, number>();

  /** Whose journal gets a row for this refusal; undefined when it is nobody's, or had its row already. */
  scopeFor(error: unknown, nowMs: number): Scope | undefined {
    const scope = attributionOf(error);
    if (scope === undefined || !(error instanceof AppError)) return undefined;
    const key = `${scope.sessionId}\n${scope.vaultId}\n${error.code}`;
    if (nowMs < (this.#quietUntilMs.get(key) ?? 0)) return undefined;
    this.#quietUntilMs.delete(key);
    this.#quietUntilMs.set(key, nowMs + quietMs);
    if (this.#quietUntilMs.size > maxKnown) {
      const oldest = this.#quietUntilMs.keys().next().value;
      if (oldest !== undefined) this.#quietUntilMs.delete(oldest);
    }
    return scope;
  }
}
