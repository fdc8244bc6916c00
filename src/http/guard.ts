/** What surrounds every API request: security headers, the judgement of its origin, and who is asking over the network. */
import { BlockList, isIP } from "node:net";
import { Forbidden } from "../errors.ts";

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
  readonly baseUrl: string;
}

/**
 * Refuses what another site made a browser send. `SameSite=Strict` stops other sites, but neither sibling subdomains
 * nor other ports of the same host. Clients that send neither `Sec-Fetch-Site` nor `Origin` are not browsers.
 * @throws {Forbidden} `cross_origin`.
 */
export function checkOrigin(check: OriginCheck): void {
  if (safeMethods.has(check.method) || !(check.usesCookie || check.always)) return;
  const { headers } = check;
  const site = headers.get("sec-fetch-site");
  const origin = headers.get("origin");
  const isForeign =
    site !== null ? site !== "same-origin" && site !== "none" : origin !== null && !isOwnOrigin(origin, check);
  if (isForeign) throw new Forbidden("cross_origin", "Requests from another origin may not change anything here");
  if (check.usesCookie && formTypes.test(headers.get("content-type") ?? "")) {
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
  readonly #trusted = new BlockList();

  /** @param trustedProxies CIDRs or addresses; already parsed by the configuration. */
  constructor(trustedProxies: readonly string[]) {
    for (const network of trustedProxies) {
      const [address = "", prefix] = network.split("/", 2);
      const family = isIP(address) === 6 ? "ipv6" : "ipv4";
      if (prefix === undefined) this.#trusted.addAddress(address, family);
      else this.#trusted.addSubnet(address, Number(prefix), family);
    }
  }

  /**
   * The nearest address that is not a trusted proxy, walking the forwarded list from its right end. An entry that is
   * no address ends the walk: whatever is left of it was not written by a proxy of ours.
   */
  of(peer: string, forwardedFor: string | null): string {
    let address = canonical(peer);
    const hops = (forwardedFor ?? "").split(",").map((hop) => hop.trim());
    while (this.#isTrusted(address)) {
      const next = hops.pop();
      if (next === undefined) break;
      if (next === "") continue;
      if (isIP(next) === 0) break;
      address = canonical(next);
    }
    return address;
  }

  #isTrusted(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#trusted.check(address, family === 6 ? "ipv6" : "ipv4");
  }
}

/** One person owns a whole /64, so limits count it as one client. */
export function limitKeyOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = "", tail] = address.split("::", 2);
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill("0");
  const groups = [...left, ...zeros, ...right].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${groups.join(":")}::/64`;
}

/** An IPv4 address that a dual-stack socket shows as IPv6 is an IPv4 address. */
function canonical(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped?.[1] ?? address;
}
