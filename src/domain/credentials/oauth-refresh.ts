/**
 * New access tokens, asked for once for all who wait.
 *
 * Within a process callers share one flight per credential. Between processes on one database a lease does it
 * (oauth-lease.ts): the provider is called outside of any transaction, and the result is stored only if the row is still
 * as it was claimed. No transaction is open during the call, because it would hold a connection of the pool, and
 * on SQLite the only writer, for as long as a provider likes. A process that dies leaves a lease that ends by itself.
 *
 * A flight belongs to nobody: the request that began it may go away.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Keyring } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { AppError, UpstreamFailed } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import { CounterSet } from "../../runtime/metrics.ts";
import type { Database } from "../../storage/database.ts";
import type { Clock } from "../clock.ts";
import type { CredentialKey } from "../services/service.ts";
import type { VaultWriter } from "../vaults/vault-writer.ts";
import { valueRecord } from "./credential.ts";
import { failureFields } from "./oauth-connections.ts";
import { expiryOf, extendEveryMs, notConnected, RefreshLeases, type SeenOAuth } from "./oauth-lease.ts";
import { hasTokenEndpoint } from "./oauth-settings.ts";
import { findOAuth, freshRevision, type OAuthRow, OAuthStore } from "./oauth-store.ts";
import { TokenCallFailed, type TokenEndpoint, type Tokens } from "./token-endpoint.ts";

export interface FreshToken {
  readonly value: Secret;
  /** Infinite when the provider names no end. */
  readonly expiresAtMs: number;
}

export interface OAuthRefresherOptions {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly writer: VaultWriter;
  readonly tokenEndpoint: TokenEndpoint;
  readonly clock: Clock;
  readonly log: Logger;
  /** For tests. */
  readonly extendEveryMs?: number;
}

/** How often somebody else's lease is looked at, and for how long. */
const leasePollMs = 100;
const leaseWaitMs = 35_000;
/** After a failure the provider is left alone: seconds that double, or longer where asking again cannot help. */
const firstBackoffMs = 15_000;
const maxBackoffMs = 5 * 60_000;
const permanentBackoffMs = 10 * 60_000;
/** A new token that is refused as well is not refused for its age: the next one has to wait. */
const forcedPauseMs = 60_000;
/** The provider has used up the old refresh token by then: what it gave must be written down. */
const storeAttempts = 8;
/** On shutdown. */
const closeWaitMs = 10_000;

interface Failure {
  readonly revision: string;
  readonly error: UpstreamFailed;
  readonly untilMs: number;
  readonly count: number;
}

export class OAuthRefresher {
  /** What came of asking providers, since the start. */
  readonly results = new CounterSet("result");
  readonly #options: OAuthRefresherOptions;
  readonly #store: OAuthStore;
  readonly #leases: RefreshLeases;
  readonly #flights = new Map<string, Promise<FreshToken>>();
  readonly #failures = new Map<string, Failure>();
  readonly #forcedAtMs = new Map<string, number>();

  constructor(options: OAuthRefresherOptions) {
    this.#options = options;
    this.#store = new OAuthStore(options);
    this.#leases = new RefreshLeases(options);
  }

  /**
   * The token that comes after the one that was seen: somebody else's new one when there is one, else the provider's.
   * @throws {UpstreamFailed} `oauth_refresh_failed`; for a while after a failure without asking the provider again.
   * @throws {UpstreamFailed} `oauth_not_connected` when the credential is gone or has no token any more.
   */
  refresh(seen: SeenOAuth): Promise<FreshToken> {
    const running = this.#flights.get(seen.id);
    if (running !== undefined) return running;
    const failure = this.#failures.get(seen.id);
    if (failure?.revision === seen.revision && this.#options.clock.now() < failure.untilMs) {
      return Promise.reject(failure.error);
    }
    const flight = this.#fly(seen).finally(() => this.#flights.delete(seen.id));
    this.#flights.set(seen.id, flight);
    return flight;
  }

  /**
   * As `refresh`, for a token that the upstream refused before its end. Undefined when the last one that was replaced
   * this way is younger than a minute, and nobody else has a newer one: then it is not the token's fault.
   */
  async renew(seen: SeenOAuth): Promise<FreshToken | undefined> {
    const newer = await this.#newer(seen);
    if (newer !== undefined) return newer;
    const now = this.#options.clock.now();
    const forcedAtMs = this.#forcedAtMs.get(seen.id);
    if (forcedAtMs !== undefined && now - forcedAtMs < forcedPauseMs) return this.#newer(seen);
    if (this.#forcedAtMs.size > 10_000) this.#forcedAtMs.clear();
    this.#forcedAtMs.set(seen.id, now);
    return this.refresh(seen);
  }

  /** Lets what is under way end: a rotated refresh token that nobody wrote down is lost. */
  async close(): Promise<void> {
    const flights = Promise.allSettled(this.#flights.values());
    const timer = new AbortController();
    await Promise.race([flights, sleep(closeWaitMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
    timer.abort();
  }

  /** What somebody else has, or is about to have. */
  async #newer(seen: SeenOAuth): Promise<FreshToken | undefined> {
    // Asked before the row is read: one that lands in between has not changed the row that is read, and is gone after.
    const flight = this.#flights.get(seen.id);
    const row = await findOAuth(this.#options.database.db, { id: seen.id });
    if (row !== undefined && row.revision !== seen.revision && row.valueSealed !== null) return this.#open(row);
    return flight ?? this.#flights.get(seen.id);
  }

  async #fly(seen: SeenOAuth): Promise<FreshToken> {
    try {
      const fresh = await this.#refreshOrWait(seen);
      this.#failures.delete(seen.id);
      return fresh;
    } catch (error) {
      if (!(error instanceof TokenCallFailed)) throw error;
      throw this.#remember(seen, error);
    }
  }

  async #refreshOrWait(seen: SeenOAuth): Promise<FreshToken> {
    for (let polls = 0; ; polls += 1) {
      const claim = await this.#leases.claim(seen);
      if (claim.kind === "claimed") return this.#callWithLease(claim.row);
      if (claim.kind === "newer") return this.#open(claim.row);
      if (polls >= leaseWaitMs / leasePollMs) {
        throw new TokenCallFailed("Another instance is refreshing the token and does not come to an end", {
          isPermanent: false,
        });
      }
      await sleep(leasePollMs);
    }
  }

  async #callWithLease(row: OAuthRow): Promise<FreshToken> {
    const timer = setInterval(() => void this.#leases.extend(row), this.#options.extendEveryMs ?? extendEveryMs);
    timer.unref();
    try {
      return await this.#call(row);
    } finally {
      clearInterval(timer);
    }
  }

  async #call(row: OAuthRow): Promise<FreshToken> {
    const { tokenEndpoint, log } = this.#options;
    let tokens: Tokens;
    try {
      const refreshToken = await this.#store.openRefreshToken(row);
      if (refreshToken === undefined || !hasTokenEndpoint(row.settings)) {
        throw new TokenCallFailed("There is no refresh token", { isPermanent: true });
      }
      tokens = await tokenEndpoint.refresh(await this.#store.openClient(row), refreshToken);
    } catch (error) {
      this.results.raise("failed");
      log.warn("an OAuth token was not refreshed", failureFields(row, error));
      await this.#leases.release(row, error);
      throw error;
    }
    const isOvertaken = !(await this.#storeTokens(row, tokens));
    if (isOvertaken) {
      const current = await findOAuth(this.#options.database.db, { id: row.id });
      if (current === undefined) throw notConnected(row.key);
      return this.#open(current);
    }
    this.results.raise("refreshed");
    log.debug("an OAuth token was refreshed", { vaultId: row.vaultId, key: row.key });
    const { accessToken, expiresInSeconds } = tokens;
    const expiresAtMs = this.#options.clock.now() + (expiresInSeconds ?? Number.POSITIVE_INFINITY) * 1000;
    return { value: accessToken, expiresAtMs };
  }

  /**
   * Access token and refresh token in one transaction, before anybody uses either. A database that is away for a moment
   * is tried again: the provider may have ended the old refresh token already.
   * @returns false when the credential was connected anew, set by hand or deleted meanwhile: that is newer.
   */
  async #storeTokens(row: OAuthRow, tokens: Tokens): Promise<boolean> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#options.writer.change(row.vaultId, async ({ tx, now }) => {
          const claim = await tx
            .updateTable("credential_oauth")
            .set(freshRevision())
            .where("credential_id", "=", row.id)
            .where("revision", "=", row.revision)
            .executeTakeFirst();
          if (claim.numUpdatedRows === 0n) return false;
          await this.#store.saveTokens(tx, row.id, tokens, { now, isConnection: false });
          return true;
        });
      } catch (error) {
        if (attempt >= storeAttempts || (error instanceof AppError && error.status < 500)) {
          this.#options.log.error("a refreshed OAuth token could not be stored", failureFields(row, error));
          // It is good for now, and whoever waits shall have it.
          return true;
        }
        await sleep(Math.min(100 * 2 ** attempt, 5_000));
      }
    }
  }

  #remember(seen: SeenOAuth, error: TokenCallFailed): UpstreamFailed {
    const known = this.#failures.get(seen.id);
    const count = known?.revision === seen.revision ? known.count + 1 : 1;
    const pauseMs = error.isPermanent ? permanentBackoffMs : Math.min(firstBackoffMs * 2 ** (count - 1), maxBackoffMs);
    const failure = refreshFailed(seen.key, error);
    if (this.#failures.size > 10_000) this.#failures.clear();
    const untilMs = this.#options.clock.now() + pauseMs;
    this.#failures.set(seen.id, { revision: seen.revision, error: failure, untilMs, count });
    return failure;
  }

  async #open(row: OAuthRow): Promise<FreshToken> {
    if (row.valueSealed === null) throw notConnected(row.key);
    const value = new Secret(await this.#options.keyring.unsealText(valueRecord(row.id), row.valueSealed));
    return { value, expiresAtMs: expiryOf(row) };
  }
}

/** What the provider answered is for the vault's people (in the list of credentials), not for the agent. */
function refreshFailed(key: CredentialKey, cause: TokenCallFailed): UpstreamFailed {
  const what = cause.isPermanent
    ? "the provider refused: somebody has to connect it again"
    : "the provider could not be asked: try again in a while";
  return new UpstreamFailed(
    "oauth_refresh_failed",
    `The token of the OAuth credential ${key} could not be refreshed, as ${what}`,
    {
      details: { credential_keys: [key] },
      ...(cause.isPermanent && { hint: `agent-vault vault credential oauth connect ${key}` }),
      cause,
    },
  );
}
