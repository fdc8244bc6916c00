/** What surrounds every API request: security headers, the judgement of its origin, and who is asking over the network. */
import { Forbidden } from "../errors.ts";
import { type Cidr, cidr, cidrHolds, formatIp, parseIp, unmapIp } from "../net/address.ts";

const contentSecurityPolicy = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

/** The headers of every routed answer (spec of accounts, section 1.5). */
export function securityHeaders(baseUrl: string): Readonly<Record<string, string>> {
  return {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": contentSecurityPolicy,
    "cross-origin-resource-policy": "same-origin",
    ...(baseUrl.startsWith("https://") && { "strict-transport-security": "max-age=31536000" }),
  };
}

const safeMethods = new Set(["GET", "HEAD", "OPTIONS"]);
/** Content types that a page of another origin can send without a preflight. */
const formTypes = /^\s*(text\/plain|application\/x-www-form-urlencoded|multipart\/form-data)\s*(;|$)/i;

export interface OriginCheck {
  readonly method: string;
  readonly headers: Headers;
  /** The cookie is what identifies the caller. */
  readonly usesCookie: boolean;
  /** The route is judged without a cookie too. */
  readonly always: boolean;
  /** The route is for whoever is signed in. No page of another origin has a reason to read there, or to open it. */
  readonly isForSession: boolean;
  readonly baseUrl: string;
}

/**
 * Refuses what another site made a browser send. `SameSite=Strict` stops other sites, but neither sibling subdomains
 * nor other ports of the same host. Clients that send neither `Sec-Fetch-Site` nor `Origin` are not browsers.
 *
 * Reads are judged as well: some leave an entry in the audit log in the name of the person (a value that was revealed),
 * and how long one takes tells another site what there is.
 * @throws {Forbidden} `cross_origin`.
 */
export function checkOrigin(check: OriginCheck): void {
  if (!(check.usesCookie || check.always)) return;
  const isRead = safeMethods.has(check.method);
  if (isRead && !check.isForSession) return;
  const { headers } = check;
  const site = headers.get("sec-fetch-site");
  const origin = headers.get("origin");
  const isForeign =
    site !== null ? site !== "same-origin" && site !== "none" : origin !== null && !isOwnOrigin(origin, check);
  if (isForeign) {
    throw new Forbidden("cross_origin", "Requests that a page of another origin made are not answered here");
  }
  if (!isRead && check.usesCookie && formTypes.test(headers.get("content-type") ?? "")) {
    throw new Forbidden("cross_origin", "Send the body as application/json");
  }
}

/** Ours is the base URL, or wherever the browser says it reached us: it sets `Host` and `Origin` by itself. */
function isOwnOrigin(origin: string, { headers, baseUrl }: OriginCheck): boolean {
  if (!URL.canParse(origin)) return false;
  const { host } = new URL(origin);
  if (URL.canParse(baseUrl) && new URL(baseUrl).origin === new URL(origin).origin) return true;
  return host !== "" && host === headers.get("host")?.toLowerCase();
}

/** Decides which address a request came from. `X-Forwarded-For` counts only where a trusted proxy wrote it. */
export class ClientAddress {
  readonly #trusted: readonly Cidr[];

  /** @param trustedProxies CIDRs or addresses, already checked by the configuration. */
  constructor(trustedProxies: readonly string[]) {
    this.#trusted = trustedProxies.map(cidr);
  }

  /**
   * The nearest address that is not a trusted proxy, walking the forwarded list from its right end. An entry that is
   * no address ends the walk: whatever is left of it was not written by a proxy of ours.
   */
  of(peer: string, forwardedFor: string | null): string {
    let address = canonicalBytes(peer);
    if (address === undefined) return peer;
    const hops = (forwardedFor ?? "").split(",").map((hop) => hop.trim());
    while (this.#isTrusted(address)) {
      const next = hops.pop();
      if (next === undefined) break;
      if (next === "") continue;
      const bytes = canonicalBytes(next);
      if (bytes === undefined) break;
      address = bytes;
    }
    return formatIp(address);
  }

  #isTrusted(address: Uint8Array): boolean {
    return this.#trusted.some((network) => cidrHolds(network, address));
  }
}

/** An IPv4 address that a dual-stack socket shows as IPv6 is an IPv4 address; a zone names an interface of ours. */
function canonicalBytes(address: string): Uint8Array | undefined {
  const bytes = parseIp(address.split("%", 1)[0] ?? "");
  return bytes && unmapIp(bytes);
}
