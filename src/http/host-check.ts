/**
 * Which `Host` a request may name. A web page can point its own name at 127.0.0.1 (DNS rebinding), and its scripts then
 * talk to a server on this machine as if it were their own: only the name gives them away.
 */
import { Forbidden } from "../errors.ts";
import {
  type Cidr,
  cidr,
  cidrHolds,
  isIpLiteral,
  isLoopbackHost,
  parseAuthority,
  parseIp,
  unmapIp,
} from "../net/address.ts";

export interface HostCheckOptions {
  /** What the API listens on. */
  readonly boundHost: string;
  readonly baseUrl: string;
  /** CIDRs or addresses; what such a proxy passes on is not looked at. */
  readonly trustedProxies: readonly string[];
}

/**
 * Addresses cannot be rebound, and no stranger can own these names: those without a dot, as in a file of hosts; loopback
 * names (RFC 6761, section 6.3); and `.internal`, which no registry hands out, as in `host.docker.internal`.
 */
const ownNames = /^[^.]+$|\.(localhost|internal)$/;

export class HostCheck {
  readonly #isGuarded: boolean;
  readonly #baseHost: string;
  readonly #trusted: readonly Cidr[];

  /** Guards only a server that listens on the loopback interface: others are meant to be reached by names of all kinds. */
  constructor(options: HostCheckOptions) {
    this.#isGuarded = isLoopbackHost(options.boundHost);
    this.#baseHost = new URL(options.baseUrl).hostname.toLowerCase();
    this.#trusted = options.trustedProxies.map(cidr);
  }

  /**
   * @param header is the `Host`, or null for a client that sends none, which is no browser.
   * @throws {Forbidden} `foreign_host`.
   */
  require(header: string | null, peer: string): void {
    if (!this.#isGuarded || header === null || header === "") return;
    const host = hostOf(header);
    if (host !== undefined && (isIpLiteral(host) || ownNames.test(host) || host === this.#baseHost)) return;
    if (this.#isTrusted(peer)) return;
    throw new Forbidden("foreign_host", "This server does not answer under the name that the request gives it", {
      hint: "call it by 127.0.0.1, or start it with AGENT_VAULT_ADDR set to the address that people use",
    });
  }

  #isTrusted(peer: string): boolean {
    const bytes = parseIp(peer.split("%", 1)[0] ?? "");
    return bytes !== undefined && this.#trusted.some((network) => cidrHolds(network, unmapIp(bytes)));
  }
}

/** Undefined for what is no host at all. */
function hostOf(header: string): string | undefined {
  try {
    return parseAuthority(header, 80).host;
  } catch {
    return undefined; // whatever it is, it is not a name of ours
  }
}
