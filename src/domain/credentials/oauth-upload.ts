/** Tokens that somebody got elsewhere: what is stored of an upload, and the settings that go with it. */
import type { Secret } from "../../crypto/secret.ts";
import { InvalidInput } from "../../errors.ts";
import type { CredentialKey } from "../services/service.ts";
import { hasTokenEndpoint, manual, type OAuthSettings, refused, type TokenAuthMethod } from "./oauth-settings.ts";
import type { OAuthRow, OAuthStore, SecretChange } from "./oauth-store.ts";
import { TokenCallFailed, type TokenEndpoint, type Tokens } from "./token-endpoint.ts";

/** A token field of an upload: a value, the stored one, or nothing. */
export type UploadedToken = { readonly kind: "keep" | "none" } | { readonly kind: "set"; readonly value: Secret };

export interface TokenUpload {
  readonly vaultId: string;
  readonly key: CredentialKey;
  readonly accessToken: UploadedToken;
  readonly refreshToken: UploadedToken;
  /** Undefined is what is stored. */
  readonly tokenUrl: string | undefined;
  readonly clientId: string | undefined;
  readonly clientSecret: SecretChange;
  readonly tokenAuthMethod: TokenAuthMethod | undefined;
}

interface UploadContext {
  readonly upload: TokenUpload;
  readonly settings: OAuthSettings;
  /** What is stored. */
  readonly before: OAuthRow | undefined;
}

/** Fields that the upload leaves out are those that are stored; without any, nothing can refresh the token. */
export function settingsForUpload(upload: TokenUpload, before: OAuthRow | undefined): OAuthSettings {
  const stored = before?.settings;
  return {
    authorizationUrl: stored?.authorizationUrl,
    tokenUrl: upload.tokenUrl ?? stored?.tokenUrl ?? manual,
    clientId: upload.clientId ?? stored?.clientId ?? manual,
    scopes: stored?.scopes ?? "",
    scopeSeparator: stored?.scopeSeparator ?? " ",
    disablePkce: stored?.disablePkce ?? false,
    tokenAuthMethod: upload.tokenAuthMethod ?? stored?.tokenAuthMethod ?? "client_secret_post",
  };
}

/**
 * What an upload leaves to store: fresh tokens of the provider, where the new refresh token could be tried, else those given.
 * @throws {InvalidInput} `oauth_refresh_token_refused`, `invalid_oauth_settings`, `oauth_no_token_to_keep`.
 */
export async function tokensForUpload(
  { tokenEndpoint, store }: { readonly tokenEndpoint: TokenEndpoint; readonly store: OAuthStore },
  { upload, settings, before }: UploadContext,
): Promise<
  | { readonly kind: "fresh"; readonly tokens: Tokens }
  | { readonly kind: "as-given"; readonly accessToken: Secret | undefined; readonly refreshToken: Secret | undefined }
> {
  const { accessToken, refreshToken } = upload;
  if (refreshToken.kind === "set" && hasTokenEndpoint(settings)) {
    const secret = await secretForUpload(store, { upload, settings, before });
    const tokens = await tokenEndpoint.refresh({ settings, secret }, refreshToken.value).catch((error: unknown) => {
      if (!(error instanceof TokenCallFailed)) throw error;
      throw new InvalidInput("oauth_refresh_token_refused", `Refresh token validation failed: ${error.message}`, {
        cause: error,
      });
    });
    return { kind: "fresh", tokens: { ...tokens, refreshToken: tokens.refreshToken ?? refreshToken.value } };
  }
  const hasStoredToken = before?.valueSealed != null;
  if (accessToken.kind === "keep" && !hasStoredToken) {
    throw new InvalidInput("oauth_no_token_to_keep", "No existing access token to preserve: give its value");
  }
  if (accessToken.kind === "none" && !hasStoredToken) {
    throw refused('A refresh token alone needs a "token_url" where it can be used');
  }
  return {
    kind: "as-given",
    accessToken: accessToken.kind === "set" ? accessToken.value : undefined,
    refreshToken: refreshToken.kind === "set" ? refreshToken.value : undefined,
  };
}

/** The stored secret goes only to where it was stored for. */
async function secretForUpload(
  store: OAuthStore,
  { upload: { clientSecret }, settings, before }: UploadContext,
): Promise<Secret | undefined> {
  if (clientSecret.kind === "set") return clientSecret.value;
  if (clientSecret.kind === "clear" || before?.settings.tokenUrl !== settings.tokenUrl) return undefined;
  return (await store.openClient(before)).secret;
}
