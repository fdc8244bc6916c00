/** OAuth credentials: connect, come back, confirm, look, upload, disconnect (spec of the API, section 6). */
import { Secret } from "../../crypto/secret.ts";
import { randomHex } from "../../crypto/token.ts";
import type { Access } from "../../domain/actors/access.ts";
import { invalidCredentialKey } from "../../domain/credentials/credential.ts";
import { isCredentialKey } from "../../domain/credentials/key.ts";
import type { OAuthConnections } from "../../domain/credentials/oauth-connections.ts";
import { getOAuthProvider, oauthProviders } from "../../domain/credentials/oauth-providers.ts";
import {
  parseProviderUrl,
  parseSettingText,
  parseTokenAuthMethod,
  refused,
  secretMask,
} from "../../domain/credentials/oauth-settings.ts";
import type { SecretChange } from "../../domain/credentials/oauth-store.ts";
import type { UploadedToken } from "../../domain/credentials/oauth-upload.ts";
import { AppError, Conflict, InvalidInput } from "../../errors.ts";
import { json, wireTime } from "../answer.ts";
import { cookieValue, type SessionCookie } from "../authenticate.ts";
import {
  callback,
  complete,
  confirm,
  connect,
  disconnect,
  listProviders,
  showStatus,
  uploadTokens,
} from "../contracts/oauth.ts";
import { completionPage, confirmationPage, reasonOf } from "../oauth-page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";
import { vaultOf } from "./credentials.ts";

export interface OAuthDependencies {
  readonly access: Access;
  readonly oauth: OAuthConnections;
  readonly baseUrl: string;
  readonly cookie: SessionCookie;
}

export function registerOAuthRoutes(router: ApiRouter, dependencies: OAuthDependencies): void {
  registerConnect(router, dependencies);
  registerCallback(router, dependencies);
  registerTokens(router, dependencies);
}

function registerConnect(router: ApiRouter, { access, oauth, baseUrl, cookie }: OAuthDependencies): void {
  const browsers = new BrowserCookie(baseUrl);

  router.on(listProviders, () =>
    json({
      providers: oauthProviders.map((provider) => ({
        id: provider.id,
        name: provider.name,
        suggested_credential_key: provider.suggestedKey,
        authorization_url: provider.authorizationUrl,
        token_url: provider.tokenUrl,
        token_auth_method: provider.tokenAuthMethod,
        scope_separator: provider.scopeSeparator,
        suggested_scopes: provider.suggestedScopes,
      })),
    }),
  );

  router.on(connect, async (request) => {
    const body = await request.body();
    const key = requireKey(body.key);
    const settings = readSettings(body);
    const { vault } = await vaultOf(access, request, body.vault, "member");
    const browserToken = browsers.forConnect(request, cookie);
    const url = await oauth.connect(request.principal, {
      vaultId: vault.id,
      key,
      settings,
      clientSecret: readClientSecret(body.client_secret, "clear"),
      browserToken,
    });
    return json({ authorization_url: url }, { headers: browsers.setHeader(browserToken) });
  });

  router.on(confirm, async (request) => {
    const body = await request.body();
    const key = requireKey(body.key);
    const code = body.code;
    if (code === "") throw refused('"code" is required: the one that the page showed');
    const { vault } = await vaultOf(access, request, body.vault, "member");
    await oauth.confirm(request.principal, vault.id, key, code);
    return json(await statusOf(oauth, vault.id, key));
  });
}

function registerCallback(router: ApiRouter, { oauth, baseUrl }: OAuthDependencies): void {
  const browsers = new BrowserCookie(baseUrl);

  router.on(callback, async (request) => {
    try {
      const { code, state } = readCallback(request);
      const outcome = await oauth.callback({
        code,
        state,
        browserToken: browsers.read(request.headers),
        isBrowser: isBrowser(request.headers),
        clientIp: request.clientIp,
      });
      if (outcome.kind === "confirm") return confirmationPage(outcome);
      return toCompletion(baseUrl, { status: "success", vault: outcome.vaultName, key: outcome.key });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return toCompletion(baseUrl, { status: "error", message: reasonOf(error.code) });
    }
  });

  router.on(complete, (request) =>
    completionPage(request.query("status") === "success", request.query("message") ?? ""),
  );
}

function registerTokens(router: ApiRouter, { access, oauth }: OAuthDependencies): void {
  router.on(showStatus, async (request) => {
    const key = request.query("key") ?? "";
    if (key === "") throw new InvalidInput("key_required", '"key" query parameter is required');
    const { vault } = await vaultOf(access, request, request.query("vault"), "member");
    return json(await statusOf(oauth, vault.id, key));
  });

  router.on(uploadTokens, async (request) => {
    const body = await request.body();
    const key = requireKey(body.key);
    const accessToken = readToken(body.access_token);
    const refreshToken = readToken(body.refresh_token);
    if (accessToken.kind === "none" && refreshToken.kind === "none") {
      throw refused('"access_token" or "refresh_token" is required');
    }
    const tokenUrl = body.token_url || undefined;
    const method = body.token_auth_method || undefined;
    const clientId = body.client_id || undefined;
    const { vault } = await vaultOf(access, request, body.vault, "member");
    const connectedAt = await oauth.upload(request.principal, {
      vaultId: vault.id,
      key,
      accessToken,
      refreshToken,
      tokenUrl: tokenUrl && parseProviderUrl(tokenUrl, "token_url"),
      clientId: clientId && parseSettingText(clientId, "client_id"),
      // Clients leave the secret out to keep it.
      clientSecret: readClientSecret(body.client_secret, "keep"),
      tokenAuthMethod: method === undefined ? undefined : parseTokenAuthMethod(method),
    });
    return json({ connected: true, connected_at: wireTime(connectedAt) });
  });

  router.on(disconnect, async (request) => {
    const body = await request.body();
    const key = requireKey(body.key);
    const { vault } = await vaultOf(access, request, body.vault, "member");
    await oauth.disconnect(request.principal, vault.id, key);
    return json({ connected: false });
  });
}

function requireKey(key: string | undefined): string {
  if (!key) throw new InvalidInput("key_required", '"key" is required');
  if (!isCredentialKey(key)) throw invalidCredentialKey(key);
  return key;
}

type ConnectBody = Awaited<ReturnType<NonNullable<typeof connect.body>["parse"]>>;

/** A preset fills what is left out. */
function readSettings(body: ConnectBody) {
  const preset = body.provider ? getOAuthProvider(body.provider) : undefined;
  const authorizationUrl = body.authorization_url || preset?.authorizationUrl;
  const tokenUrl = body.token_url || preset?.tokenUrl;
  const clientId = body.client_id;
  if (!authorizationUrl) throw refused('"authorization_url" is required for the connect flow');
  if (!tokenUrl) throw refused('"token_url" is required');
  const urls = {
    authorizationUrl: parseProviderUrl(authorizationUrl, "authorization_url"),
    tokenUrl: parseProviderUrl(tokenUrl, "token_url"),
  };
  if (clientId === "") throw refused('"client_id" is required');
  return {
    ...urls,
    clientId: parseSettingText(clientId, "client_id"),
    scopes: parseSettingText(body.scopes ?? "", "scopes"),
    scopeSeparator: parseSettingText(body.scope_separator || preset?.scopeSeparator || " ", "scope_separator"),
    disablePkce: body.disable_pkce ?? false,
    tokenAuthMethod: parseTokenAuthMethod(body.token_auth_method || preset?.tokenAuthMethod),
  };
}

function readClientSecret(text: string | undefined, whenEmpty: "keep" | "clear"): SecretChange {
  if (text === undefined || text === "") return { kind: whenEmpty };
  return text === secretMask ? { kind: "keep" } : { kind: "set", value: new Secret(text) };
}

function readToken(text: string | undefined): UploadedToken {
  if (text === undefined || text === "") return { kind: "none" };
  if (text === secretMask) return { kind: "keep" };
  if (!/^[\x20-\x7e]+$/.test(text)) throw refused("A token consists of visible ASCII characters");
  return { kind: "set", value: new Secret(text) };
}

async function statusOf(oauth: OAuthConnections, vaultId: string, key: string) {
  const { connectedAt, lastError } = await oauth.status(vaultId, key);
  return {
    connected: connectedAt !== undefined,
    ...(connectedAt !== undefined && { connected_at: wireTime(connectedAt) }),
    ...(lastError !== undefined && { last_error: lastError }),
  };
}

/** @throws {AppError} whose message says nothing that the provider, or whoever wrote the link, has written. */
function readCallback(request: ApiRequest<unknown, "code" | "state" | "error">): {
  readonly code: string;
  readonly state: string;
} {
  // Whoever only looks at a link must not use it up.
  if (request.method === "HEAD") throw new InvalidInput("oauth_missing_parameter", "A connection is completed by GET");
  const code = request.query("code") ?? "";
  const state = request.query("state") ?? "";
  const error = request.query("error");
  if (code !== "" && state !== "") return { code, state };
  if (error === "access_denied") {
    throw new InvalidInput("oauth_access_denied", "The provider reports that access was denied");
  }
  if (error) throw new InvalidInput("oauth_provider_error", "The provider ended the connection with an error");
  throw new InvalidInput("oauth_missing_parameter", "Missing code or state parameter");
}

function toCompletion(baseUrl: string, query: Readonly<Record<string, string>>): Response {
  return new Response(null, {
    status: 302,
    headers: {
      location: `${baseUrl}/oauth/complete?${new URLSearchParams(query)}`,
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-store",
    },
  });
}

const browserCookieSeconds = 600;

/**
 * Ties a connection to the browser that began it. `Lax`, unlike the cookie of the login: it has to arrive with the
 * navigation that comes back from the provider.
 */
class BrowserCookie {
  readonly #baseUrl: URL;

  readonly #name: string;

  constructor(baseUrl: string) {
    this.#baseUrl = new URL(baseUrl);
    // With this prefix no sibling subdomain can plant a cookie of its own (RFC 6265bis, section 4.1.3.2).
    this.#name = this.#baseUrl.protocol === "https:" ? "__Host-av_oauth" : "av_oauth";
  }

  read(headers: Headers): string | undefined {
    return cookieValue(headers, this.#name);
  }

  /**
   * The value for a connection that a browser begins; undefined for programs, which bring a token.
   * @throws {Conflict} `oauth_wrong_origin` where the cookie would not be there when the browser comes back.
   */
  forConnect({ headers }: ApiRequest, cookie: SessionCookie): string | undefined {
    if (cookie.presented(headers)?.from !== "cookie") return undefined;
    const origin = headers.get("origin");
    if (origin !== null && URL.canParse(origin) && new URL(origin).hostname !== this.#baseUrl.hostname) {
      throw new Conflict(
        "oauth_wrong_origin",
        `Providers send you back to ${this.#baseUrl.origin}: open agent-vault there and connect again`,
      );
    }
    const known = this.read(headers) ?? "";
    return /^[0-9a-f]{64}$/.test(known) ? known : randomHex(32);
  }

  setHeader(value: string | undefined): Readonly<Record<string, string>> {
    if (value === undefined) return {};
    const secure = this.#baseUrl.protocol === "https:" ? "; Secure" : "";
    const attributes = `Max-Age=${browserCookieSeconds}; Path=/; HttpOnly; SameSite=Lax${secure}`;
    return { "set-cookie": `${this.#name}=${value}; ${attributes}` };
  }
}

/**
 * Browsers name themselves, ask for pages, and say how a request came about; a page can stop none of that. What does
 * nothing of it is a program, whose owner gave it the address by hand.
 */
function isBrowser(headers: Headers): boolean {
  const says = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"].some((name) => headers.has(name));
  const isNamed = /mozilla\//i.test(headers.get("user-agent") ?? "");
  const wantsPage = /text\/html|application\/xhtml/i.test(headers.get("accept") ?? "");
  return says || isNamed || wantsPage;
}
