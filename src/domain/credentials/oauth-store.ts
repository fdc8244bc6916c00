/** The rows behind an OAuth credential: settings and tokens, secrets sealed. Every write makes a new revision. */
import type { Kysely, Transaction } from "kysely";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { randomHex, uuidv7 } from "../../crypto/token.ts";
import { Corrupt } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import type { CredentialKey } from "../services/service.ts";
import { valueRecord } from "./credential.ts";
import { type OAuthSettings, settingsOf } from "./oauth-settings.ts";
import type { Client, Tokens } from "./token-endpoint.ts";

/** An OAuth credential as it is stored. */
export interface OAuthRow {
  readonly id: string;
  readonly vaultId: string;
  readonly key: CredentialKey;
  /** The access token, or a value from before it was an OAuth credential. */
  readonly valueSealed: Uint8Array | null;
  readonly settings: OAuthSettings;
  readonly clientSecretSealed: Uint8Array | null;
  readonly refreshTokenSealed: Uint8Array | null;
  readonly tokenExpiresAt: string | null;
  readonly connectedAt: string | null;
  readonly lastRefreshedAt: string | null;
  readonly lastRefreshError: string | null;
  readonly revision: string;
}

/** What becomes of a stored secret. */
export type SecretChange =
  | { readonly kind: "keep" }
  | { readonly kind: "clear" }
  | { readonly kind: "set"; readonly value: Secret };

export function clientSecretRecord(credentialId: string): RecordKey {
  return ["credential_oauth", credentialId, "client_secret"];
}

export function refreshTokenRecord(credentialId: string): RecordKey {
  return ["credential_oauth", credentialId, "refresh_token"];
}

export async function findOAuth(
  db: Kysely<Schema>,
  where: { readonly vaultId: string; readonly key: CredentialKey } | { readonly id: string },
): Promise<OAuthRow | undefined> {
  const query = db
    .selectFrom("credential_oauth")
    .innerJoin("credentials", "credentials.id", "credential_oauth.credential_id")
    .selectAll("credential_oauth")
    .select(["credentials.vault_id", "credentials.key", "credentials.value_sealed"]);
  const row = await ("id" in where
    ? query.where("credentials.id", "=", where.id)
    : query.where("credentials.vault_id", "=", where.vaultId).where("credentials.key", "=", where.key)
  ).executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    id: row.credential_id,
    vaultId: row.vault_id,
    key: row.key,
    valueSealed: row.value_sealed,
    settings: settingsOf(row),
    clientSecretSealed: row.client_secret_sealed,
    refreshTokenSealed: row.refresh_token_sealed,
    tokenExpiresAt: row.token_expires_at,
    connectedAt: row.connected_at,
    lastRefreshedAt: row.last_refreshed_at,
    lastRefreshError: row.last_refresh_error,
    revision: row.revision,
  };
}

export class OAuthStore {
  readonly #keyring: Keyring;

  constructor(options: { readonly keyring: Keyring }) {
    this.#keyring = options.keyring;
  }

  /** The client that a row describes. @throws {Corrupt} when its secret does not open. */
  async openClient(row: OAuthRow): Promise<Client> {
    const { settings, clientSecretSealed } = row;
    const secret =
      clientSecretSealed === null
        ? undefined
        : new Secret(await this.#keyring.unsealText(clientSecretRecord(row.id), clientSecretSealed));
    return { settings, secret };
  }

  /** @throws {Corrupt} when it does not open. */
  async openRefreshToken(row: OAuthRow): Promise<Secret | undefined> {
    if (row.refreshTokenSealed === null) return undefined;
    return new Secret(await this.#keyring.unsealText(refreshTokenRecord(row.id), row.refreshTokenSealed));
  }

  /**
   * Writes the settings of an OAuth credential, within a change of its vault; makes the credential, or turns a static
   * one into an OAuth one whose value stays until there is a token. With another token endpoint everything that came
   * from the old one goes, the client's secret included: whoever may write settings must not be able to send it
   * elsewhere.
   * @returns the id of the credential.
   */
  async saveSettings(
    tx: Transaction<Schema>,
    write: {
      readonly vaultId: string;
      readonly key: CredentialKey;
      readonly settings: OAuthSettings;
      readonly clientSecret: SecretChange;
      readonly now: string;
    },
  ): Promise<string> {
    const { settings, clientSecret, now } = write;
    const id = await this.#makeCredential(tx, write);
    const before = await findOAuth(tx, { id });
    const staysAtProvider = before?.settings.tokenUrl === settings.tokenUrl;
    const columns = {
      authorization_url: settings.authorizationUrl ?? null,
      token_url: settings.tokenUrl,
      client_id: settings.clientId,
      client_secret_sealed: await this.#changed(
        clientSecretRecord(id),
        staysAtProvider ? (before?.clientSecretSealed ?? null) : null,
        clientSecret,
      ),
      scopes: settings.scopes,
      scope_separator: settings.scopeSeparator,
      disable_pkce: settings.disablePkce ? (1 as const) : (0 as const),
      token_auth_method: settings.tokenAuthMethod,
      last_refresh_error: null,
      last_refresh_error_at: null,
      ...freshRevision(),
    };
    if (before === undefined) {
      await tx
        .insertInto("credential_oauth")
        .values({ credential_id: id, ...columns, ...noTokens })
        .execute();
    } else {
      await tx
        .updateTable("credential_oauth")
        .set({ ...columns, ...(!staysAtProvider && noTokens) })
        .where("credential_id", "=", id)
        .execute();
    }
    await tx.updateTable("credentials").set({ type: "oauth", updated_at: now }).where("id", "=", id).execute();
    return id;
  }

  /** Stores what the provider gave, all of it or, when the transaction fails, nothing. */
  async saveTokens(
    tx: Transaction<Schema>,
    id: string,
    { accessToken, refreshToken, expiresInSeconds }: Tokens,
    options: { readonly now: string; readonly isConnection: boolean },
  ): Promise<void> {
    const { now, isConnection } = options;
    await this.saveAccessToken(tx, id, accessToken, now);
    const tokenExpiresAt =
      expiresInSeconds === undefined ? null : new Date(Date.parse(now) + expiresInSeconds * 1000).toISOString();
    await tx
      .updateTable("credential_oauth")
      .set({
        ...(refreshToken !== undefined && {
          refresh_token_sealed: await this.#keyring.seal(refreshTokenRecord(id), refreshToken.reveal()),
        }),
        token_expires_at: tokenExpiresAt,
        last_refreshed_at: now,
        last_refresh_error: null,
        last_refresh_error_at: null,
        ...(isConnection && { connected_at: now }),
        ...freshRevision(),
      })
      .where("credential_id", "=", id)
      .execute();
  }

  async saveAccessToken(tx: Transaction<Schema>, id: string, token: Secret, now: string): Promise<void> {
    const sealed = await this.#keyring.seal(valueRecord(id), token.reveal());
    await tx.updateTable("credentials").set({ value_sealed: sealed, updated_at: now }).where("id", "=", id).execute();
  }

  /** The sealed form of a refresh token, for a row that is written elsewhere. */
  sealRefreshToken(id: string, token: Secret): Promise<Uint8Array> {
    return this.#keyring.seal(refreshTokenRecord(id), token.reveal());
  }

  async #makeCredential(
    tx: Transaction<Schema>,
    { vaultId, key, now }: { vaultId: string; key: CredentialKey; now: string },
  ): Promise<string> {
    const existing = await tx
      .selectFrom("credentials")
      .select("id")
      .where("vault_id", "=", vaultId)
      .where("key", "=", key)
      .executeTakeFirst();
    if (existing !== undefined) return existing.id;
    const id = uuidv7();
    await tx
      .insertInto("credentials")
      .values({
        id,
        vault_id: vaultId,
        key,
        type: "oauth",
        value_sealed: null,
        version: 1,
        description: null,
        expires_at: null,
        last_used_at: null,
        created_at: now,
        updated_at: now,
      })
      .execute();
    return id;
  }

  async #changed(record: RecordKey, before: Uint8Array | null, change: SecretChange): Promise<Uint8Array | null> {
    if (change.kind === "clear") return null;
    if (change.kind === "keep") return before;
    // The same secret once more changes nothing, so a connection that is under way stays good.
    if (before !== null && (await this.#opensTo(record, before, change.value))) return before;
    return this.#keyring.seal(record, change.value.reveal());
  }

  async #opensTo(record: RecordKey, sealed: Uint8Array, value: Secret): Promise<boolean> {
    try {
      return (await this.#keyring.unsealText(record, sealed)) === value.reveal();
    } catch (error) {
      // What does not open is about to be replaced.
      if (error instanceof Corrupt) return false;
      throw error;
    }
  }
}

/** Whoever refreshes at this moment has been overtaken: its lease ends, and its result is dropped. */
export function freshRevision() {
  return { revision: randomHex(8), refresh_lease_owner: null, refresh_lease_until: null };
}

export const noTokens = {
  refresh_token_sealed: null,
  token_expires_at: null,
  connected_at: null,
  last_refreshed_at: null,
} as const;
