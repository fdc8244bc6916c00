/** Which token a request presents (spec of accounts, section 2.1), and the cookie that carries one for browsers. */

export const cookieName = "av_session";
const cookieMaxAgeSeconds = 31_536_000;

export interface Presented {
  readonly token: string;
  readonly from: "bearer" | "cookie";
}

/** A Bearer token hides the cookie even when it is invalid; a bare `Bearer` counts as absent. */
export function presentedToken(headers: Headers): Presented | undefined {
  const authorization = headers.get("authorization");
  if (authorization?.startsWith("Bearer ")) {
    const token = authorization.slice("Bearer ".length);
    if (token !== "") return { token, from: "bearer" };
  }
  const token = cookieValue(headers, cookieName);
  return token === undefined || token === "" ? undefined : { token, from: "cookie" };
}

/** The first cookie of this name. */
export function cookieValue(headers: Headers, name: string): string | undefined {
  for (const part of (headers.get("cookie") ?? "").split(";")) {
    const equals = part.indexOf("=");
    if (equals < 0 || part.slice(0, equals).trim() !== name) continue;
    const value = part.slice(equals + 1).trim();
    return value.startsWith('"') && value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value;
  }
  return undefined;
}

const setupCookieName = "av_setup";
const setupCookieSeconds = 3_600;

/** Carries the setup secret from the printed link to the registration of the first account, and nowhere else. */
export class SetupCookie {
  readonly #secure: string;

  constructor(options: { readonly baseUrl: string }) {
    this.#secure = options.baseUrl.startsWith("https://") ? "; Secure" : "";
  }

  set(secret: string): Readonly<Record<string, string>> {
    const attributes = `Max-Age=${setupCookieSeconds}; Path=/v1/auth/register; HttpOnly; SameSite=Strict${this.#secure}`;
    return { "set-cookie": `${setupCookieName}=${secret}; ${attributes}` };
  }

  read(headers: Headers): string | undefined {
    return cookieValue(headers, setupCookieName);
  }
}

/** `Set-Cookie` values; `Secure` follows the base URL, never `X-Forwarded-Proto`. */
export class SessionCookie {
  readonly #attributes: string;

  constructor(options: { readonly baseUrl: string }) {
    const secure = options.baseUrl.startsWith("https://") ? "; Secure" : "";
    this.#attributes = `Path=/; HttpOnly; SameSite=Strict${secure}`;
  }

  set(token: string): Readonly<Record<string, string>> {
    return { "set-cookie": `${cookieName}=${token}; Max-Age=${cookieMaxAgeSeconds}; ${this.#attributes}` };
  }

  clear(): Readonly<Record<string, string>> {
    return { "set-cookie": `${cookieName}=; Max-Age=0; ${this.#attributes}` };
  }
}
