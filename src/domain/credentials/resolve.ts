/**
 * From a credential's key to its value at request time. Static values are unsealed from what the snapshot holds; an OAuth
 * credential's value is its access token.
 */
import type { Keyring } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { Corrupt, UpstreamFailed } from "../../errors.ts";
import type { CredentialKey } from "../services/service.ts";
import { type CredentialType, valueRecord } from "./credential.ts";

/** A credential as a snapshot holds it. */
export interface SealedCredential {
  readonly id: string;
  readonly key: CredentialKey;
  readonly type: CredentialType;
  /** Null while an OAuth credential is not connected. */
  readonly sealed: Uint8Array | null;
}

export class CredentialResolver {
  readonly #keyring: Keyring;

  constructor(options: { readonly keyring: Keyring }) {
    this.#keyring = options.keyring;
  }

  /**
   * @throws {UpstreamFailed} `oauth_not_connected` for an OAuth credential without a token, `credential_not_found` when the
   * value does not open. Both name the key only.
   */
  async resolve({ id, key, type, sealed }: SealedCredential): Promise<Secret> {
    if (sealed === null) {
      if (type === "oauth") throw notConnected(key);
      throw credentialMissing([key]);
    }
    try {
      return new Secret(await this.#keyring.unsealText(valueRecord(id), sealed));
    } catch (error) {
      throw error instanceof Corrupt ? credentialMissing([key], error) : error;
    }
  }
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

function notConnected(key: CredentialKey): UpstreamFailed {
  return new UpstreamFailed("oauth_not_connected", `The OAuth credential ${key} is not connected yet`, {
    details: { credential_keys: [key] },
  });
}
