/** OAuth credentials as people make them: connect at a provider, upload tokens, look, disconnect (spec, section 6). */
import type { Transaction } from "kysely";
import type { Keyring } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { AppError, Conflict, Forbidden, Gone, InvalidInput, messageOf, NotFound } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Access } from "../actors/access.ts";
import { type ActorRef, actorRefOf, type Principal } from "../actors/principal.ts";
import type { AuditEntry } from "../audit/append.ts";
import type { Audit } from "../audit/audit.ts";
import type { By } from "../audit/author.ts";
import type { Clock } from "../clock.ts";
import { quote } from "../input.ts";
import type { CredentialKey } from "../services/service.ts";
import type { VaultWriter } from "../vaults/vault-writer.ts";
import { refuseExternalStore } from "./credential.ts";
import { type Flow, isSameBrowser, OAuthFlows, settingsTag } from "./oauth-flow.ts";
import type { OAuthSettings } from "./oauth-settings.ts";
import { findOAuth, freshRevision, noTokens, type OAuthRow, OAuthStore, type SecretChange } from "./oauth-store.ts";
import { settingsForUpload, type TokenUpload, tokensForUpload } from "./oauth-upload.ts";
import { TokenCallFailed, type TokenEndpoint } from "./token-endpoint.ts";

export interface ConnectRequest {
  readonly vaultId: string;
  readonly key: CredentialKey;
  readonly settings: OAuthSettings & { readonly authorizationUrl: string };
  readonly clientSecret: SecretChange;
  /** Where a browser began: the value of a cookie that only this browser has. */
  readonly browserToken: string | undefined;
}

export interface Callback {
  readonly state: string;
  readonly code: string;
  readonly browserToken: string | undefined;
  /** It was a browser that was sent here. Only in a browser can somebody be led to consent unaware. */
  readonly isBrowser: boolean;
  /** Where it came from, for the audit log. */
  readonly clientIp: string;
}

export type CallbackOutcome =
  | { readonly kind: "connected"; readonly vaultName: string; readonly key: CredentialKey }
  /** Nothing is connected before the one who began types `confirmation` where they began. */
  | {
      readonly kind: "confirm";
      readonly vaultName: string;
      readonly key: CredentialKey;
      readonly startedBy: string;
      readonly confirmation: string;
    };

export interface OAuthStatus {
  readonly connectedAt: string | undefined;
  readonly lastError: string | undefined;
}

export interface OAuthConnectionsOptions {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly writer: VaultWriter;
  readonly audit: Audit;
  readonly access: Access;
  readonly tokenEndpoint: TokenEndpoint;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where people reach the API, without a trailing slash. */
  readonly baseUrl: string;
}

export class OAuthConnections {
  readonly #options: OAuthConnectionsOptions;
  readonly #store: OAuthStore;
  readonly #flows: OAuthFlows;

  constructor(options: OAuthConnectionsOptions) {
    this.#options = options;
    this.#store = new OAuthStore(options);
    this.#flows = new OAuthFlows(options);
  }

  /**
   * Stores the settings and begins a connection.
   * @returns where the person goes to consent.
   * @throws {Conflict} `external_credential_store`.
   */
  async connect(by: Principal, request: ConnectRequest): Promise<string> {
    const { vaultId, key, settings, clientSecret } = request;
    const redirectUri = `${this.#options.baseUrl}/v1/oauth/callback`;
    const flow = await this.#options.writer.change(vaultId, async ({ tx, now }) => {
      await refuseExternalStore(tx, vaultId);
      const before = await findOAuth(tx, { vaultId, key });
      const id = await this.#store.saveSettings(tx, { vaultId, key, settings, clientSecret, now });
      const row = await mustFind(tx, id);
      this.#record(tx, by, row, {
        action: "credential.connect",
        before: before && settingsForm(before.settings),
        after: { ...settingsForm(settings), client_secret: clientSecret.kind },
      });
      const { browserToken } = request;
      const startedBy = actorRefOf(by);
      return this.#flows.begin(tx, { row, startedBy, browserToken, redirectUri, nowMs: Date.parse(now) });
    });
    const url = new URL(settings.authorizationUrl);
    const parameters = {
      response_type: "code",
      client_id: settings.clientId,
      redirect_uri: redirectUri,
      state: flow.state,
      ...(settings.scopes !== "" && { scope: settings.scopes }),
      ...(!settings.disablePkce && { code_challenge: flow.codeChallenge, code_challenge_method: "S256" }),
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    url.searchParams.sort();
    return url.href;
  }

  /**
   * The person is back from the provider. A state is used up by this, whatever comes of it.
   * @throws {AppError} with a sentence for the person; nothing of what was sent, or of what the provider said, is in it.
   */
  async callback({ state, code, browserToken, isBrowser, clientIp }: Callback): Promise<CallbackOutcome> {
    const flow = await this.#flows.take(state);
    const nowMs = this.#options.clock.now();
    if (flow === undefined) throw new NotFound("oauth_state_unknown", "Unknown or used state parameter; connect again");
    if (nowMs > Date.parse(flow.expiresAt)) throw flowExpired();
    const row = await this.#checkFlow(flow);
    const vaultName = await this.#vaultName(row.vaultId);
    if (flow.browserDigest !== null && !isSameBrowser(flow, browserToken)) {
      throw new Forbidden(
        "oauth_other_browser",
        "The connection was begun in another browser; nothing was connected. Begin and consent in the same browser",
      );
    }
    if (flow.browserDigest === null && isBrowser) {
      const confirmation = await this.#flows.park(flow, new Secret(code), nowMs);
      return { kind: "confirm", vaultName, key: row.key, startedBy: await this.#nameOf(flow.startedBy), confirmation };
    }
    // No token comes with it; whoever began has consented.
    const author = { ...flow.startedBy, name: await this.#nameOf(flow.startedBy), sessionId: "", clientIp };
    await this.#complete(author, flow, row, new Secret(code));
    return { kind: "connected", vaultName, key: row.key };
  }

  /**
   * Completes a connection that waits for the one who began it.
   * @throws {InvalidInput} `oauth_confirmation_wrong`, also when there is nothing to confirm.
   */
  async confirm(by: Principal, vaultId: string, key: CredentialKey, confirmation: string): Promise<void> {
    const row = await this.#get(vaultId, key);
    const found = await this.#flows.confirm(row.id, actorRefOf(by), confirmation);
    if (found === undefined) {
      throw new InvalidInput(
        "oauth_confirmation_wrong",
        "No connection that you began waits for this code; after five wrong ones connect again",
      );
    }
    if (this.#options.clock.now() > Date.parse(found.flow.expiresAt)) throw flowExpired();
    await this.#complete(by, found.flow, await this.#checkFlow(found.flow), found.code);
  }

  /** @throws {NotFound} `oauth_credential_not_found`. */
  async status(vaultId: string, key: CredentialKey): Promise<OAuthStatus> {
    const { connectedAt, lastRefreshError } = await this.#get(vaultId, key);
    return { connectedAt: connectedAt ?? undefined, lastError: lastRefreshError ?? undefined };
  }

  /**
   * Stores tokens that somebody got elsewhere. A new refresh token is tried at once where it is known where.
   * @returns when it was connected.
   * @throws {InvalidInput} `oauth_refresh_token_refused`, `invalid_oauth_settings`, `oauth_no_token_to_keep`.
   * @throws {Conflict} `external_credential_store`, `oauth_changed_meanwhile`.
   */
  async upload(by: Principal, upload: TokenUpload): Promise<string> {
    const { vaultId, key } = upload;
    const { db } = this.#options.database;
    await refuseExternalStore(db, vaultId);
    const before = await findOAuth(db, { vaultId, key });
    const settings = settingsForUpload(upload, before);
    const tokens = await tokensForUpload({ ...this.#options, store: this.#store }, { upload, settings, before });
    return this.#options.writer.change(vaultId, async ({ tx, now }) => {
      await refuseExternalStore(tx, vaultId);
      const current = await findOAuth(tx, { vaultId, key });
      if (current?.revision !== before?.revision) throw changedMeanwhile();
      const clientSecret = upload.clientSecret;
      const id = await this.#store.saveSettings(tx, { vaultId, key, settings, clientSecret, now });
      this.#record(
        tx,
        by,
        { id, vaultId, key },
        {
          action: "credential.upload_tokens",
          before: before && settingsForm(before.settings),
          after: {
            ...settingsForm(settings),
            client_secret: clientSecret.kind,
            access_token: upload.accessToken.kind,
            refresh_token: upload.refreshToken.kind,
          },
        },
      );
      if (tokens.kind === "fresh") {
        await this.#store.saveTokens(tx, id, tokens.tokens, { now, isConnection: true });
        return now;
      }
      if (tokens.accessToken !== undefined) await this.#store.saveAccessToken(tx, id, tokens.accessToken, now);
      await tx
        .updateTable("credential_oauth")
        .set({
          connected_at: now,
          // When a token that somebody brought ends is not known; the old one's end says nothing about it.
          ...(tokens.accessToken !== undefined && { token_expires_at: null }),
          ...(tokens.refreshToken !== undefined && {
            refresh_token_sealed: await this.#store.sealRefreshToken(id, tokens.refreshToken),
          }),
          ...freshRevision(),
        })
        .where("credential_id", "=", id)
        .execute();
      return now;
    });
  }

  /**
   * Forgets the tokens and keeps the settings. The provider is not told: revoke the consent there.
   * @throws {NotFound} `oauth_credential_not_found`. @throws {Conflict} `external_credential_store`.
   */
  async disconnect(by: Principal, vaultId: string, key: CredentialKey): Promise<void> {
    await this.#options.writer.change(vaultId, async ({ tx, now }) => {
      await refuseExternalStore(tx, vaultId);
      const row = await findOAuth(tx, { vaultId, key });
      if (row === undefined) throw oauthNotFound(key);
      this.#record(tx, by, row, {
        action: "credential.disconnect",
        before: { connected: row.connectedAt !== null },
        after: { connected: false },
      });
      await tx
        .updateTable("credentials")
        .set({ value_sealed: null, updated_at: now })
        .where("id", "=", row.id)
        .execute();
      await tx
        .updateTable("credential_oauth")
        .set({ ...noTokens, last_refresh_error: null, last_refresh_error_at: null, ...freshRevision() })
        .where("credential_id", "=", row.id)
        .execute();
      // A consent that is under way would connect it again.
      await tx.deleteFrom("oauth_states").where("credential_id", "=", row.id).execute();
    });
  }

  /** The right to complete is asked for when it is used: whoever began may have left since. */
  async #checkFlow(flow: Flow): Promise<OAuthRow> {
    const row = await findOAuth(this.#options.database.db, { id: flow.credentialId });
    if (row === undefined)
      throw new Gone("oauth_credential_gone", "The credential was deleted or set by hand meanwhile");
    if (!(await this.#options.access.isStillMember(flow.startedBy, row.vaultId))) {
      throw new Forbidden(
        "oauth_initiator_lost_access",
        "Whoever began the connection may not change this vault any more",
      );
    }
    if (settingsTag(row) !== flow.settings) throw changedMeanwhile();
    return row;
  }

  async #complete(by: By, flow: Flow, row: OAuthRow, code: Secret): Promise<void> {
    const { tokenEndpoint, writer, log } = this.#options;
    const client = await this.#store.openClient(row);
    const { verifier, redirectUri } = flow;
    const grant = { code, verifier, redirectUri };
    const tokens = await tokenEndpoint.exchange(client, grant).catch(async (error: unknown) => {
      if (error instanceof TokenCallFailed) await this.#noteFailure(row, error);
      throw error;
    });
    await writer.change(row.vaultId, async ({ tx, now }) => {
      const current = await findOAuth(tx, { id: row.id });
      // Tokens of one client must never be stored beside the settings of another.
      if (current === undefined || settingsTag(current) !== flow.settings) throw changedMeanwhile();
      await this.#store.saveTokens(tx, row.id, tokens, { now, isConnection: true });
      this.#record(tx, by, row, {
        action: "credential.connected",
        before: { connected: current.connectedAt !== null },
        after: { connected: true },
      });
    });
    log.info("an OAuth credential was connected", { vaultId: row.vaultId, key: row.key });
  }

  #record(
    tx: Transaction<Schema>,
    by: By,
    { id, vaultId, key }: Pick<OAuthRow, "id" | "vaultId" | "key">,
    change: Pick<AuditEntry, "action" | "before" | "after">,
  ): void {
    this.#options.audit.record(tx, by, { ...change, vaultId, target: { type: "credential", id, name: key } });
  }

  /** Where the person looks who waits for the connection. */
  async #noteFailure(row: OAuthRow, error: TokenCallFailed): Promise<void> {
    const { database, log, clock } = this.#options;
    log.warn("an OAuth code was not exchanged", failureFields(row, error));
    const at = new Date(clock.now()).toISOString();
    await database.db
      .updateTable("credential_oauth")
      .set({ last_refresh_error: error.message, last_refresh_error_at: at })
      .where("credential_id", "=", row.id)
      .where("revision", "=", row.revision)
      .execute();
  }

  async #get(vaultId: string, key: CredentialKey): Promise<OAuthRow> {
    const row = await findOAuth(this.#options.database.db, { vaultId, key });
    if (row === undefined) throw oauthNotFound(key);
    return row;
  }

  async #vaultName(vaultId: string): Promise<string> {
    const { db } = this.#options.database;
    const vault = await db.selectFrom("vaults").select("name").where("id", "=", vaultId).executeTakeFirst();
    return vault?.name ?? "";
  }

  async #nameOf({ type, id }: ActorRef): Promise<string> {
    const { db } = this.#options.database;
    const row =
      type === "user"
        ? await db.selectFrom("users").select("email as name").where("id", "=", id).executeTakeFirst()
        : await db.selectFrom("agents").select("name").where("id", "=", id).executeTakeFirst();
    return row?.name ?? "";
  }
}

/** What the audit log has of a provider and our client there: nothing secret. */
function settingsForm({ tokenUrl, clientId, scopes }: OAuthSettings): object {
  return { type: "oauth", token_url: tokenUrl, client_id: clientId, scopes };
}

/** What a failed token call may leave in the log. */
export function failureFields({ vaultId, key }: OAuthRow, error: unknown) {
  const isPermanent = error instanceof TokenCallFailed ? error.isPermanent : undefined;
  return { vaultId, key, reason: error instanceof AppError ? error.message : messageOf(error), isPermanent };
}

async function mustFind(tx: Transaction<Schema>, id: string): Promise<OAuthRow> {
  const row = await findOAuth(tx, { id });
  if (row === undefined) throw new Error("the OAuth settings that were just written are not there");
  return row;
}

export function oauthNotFound(key: CredentialKey): NotFound {
  return new NotFound("oauth_credential_not_found", `OAuth credential ${quote(key)} not found`);
}

function flowExpired(): Gone {
  return new Gone("oauth_state_expired", "The connection was not completed within ten minutes; connect again");
}

function changedMeanwhile(): Conflict {
  return new Conflict(
    "oauth_changed_meanwhile",
    "The settings of this credential were changed meanwhile; connect again",
  );
}
