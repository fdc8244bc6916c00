/**
 * From a credential's key to its value at request time. Static values are unsealed from what the snapshot holds; an OAuth
 * credential's value is its access token, which is renewed ahead of its end while the old one still serves.
 */
import type { Keyring } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { Corrupt, UpstreamFailed } from "../../errors.ts";
import type { Clock } from "../clock.ts";
import type { CredentialKey } from "../services/service.ts";
import { type CredentialType, valueRecord } from "./credential.ts";
import { notConnected, tokenMarginMs } from "./oauth-lease.ts";
import type { OAuthRefresher } from "./oauth-refresh.ts";

/** A credential as a snapshot holds it. */
export interface SealedCredential {
  readonly id: string;
  readonly key: CredentialKey;
  readonly type: CredentialType;
  /** Null while an OAuth credential is not connected. */
  readonly sealed: Uint8Array | null;
  /** Only where there is something that could renew the value. */
  readonly oauth?: RenewableToken | undefined;
}

/** What is known of an access token that has a refresh token beside it. */
export interface RenewableToken {
  readonly revision: string;
  /** Infinite when the provider named no end. */
  readonly expiresAtMs: number;
  /** When the token came by a refresh; undefined when it came with the connection. */
  readonly refreshedAtMs: number | undefined;
}

export interface ResolvedCredential {
  readonly value: Secret;
  /** After this, ask again; infinite for values without an end. */
  readonly usableUntilMs: number;
}

export interface CredentialResolverOptions {
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly refresher: OAuthRefresher;
  /** Hears of each credential that is about to be used. */
  readonly onUse: (credentialId: string) => void;
}

/** A token is renewed this long before its end. */
const aheadMs = 5 * 60_000;

export class CredentialResolver {
  readonly #options: CredentialResolverOptions;

  constructor(options: CredentialResolverOptions) {
    this.#options = options;
  }

  /**
   * @throws {UpstreamFailed} `oauth_not_connected` for an OAuth credential without a token, `oauth_refresh_failed` when
   * its token has ended and there is no other, `credential_not_found` when the value does not open. All name the key only.
   */
  async resolve(credential: SealedCredential): Promise<ResolvedCredential> {
    this.#options.onUse(credential.id);
    const { sealed, type, key, oauth } = credential;
    if (sealed === null) throw type === "oauth" ? notConnected(key) : credentialMissing([key]);
    if (oauth === undefined) return { value: await this.#open(credential, sealed), usableUntilMs: Infinity };
    const now = this.#options.clock.now();
    const renewFromMs = oauth.expiresAtMs - aheadOf(oauth);
    if (now < renewFromMs) return { value: await this.#open(credential, sealed), usableUntilMs: renewFromMs };
    const serveUntilMs = oauth.expiresAtMs - tokenMarginMs;
    const refreshing = this.#refresh(credential, oauth);
    if (now < serveUntilMs) {
      // Nobody waits for it; what went wrong is in the log and in the row.
      refreshing.catch(() => undefined);
      return { value: await this.#open(credential, sealed), usableUntilMs: serveUntilMs };
    }
    try {
      return await refreshing;
    } catch (error) {
      if (this.#options.clock.now() >= oauth.expiresAtMs) throw error;
      return { value: await this.#open(credential, sealed), usableUntilMs: oauth.expiresAtMs };
    }
  }

  /** Could another value be had, should the upstream refuse this one? */
  canRenew({ sealed, oauth }: SealedCredential): boolean {
    return sealed !== null && oauth !== undefined;
  }

  /**
   * Another value in place of one that an upstream refused, or undefined when there is none to be had now.
   * @throws {UpstreamFailed} as `resolve`.
   */
  async renew(credential: SealedCredential): Promise<ResolvedCredential | undefined> {
    const { id, key, oauth } = credential;
    if (oauth === undefined) return undefined;
    const fresh = await this.#options.refresher.renew({ id, key, revision: oauth.revision });
    return fresh && { value: fresh.value, usableUntilMs: fresh.expiresAtMs - tokenMarginMs };
  }

  async #refresh({ id, key }: SealedCredential, { revision }: RenewableToken): Promise<ResolvedCredential> {
    const { value, expiresAtMs } = await this.#options.refresher.refresh({ id, key, revision });
    return { value, usableUntilMs: expiresAtMs - tokenMarginMs };
  }

  async #open({ id, key }: SealedCredential, sealed: Uint8Array): Promise<Secret> {
    try {
      return new Secret(await this.#options.keyring.unsealText(valueRecord(id), sealed));
    } catch (error) {
      throw error instanceof Corrupt ? credentialMissing([key], error) : error;
    }
  }
}

/** Tokens that live only minutes would be renewed with every request: half their life is early enough. */
function aheadOf({ expiresAtMs, refreshedAtMs }: RenewableToken): number {
  return refreshedAtMs === undefined ? aheadMs : Math.min(aheadMs, (expiresAtMs - refreshedAtMs) / 2);
}

/** Keys are not secret; values never appear. */
export function credentialMissing(keys: readonly CredentialKey[], cause?: unknown): UpstreamFailed {
  const names = keys.join(", ");
  return new UpstreamFailed(
    "credential_not_found",
    `The vault has no usable value for ${names}: somebody has to set ${keys.length === 1 ? "it" : "them"} before this request can work`,
    { details: { credential_keys: keys }, hint: `agent-vault vault credential set ${keys[0] ?? "KEY"}`, cause },
  );
}
