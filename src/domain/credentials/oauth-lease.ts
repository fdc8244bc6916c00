/**
 * Who may ask a provider for a new token: one of all that share the database. A row is claimed in a short transaction, and
 * every write afterwards asks whether the row is still as it was claimed.
 */
import { randomHex } from "../../crypto/token.ts";
import { AppError, messageOf, UpstreamFailed } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Database } from "../../storage/database.ts";
import type { Clock } from "../clock.ts";
import type { CredentialKey } from "../services/service.ts";
import { findOAuth, type OAuthRow } from "./oauth-store.ts";

/** An OAuth credential as a snapshot saw it. */
export interface SeenOAuth {
  readonly id: string;
  readonly key: CredentialKey;
  readonly revision: string;
}

export type Claim =
  /** It is ours; nobody else asks before it is released or overtaken. */
  | { readonly kind: "claimed"; readonly row: OAuthRow }
  /** There is a newer token already. */
  | { readonly kind: "newer"; readonly row: OAuthRow }
  /** Somebody else is at it. */
  | { readonly kind: "taken" };

/** A token that ends while the request is on its way is of no use. */
export const tokenMarginMs = 10_000;
/**
 * A claim that nobody extends ends soon, so that a process that died is not waited for; whoever is at it extends the
 * claim. What lies between the two is how far the clocks of two machines may be apart.
 */
const leaseMs = 20_000;
/** How often a claim should be extended. */
export const extendEveryMs = 5_000;

export class RefreshLeases {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #owner = randomHex(8);

  constructor(options: { readonly database: Database; readonly clock: Clock; readonly log: Logger }) {
    this.#database = options.database;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /**
   * One short transaction: is there a newer token that is good, and if not, is it for us to ask for one? What was seen
   * may be older than the last refresh, and that one may be too old as well by now.
   */
  async claim(seen: SeenOAuth): Promise<Claim> {
    return this.#database.transaction(async (tx) => {
      const row = await findOAuth(tx, { id: seen.id });
      if (row === undefined || row.valueSealed === null) throw notConnected(seen.key);
      const nowMs = this.#clock.now();
      if (row.revision !== seen.revision && expiryOf(row) > nowMs + marginOf(row)) return { kind: "newer", row };
      const now = new Date(nowMs).toISOString();
      // Only a row that is still as it was read, and that nobody else has claimed meanwhile.
      const claimed = await tx
        .updateTable("credential_oauth")
        .set({ refresh_lease_owner: this.#owner, refresh_lease_until: new Date(nowMs + leaseMs).toISOString() })
        .where("credential_id", "=", seen.id)
        .where("revision", "=", row.revision)
        .where((on) => on.or([on("refresh_lease_owner", "is", null), on("refresh_lease_until", "<=", now)]))
        .executeTakeFirst();
      return claimed.numUpdatedRows > 0n ? { kind: "claimed", row } : { kind: "taken" };
    });
  }

  /** Never rejects: a claim that could not be extended is tried at the next turn. */
  async extend(row: OAuthRow): Promise<void> {
    await this.#database.db
      .updateTable("credential_oauth")
      .set({ refresh_lease_until: new Date(this.#clock.now() + leaseMs).toISOString() })
      .where("credential_id", "=", row.id)
      .where("revision", "=", row.revision)
      .where("refresh_lease_owner", "=", this.#owner)
      .execute()
      .catch((error: unknown) => this.#log.warn("cannot extend the claim of a refresh", { error: messageOf(error) }));
  }

  /** Ends the lease and says in the row what was wrong. The snapshot of the vault stays: nothing in it has changed. */
  async release(row: OAuthRow, error: unknown): Promise<void> {
    const sentence = error instanceof AppError ? error.message : "The token could not be refreshed";
    await this.#database.db
      .updateTable("credential_oauth")
      .set({
        last_refresh_error: sentence,
        last_refresh_error_at: new Date(this.#clock.now()).toISOString(),
        refresh_lease_owner: null,
        refresh_lease_until: null,
      })
      .where("credential_id", "=", row.id)
      .where("revision", "=", row.revision)
      .where("refresh_lease_owner", "=", this.#owner)
      .execute()
      .catch((cause: unknown) => this.#log.warn("cannot note a failed refresh", { error: messageOf(cause) }));
  }
}

/** Of a token that lives only seconds, a quarter of its life. */
function marginOf(row: OAuthRow): number {
  const lifetimeMs =
    row.lastRefreshedAt === null ? Number.POSITIVE_INFINITY : expiryOf(row) - Date.parse(row.lastRefreshedAt);
  return Math.min(tokenMarginMs, lifetimeMs / 4);
}

/** Infinite when the provider names no end. */
export function expiryOf({ tokenExpiresAt }: OAuthRow): number {
  return tokenExpiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(tokenExpiresAt);
}

/** What a request gets whose credential has no token. */
export function notConnected(key: CredentialKey): UpstreamFailed {
  return new UpstreamFailed(
    "oauth_not_connected",
    `The OAuth credential ${key} is not connected yet: somebody has to connect it before this request can work`,
    { details: { credential_keys: [key] }, hint: `agent-vault vault credential oauth connect ${key}` },
  );
}
