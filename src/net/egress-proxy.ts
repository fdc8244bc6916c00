import { inspect } from "node:util";
import { type Authority, formatAuthority, isLoopback, parseHost, parseIp, parsePort } from "./address.ts";
import type { NoProxy } from "./no-proxy.ts";

/** The proxy that upstreams are reached through, where there is one, and which targets go through it. */

export type EgressScheme = "http" | "https" | "socks5" | "socks5h";

const defaultPorts: Readonly<Record<EgressScheme, number>> = { http: 80, https: 443, socks5: 1080, socks5h: 1080 };

/** One proxy. Its password is shown by nothing: not by a log, an error, a configuration that is printed. */
export class EgressProxy implements Authority {
  readonly scheme: EgressScheme;
  readonly host: string;
  readonly port: number;
  readonly #username: string;
  readonly #password: string;

  private constructor(scheme: EgressScheme, authority: Authority, username: string, password: string) {
    this.scheme = scheme;
    this.host = authority.host;
    this.port = authority.port;
    this.#username = username;
    this.#password = password;
  }

  /**
   * Reads `scheme://user:password@host:port`; without a scheme it is `http`. User and password are percent-encoded.
   * Undefined when it is no proxy that can be used.
   */
  static parse(text: string): EgressProxy | undefined {
    const parts = /^(?:([a-z0-9]+):\/\/)?(?:([^@/]*)@)?([^@/]+)\/?$/i.exec(text.trim());
    const scheme = (parts?.[1] ?? "http").toLowerCase();
    if (!parts || !isScheme(scheme)) return undefined;
    try {
      const authority = parseProxyAuthority(parts[3] ?? "", defaultPorts[scheme]);
      const [username = "", ...password] = (parts[2] ?? "").split(":");
      const proxy = new EgressProxy(
        scheme,
        authority,
        decodeURIComponent(username),
        decodeURIComponent(password.join(":")),
      );
      return proxy.#isUsable() ? proxy : undefined;
    } catch {
      return undefined;
    }
  }

  get isSocks(): boolean {
    return this.scheme === "socks5" || this.scheme === "socks5h";
  }

  /** User and password for SOCKS (RFC 1929); undefined when there are none. */
  get login(): { readonly username: string; readonly password: string } | undefined {
    return this.#username === "" ? undefined : { username: this.#username, password: this.#password };
  }

  /** The value of `Proxy-Authorization`; undefined when there are no credentials. */
  get authorization(): string | undefined {
    if (this.#username === "") return undefined;
    return `Basic ${Buffer.from(`${this.#username}:${this.#password}`).toString("base64")}`;
  }

  /** Does it lead to one of these ports of this machine? What stands behind a name is seen when it is dialled. */
  leadsTo(ownHost: string, ownPorts: readonly number[]): boolean {
    if (!ownPorts.includes(this.port)) return false;
    const ip = parseIp(this.host);
    return this.host === "localhost" || this.host === ownHost || (ip !== undefined && isLoopback(ip));
  }

  /** RFC 1929 has one byte for the length of each. */
  #isUsable(): boolean {
    if (!this.isSocks) return !this.#username.includes(":");
    return Buffer.byteLength(this.#username) < 256 && Buffer.byteLength(this.#password) < 256;
  }

  toString(): string {
    return `${this.scheme} proxy`;
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

function isScheme(text: string): text is EgressScheme {
  return Object.hasOwn(defaultPorts, text);
}

function parseProxyAuthority(text: string, defaultPort: number): Authority {
  const [, host = "", port] = /^(\[[^\]]*\]|[^:]*)(?::([0-9]+))?$/.exec(text) ?? [];
  return { host: parseHost(host), port: port === undefined ? defaultPort : parsePort(port) };
}

export interface EgressOptions {
  /** For targets of https, and of http; undefined: directly. */
  readonly https: EgressProxy | undefined;
  readonly http: EgressProxy | undefined;
  readonly except: NoProxy;
  /** The operator says that only the proxy can resolve names: they are not looked up here, and so not checked. */
  readonly resolvesNames: boolean;
}

/** What one target is to go through. */
export interface Route {
  readonly proxy: EgressProxy;
  readonly resolvesNames: boolean;
}

/** Which targets go through which proxy. */
export class Egress {
  readonly #options: EgressOptions;

  constructor(options: EgressOptions) {
    this.#options = options;
  }

  /** The proxies, for the operator's log: where they are, never how to log in. */
  describe(): { readonly https: string; readonly http: string } {
    const show = (proxy: EgressProxy | undefined) => (proxy ? `${proxy.scheme}://${formatAuthority(proxy)}` : "direct");
    return { https: show(this.#options.https), http: show(this.#options.http) };
  }

  routeFor(scheme: "https" | "http", { host, port }: Authority): Route | undefined {
    const proxy = this.#options[scheme];
    if (!proxy || this.#options.except.covers(host, port)) return undefined;
    return { proxy, resolvesNames: this.#options.resolvesNames || proxy.scheme === "socks5h" };
  }
}
