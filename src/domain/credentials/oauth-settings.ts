/** How an OAuth credential gets its tokens: the provider's addresses and our client there (spec of the API, section 6). */
import type { Selectable } from "kysely";
import { InvalidInput } from "../../errors.ts";
import { isLoopback, parseIp } from "../../net/address.ts";
import type { Schema } from "../../storage/schema.ts";
import { quote } from "../input.ts";

export type TokenAuthMethod = "client_secret_post" | "client_secret_basic";

export interface OAuthSettings {
  /** Undefined where tokens are only uploaded. */
  readonly authorizationUrl: string | undefined;
  /** `manual` where tokens were uploaded and nothing is known that would refresh them. */
  readonly tokenUrl: string;
  readonly clientId: string;
  /** Sent to the authorization endpoint as it is. */
  readonly scopes: string;
  readonly scopeSeparator: string;
  readonly disablePkce: boolean;
  readonly tokenAuthMethod: TokenAuthMethod;
}

/** What lists show in place of a stored secret; sent back, it means "as it is". */
export const secretMask = "••••••••";
/** `token_url` and `client_id` of an uploaded token that nothing can refresh. */
export const manual = "manual";
const maxTextLength = 4096;

/** @throws {InvalidInput} `invalid_oauth_settings`, naming the field. */
export function parseProviderUrl(text: string, field: "authorization_url" | "token_url"): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (!url || !isHttp || url.hostname === "" || text.length > maxTextLength) {
    throw refused(`"${field}" must be an https:// or http:// URL`);
  }
  if (url.username !== "" || url.password !== "") throw refused(`"${field}" must not hold a user name or password`);
  if (url.hash !== "") throw refused(`"${field}" must not have a fragment`);
  if (url.protocol === "http:" && !isLoopbackHost(url)) {
    throw refused(`"${field}" must be an https:// URL: http:// is taken for loopback addresses only`);
  }
  return text;
}

/** @throws {InvalidInput} `invalid_oauth_settings`. */
export function parseTokenAuthMethod(text: string | undefined): TokenAuthMethod {
  if (text === undefined || text === "" || text === "client_secret_post") return "client_secret_post";
  if (text === "client_secret_basic") return text;
  throw refused(`"token_auth_method" must be "client_secret_post" or "client_secret_basic", not ${quote(text)}`);
}

/** @throws {InvalidInput} `invalid_oauth_settings` for texts that no header, form or page should carry. */
export function parseSettingText(text: string, field: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(text)) throw refused(`"${field}" must not contain control characters`);
  if (text.length > maxTextLength) throw refused(`"${field}" must not be longer than ${maxTextLength} characters`);
  return text;
}

/** The settings in a row. */
export function settingsOf(
  row: Pick<
    Selectable<Schema["credential_oauth"]>,
    | "authorization_url"
    | "token_url"
    | "client_id"
    | "scopes"
    | "scope_separator"
    | "disable_pkce"
    | "token_auth_method"
  >,
): OAuthSettings {
  return {
    authorizationUrl: row.authorization_url ?? undefined,
    tokenUrl: row.token_url,
    clientId: row.client_id,
    scopes: row.scopes,
    scopeSeparator: row.scope_separator,
    disablePkce: row.disable_pkce === 1,
    // The column holds what `parseTokenAuthMethod` let in.
    tokenAuthMethod: row.token_auth_method as TokenAuthMethod,
  };
}

/** Can the token endpoint be called at all? */
export function hasTokenEndpoint({ tokenUrl }: Pick<OAuthSettings, "tokenUrl">): boolean {
  return tokenUrl !== "" && tokenUrl !== manual;
}

/** The scopes for a refresh: separated by blanks whatever the authorization endpoint wants (RFC 6749, section 3.3). */
export function scopesForRefresh({ scopes, scopeSeparator }: OAuthSettings): string {
  const parts = scopeSeparator === "" ? [scopes] : scopes.split(scopeSeparator);
  return parts
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .join(" ");
}

export function refused(message: string): InvalidInput {
  return new InvalidInput("invalid_oauth_settings", message);
}

/** Other names may lead anywhere. */
function isLoopbackHost({ hostname }: URL): boolean {
  if (hostname === "localhost") return true;
  const bytes = parseIp(hostname.replace(/^\[(.*)\]$/, "$1"));
  return bytes !== undefined && isLoopback(bytes);
}
