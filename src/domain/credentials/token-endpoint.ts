/**
 * A provider's token endpoint (RFC 6749): a code, or a refresh token, for an access token.
 *
 * What a provider answers is not trusted: sizes and types are checked, and no text of it gets into an error, a log or
 * the database, except error codes that are on our list.
 */
import { Secret } from "../../crypto/secret.ts";
import { AppError, UpstreamFailed } from "../../errors.ts";
import { type FormAnswer, postForm } from "../../net/form-post.ts";
import type { Outbound } from "../../net/outbound.ts";
import { type OAuthSettings, scopesForRefresh } from "./oauth-settings.ts";

export interface Client {
  readonly settings: OAuthSettings;
  readonly secret: Secret | undefined;
}

export interface Tokens {
  readonly accessToken: Secret;
  /** Undefined when the provider sent none: the one before stays. */
  readonly refreshToken: Secret | undefined;
  /** Undefined when the provider names no end. */
  readonly expiresInSeconds: number | undefined;
}

const callLimits = { timeoutMs: 30_000, maxBytes: 256 * 1024 };
/** Ten years: more is a mistake, and dates beyond 9999 have another form. */
const maxExpirySeconds = 10 * 365 * 86_400;

/** The token endpoint gave no tokens. The message is a sentence that may be stored and shown. */
export class TokenCallFailed extends UpstreamFailed {
  /** Asking again with the same will not help. */
  readonly isPermanent: boolean;

  constructor(message: string, options: { isPermanent: boolean; status?: 502 | 504; hint?: string; cause?: unknown }) {
    super("oauth_token_call_failed", message, options);
    this.isPermanent = options.isPermanent;
  }
}

export class TokenEndpoint {
  readonly #outbound: Outbound;
  readonly #limits: typeof callLimits;

  /** @param options.limits are for tests. */
  constructor(options: { readonly outbound: Outbound; readonly limits?: typeof callLimits }) {
    this.#outbound = options.outbound;
    this.#limits = options.limits ?? callLimits;
  }

  /** @param grant.verifier goes along even where PKCE was switched off, as existing providers expect. @throws {TokenCallFailed} */
  exchange(
    client: Client,
    grant: { readonly code: Secret; readonly verifier: Secret; readonly redirectUri: string },
  ): Promise<Tokens> {
    return this.#call(client, {
      grant_type: "authorization_code",
      code: grant.code.reveal(),
      redirect_uri: grant.redirectUri,
      code_verifier: grant.verifier.reveal(),
    });
  }

  /** @throws {TokenCallFailed} */
  refresh(client: Client, refreshToken: Secret): Promise<Tokens> {
    const scope = scopesForRefresh(client.settings);
    return this.#call(client, {
      grant_type: "refresh_token",
      refresh_token: refreshToken.reveal(),
      ...(scope !== "" && { scope }),
    });
  }

  async #call({ settings, secret }: Client, grant: Readonly<Record<string, string>>): Promise<Tokens> {
    const fields = new URLSearchParams(grant);
    const headers: Record<string, string> = { accept: "application/json", "user-agent": "agent-vault" };
    fields.set("client_id", settings.clientId);
    if (secret !== undefined) {
      if (settings.tokenAuthMethod === "client_secret_basic") {
        headers.authorization = basicCredentials(settings.clientId, secret);
      } else fields.set("client_secret", secret.reveal());
    }
    const post = { url: new URL(settings.tokenUrl), headers, fields };
    const answer = await postForm(this.#outbound, post, this.#limits).catch((error: unknown) => {
      throw unreachable(error);
    });
    return readAnswer(answer);
  }
}

/** Both parts form-encoded first (RFC 6749, section 2.3.1): a colon in the id would split it elsewhere. */
function basicCredentials(clientId: string, secret: Secret): string {
  const pair = `${formEncode(clientId)}:${formEncode(secret.reveal())}`;
  return `Basic ${Buffer.from(pair).toString("base64")}`;
}

function formEncode(text: string): string {
  return new URLSearchParams([["", text]]).toString().slice(1);
}

function unreachable(error: unknown): unknown {
  if (!(error instanceof AppError)) return error;
  // Its message names the host and what went wrong, nothing that was sent or received.
  return new TokenCallFailed(error.message, {
    isPermanent: false,
    ...(error.status === 504 && { status: 504 as const }),
    ...(error.hint !== undefined && { hint: error.hint }),
    cause: error,
  });
}

function readAnswer({ status, body }: FormAnswer): Tokens {
  const value = parseObject(body);
  if (status < 200 || status > 299) throw refusedWith(status, value);
  // GitHub and Slack report failures with 200.
  if (value === undefined) throw unusable("its answer is not JSON");
  if ((typeof value.error === "string" && value.error !== "") || value.ok === false) throw refusedWith(status, value);
  // Slack puts the token of a person below `authed_user`.
  const source = isText(value.access_token) ? value : (asObject(value.authed_user) ?? value);
  if (!isText(source.access_token)) throw unusable("its answer holds no access token");
  const accessToken = readToken(source.access_token, "access token");
  const refreshToken = isText(source.refresh_token) ? readToken(source.refresh_token, "refresh token") : undefined;
  return { accessToken, refreshToken, expiresInSeconds: readExpiry(source.expires_in) };
}

/** RFC 6749, appendices A.12 and A.17: visible ASCII and blanks. Anything else would break the header it goes into. */
function readToken(text: string, what: string): Secret {
  if (!/^[\x20-\x7e]+$/.test(text)) throw unusable(`its ${what} holds characters that no token may have`);
  return new Secret(text);
}

/** Some providers send a text. Nothing, zero and nonsense are "no known end". */
function readExpiry(value: unknown): number | undefined {
  const seconds = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds < 1) return undefined;
  return Math.min(Math.trunc(seconds), maxExpirySeconds);
}

/** Codes that say something and hold nothing: those of the RFCs, and what large providers made up. */
const knownErrors: ReadonlySet<string> = new Set([
  "invalid_request",
  "invalid_client",
  "invalid_grant",
  "unauthorized_client",
  "unsupported_grant_type",
  "invalid_scope",
  "access_denied",
  "server_error",
  "temporarily_unavailable",
  "slow_down",
  "bad_verification_code",
  "bad_refresh_token",
  "incorrect_client_credentials",
  "redirect_uri_mismatch",
  "invalid_code",
  "code_already_used",
  "bad_client_secret",
  "invalid_refresh_token",
  "token_revoked",
  "token_expired",
  "interaction_required",
  "consent_required",
]);
const passingErrors: ReadonlySet<string> = new Set(["server_error", "temporarily_unavailable", "slow_down"]);

function refusedWith(status: number, value: Readonly<Record<string, unknown>> | undefined): TokenCallFailed {
  const code = typeof value?.error === "string" && knownErrors.has(value.error) ? value.error : undefined;
  const isClientError = status < 500 && status !== 408 && status !== 429;
  const isPermanent = isClientError && !(status >= 300 && status < 400) && !passingErrors.has(code ?? "");
  const what = status >= 300 && status < 400 ? "a redirect, which is not followed" : `status ${status}`;
  const said = code === undefined ? what : `${code} (${what})`;
  return new TokenCallFailed(`The provider's token endpoint refused with ${said}`, { isPermanent });
}

function unusable(why: string): TokenCallFailed {
  return new TokenCallFailed(`The provider's token endpoint gave no usable token: ${why}`, { isPermanent: false });
}

function parseObject(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asObject(JSON.parse(body));
  } catch {
    // The text may hold anything, a token too: it goes nowhere.
    return undefined;
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
