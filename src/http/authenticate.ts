/** Which token a request presents (spec of accounts, section 2.1), and the cookie that carries one for browsers. */

const cookieName = "av_session";
/** The same session under a name that only this very host can set, over TLS (RFC 6265bis, section 4.1.3.2). */
const hostCookieName = "__Host-av_session";
const cookieMaxAgeSeconds = 31_536_000;

export interface Presented {
  readonly token: string;
  readonly from: "bearer" | "cookie";
}

/** The first cookie of this name. */
export function cookieValue(headers: Headers, name: string): string | undefined {
  return cookieValues(headers, name)[0];
}

function cookieValues(headers: Headers, name: string): readonly string[] {
  const values: string[] = [];
  for (const part of (headers.get("cookie") ?? "").split(";")) {
    const equals = part.indexOf("=");
    if (equals < 0 || part.slice(0, equals).trim() !== name) continue;
    const value = part.slice(equals + 1).trim();
    values.push(value.startsWith('"') && value.endsWith('"') && value.length > 1 ? value.slice(1, -1) : value);
  }
  return values;
}

const setupCookieName = "av_setup";
const setupCookieSeconds = 3_600;

/** Carries the setup secret from the printed link to the registration of the first account, and nowhere else. */
export class SetupCookie {
  readonly #secure: string;

  constructor(options: { readonly baseUrl: string }) {
    this.#secure = options.baseUrl.startsWith("https://") ? "; Secure" : "";
  }

  /** The value of its `Set-Cookie`. */
  set(secret: string): string {
    const attributes = `Max-Age=${setupCookieSeconds}; Path=/v1/auth/register; HttpOnly; SameSite=Strict${this.#secure}`;
    return `${setupCookieName}=${secret}; ${attributes}`;
  }

  read(headers: Headers): string | undefined {
    return cookieValue(headers, setupCookieName);
  }
}

/**
 * The login of a browser. Behind TLS a browser gets it under two names: `av_session`, which clients know, and one with the
 * prefix `__Host-`. A sibling subdomain can plant a cookie of the first name, for somebody to work in a stranger's account
 * without noticing; it cannot plant the second, so that is the one which counts for browsers. They are known by
 * `Sec-Fetch-Site`, which no page can take out of a request.
 */
export class SessionCookie {
  readonly #isSecure: boolean;
  readonly #attributes: string;

  /** `Secure` follows the base URL, never `X-Forwarded-Proto`. */
  constructor(options: { readonly baseUrl: string }) {
    this.#isSecure = options.baseUrl.startsWith("https://");
    this.#attributes = `Path=/; HttpOnly; SameSite=Strict${this.#isSecure ? "; Secure" : ""}`;
  }

  /** `Set-Cookie` values of the answer to a request with these headers. */
  set(token: string, headers: Headers): readonly string[] {
    return this.#names(headers).map((name) => `${name}=${token}; Max-Age=${cookieMaxAgeSeconds}; ${this.#attributes}`);
  }

  clear(headers: Headers): readonly string[] {
    return this.#names(headers).map((name) => `${name}=; Max-Age=0; ${this.#attributes}`);
  }

  /** A Bearer token hides the cookie even when it is invalid; a bare `Bearer` counts as absent. */
  presented(headers: Headers): Presented | undefined {
    const authorization = headers.get("authorization");
    if (authorization?.startsWith("Bearer ")) {
      const token = authorization.slice("Bearer ".length);
      if (token !== "") return { token, from: "bearer" };
    }
    return this.inCookie(headers);
  }

  /** As `presented`, of a request whose `Authorization` does not count. */
  inCookie(headers: Headers): Presented | undefined {
    const token = this.#read(headers);
    return token === undefined || token === "" ? undefined : { token, from: "cookie" };
  }

  #read(headers: Headers): string | undefined {
    if (this.#isSecure) {
      const own = cookieValue(headers, hostCookieName);
      if (own !== undefined) return own;
      // Whoever is no browser writes the header by hand, under the name that is known.
      if (isBrowser(headers)) return undefined;
    }
    const values = cookieValues(headers, cookieName);
    // Two sessions in one request: one of them was planted, and the order of cookies is in the planter's hands.
    return values.every((value) => value === values[0]) ? values[0] : undefined;
  }

  #names(headers: Headers): readonly string[] {
    return this.#isSecure && isBrowser(headers) ? [cookieName, hostCookieName] : [cookieName];
  }
}

/** All browsers send it to a server that they reach over TLS. */
function isBrowser(headers: Headers): boolean {
  return headers.has("sec-fetch-site");
}
