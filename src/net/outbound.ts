import type { Socket } from "node:net";
import type { SecureContext, TLSSocket } from "node:tls";
import { UpstreamFailed } from "../errors.ts";
import { type Authority, type Cidr, isIpLiteral } from "./address.ts";
import { dial } from "./dial.ts";
import { blocked, describeDial, failed } from "./dial-failure.ts";
import { resolveWithSystem } from "./dns.ts";
import { DnsCache } from "./dns-cache.ts";
import type { Egress, Route } from "./egress-proxy.ts";
import { openTunnel } from "./egress-tunnel.ts";
import { OpenSockets } from "./open-sockets.ts";
import type { NetworkPolicy } from "./policy.ts";
import { type SessionStore, secure } from "./tls-client.ts";
import type { TlsIdentity } from "./trust.ts";
import type { ContextFor, VaultNetwork } from "./vault-network.ts";

/**
 * Connections to upstreams: the name is resolved once, every answer is checked, and only a checked one is dialled, by
 * ourselves or through the egress proxy that the operator names.
 */

export type { SessionStore } from "./tls-client.ts";

export interface OutboundOptions {
  readonly policy: NetworkPolicy;
  /** The roots of the instance. */
  readonly trust: SecureContext;
  /** Contexts for vaults with roots of their own; without it their connections fail. */
  readonly contextFor?: ContextFor;
  /** What a vault makes of all this; without it every vault is as the instance. */
  readonly networkOf?: (vaultId: string) => VaultNetwork | undefined | Promise<VaultNetwork | undefined>;
  readonly egress?: Egress | undefined;
  /** Each phase has this long: resolving, connecting, a proxy's answer, TLS. */
  readonly dnsTimeoutMs?: number;
  readonly connectTimeoutMs?: number;
  readonly tlsTimeoutMs?: number;
  readonly dns?: DnsCache;
  /** All addresses of a name, where there is no `dns`; the system's resolver unless a test says otherwise. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

/** Where to, and for whom; without a vault the rules of the instance hold. */
export interface OutboundTarget extends Authority {
  readonly vaultId?: string;
}

/** How long each phase of a dial took; 0 for one that was not needed. */
export interface DialTimings {
  readonly dnsMs: number;
  /** With an egress proxy: until it had opened the tunnel. */
  readonly connectMs: number;
  readonly tlsMs: number;
  /** Of the other end; empty where an egress proxy chose it. */
  readonly address: string;
}

/** Why a connection is allowed. */
interface Facts {
  readonly target: Authority;
  readonly addresses: readonly string[];
  /** Of the vault alone; nothing for a connection without TLS. */
  readonly identity: TlsIdentity;
}

interface Opened {
  readonly socket: Socket;
  readonly addresses: readonly string[];
  readonly network: VaultNetwork | undefined;
  /** How often connections had been looked at again when its rules were read. */
  readonly recheck: number;
}

const timings = new WeakMap<Socket, DialTimings>();

/** What it took to open a socket of `Outbound`; undefined for any other socket. */
export function timingsOf(socket: Socket): DialTimings | undefined {
  return timings.get(socket);
}

export class Outbound {
  readonly #options: OutboundOptions;
  readonly #policy: NetworkPolicy;
  readonly #dns: DnsCache;
  readonly #dnsTimeoutMs: number;
  readonly #connectTimeoutMs: number;
  readonly #tlsTimeoutMs: number;
  readonly #open = new OpenSockets<Facts>();
  #rechecks = 0;

  constructor(options: OutboundOptions) {
    this.#options = options;
    this.#policy = options.policy;
    this.#dns = options.dns ?? cacheOver(options.resolve);
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 10_000;
    this.#dnsTimeoutMs = options.dnsTimeoutMs ?? this.#connectTimeoutMs;
    this.#tlsTimeoutMs = options.tlsTimeoutMs ?? 10_000;
  }

  /** The policy, for whoever listens and must not be dialled. */
  get policy(): NetworkPolicy {
    return this.#policy;
  }

  /**
   * @throws {UpstreamFailed} `dns_failed`, `blocked_by_network_policy`, `connect_refused`, `connect_timeout`,
   * `connect_failed`, `egress_proxy_failed`.
   */
  async connect(target: OutboundTarget): Promise<Socket> {
    const opened = await this.#openWay(target, "http");
    await this.#remember(target, opened.socket, opened, nobody);
    return opened.socket;
  }

  /**
   * As `connect`, with TLS, inside of which one of these protocols is spoken; also @throws {UpstreamFailed} `tls_verification_failed`,
   * `tls_failed`, `tls_timeout`.
   */
  async connectTls(
    target: OutboundTarget,
    sessions: SessionStore,
    protocols: readonly string[] = onlyHttp1,
  ): Promise<TLSSocket> {
    const opened = await this.#openWay(target, "https");
    const { socket, network } = opened;
    const identity = identityFor(target, network);
    const context = this.#contextOf(identity);
    const startedAt = performance.now();
    const { vaultId } = target;
    const timeoutMs = this.#tlsTimeoutMs;
    const tls = await secure(socket, { target, vaultId, context, sessions, timeoutMs, protocols });
    const before = timings.get(socket);
    if (before) timings.set(tls, { ...before, tlsMs: performance.now() - startedAt });
    await this.#remember(target, tls, opened, identity);
    return tls;
  }

  /**
   * Looks again at the open connections of a vault, idle and busy, and cuts those that it could not open now. Where the
   * vault's settings cannot be read, only what needs none of them stays.
   */
  async recheck(vaultId: string): Promise<void> {
    this.#rechecks += 1;
    if (!this.#open.has(vaultId)) return;
    const network = await this.#settledNetworkOf(vaultId);
    this.#open.closeUnless(
      vaultId,
      ({ target, addresses, identity }) =>
        isStillTrue(identity, identityFor(target, network)) &&
        addresses.every((address) => !this.#policy.denies(address, target.port, network?.networks)),
    );
  }

  /** As `recheck`, for every vault. */
  async recheckAll(): Promise<void> {
    this.#rechecks += 1;
    await Promise.all(this.#open.vaultIds.map((vaultId) => this.recheck(vaultId)));
  }

  async #settledNetworkOf(vaultId: string): Promise<VaultNetwork | undefined> {
    try {
      return await this.#options.networkOf?.(vaultId);
    } catch {
      return { networks: [], roots: undefined };
    }
  }

  /** @throws {UpstreamFailed} when the rules changed on the way, and do not allow it any more. */
  async #remember(target: OutboundTarget, socket: Socket, opened: Opened, identity: TlsIdentity): Promise<void> {
    const { vaultId } = target;
    if (vaultId === undefined || !this.#options.networkOf) return;
    this.#open.add(socket, { vaultId, facts: { target, addresses: opened.addresses, identity } });
    if (this.#rechecks === opened.recheck) return;
    await this.recheck(vaultId);
    if (socket.destroyed) throw blocked(target, "settings_changed");
  }

  #contextOf(identity: TlsIdentity): SecureContext {
    if (identity.roots === undefined && identity.client === undefined) return this.#options.trust;
    const { contextFor } = this.#options;
    if (!contextFor) throw new Error("no way to build a context for a vault");
    return contextFor(identity);
  }

  /** A socket over which bytes reach the target and nobody else. */
  async #openWay(target: OutboundTarget, scheme: "https" | "http"): Promise<Opened> {
    const recheck = this.#rechecks;
    const asked = target.vaultId === undefined ? undefined : this.#options.networkOf?.(target.vaultId);
    const network = asked instanceof Promise ? await asked : asked;
    const denial = this.#policy.deniesPort(target.port);
    if (denial) throw blocked(target, denial);
    const route = this.#options.egress?.routeFor(scheme, target);
    const startedAt = performance.now();
    const addresses = await this.#checkedAddresses(target, network?.networks, route);
    const resolvedAt = performance.now();
    const socket = await (route
      ? this.#openTunnel(route, target, addresses)
      : this.#dial(target, addresses, network?.networks));
    const address = route ? "" : (socket.remoteAddress ?? "");
    const connectMs = performance.now() - resolvedAt;
    timings.set(socket, { dnsMs: resolvedAt - startedAt, connectMs, tlsMs: 0, address });
    // Through a tunnel we do not see where it ends: all that was checked counts. A direct socket has one end.
    return { socket, addresses: route ? addresses : [address], network, recheck };
  }

  /** One bad answer refuses the name: it is either under attack or misconfigured. */
  async #checkedAddresses(
    target: Authority,
    networks: readonly Cidr[] | undefined,
    route: Route | undefined,
  ): Promise<readonly string[]> {
    if (!isIpLiteral(target.host) && route?.resolvesNames) {
      const denial = this.#policy.deniesName(target.host, target.port);
      if (denial) throw blocked(target, denial);
      return [];
    }
    const addresses = await this.#lookup(target.host, route ? proxyResolvesHint : undefined);
    for (const address of addresses) this.#check(address, target, networks);
    return addresses;
  }

  #check(address: string, target: Authority, networks: readonly Cidr[] | undefined): void {
    const denial = this.#policy.denies(address, target.port, networks);
    if (denial) throw blocked(target, denial);
  }

  async #lookup(host: string, hint?: string): Promise<readonly string[]> {
    if (isIpLiteral(host)) return [host];
    const known = this.#dns.lookup(host);
    const addresses = known instanceof Promise ? await this.#inTime(host, known, hint) : known;
    if (addresses.length === 0) throw failed("dns_failed", `${host} has no address`, hint ? { hint } : {});
    return addresses;
  }

  async #inTime(host: string, asking: Promise<readonly string[]>, hint?: string): Promise<readonly string[]> {
    const help = hint ? { hint } : {};
    const late = Promise.withResolvers<never>();
    const timeout = setTimeout(() => {
      // Whoever comes now must not inherit a query that nobody answers.
      this.#dns.forget(host);
      late.reject(failed("dns_failed", `${host} was not resolved in time`, { status: 504, ...help }));
    }, this.#dnsTimeoutMs);
    try {
      return await Promise.race([asking, late.promise]);
    } catch (cause) {
      if (cause instanceof UpstreamFailed) throw cause;
      throw failed("dns_failed", `${host} could not be resolved`, { cause, ...help });
    } finally {
      clearTimeout(timeout);
    }
  }

  async #dial(target: Authority, addresses: readonly string[], networks: readonly Cidr[] | undefined): Promise<Socket> {
    try {
      return await dial(addresses, {
        port: target.port,
        timeoutMs: this.#connectTimeoutMs,
        accept: (remoteAddress) => this.#check(remoteAddress, target, networks),
      });
    } catch (error) {
      // It may have moved: the next one asks again.
      this.#dns.forget(target.host);
      throw describeDial(target, error);
    }
  }

  #openTunnel(route: Route, target: Authority, addresses: readonly string[]): Promise<Socket> {
    return openTunnel({
      route,
      target,
      addresses,
      policy: this.#policy,
      trust: this.#options.trust,
      lookup: (host) => this.#lookup(host),
      connectTimeoutMs: this.#connectTimeoutMs,
      tlsTimeoutMs: this.#tlsTimeoutMs,
    });
  }
}

/** Behind a corporate proxy, names outside are often not resolved inside. */
const proxyResolvesHint =
  "If only the egress proxy can resolve names, an operator says so with AGENT_VAULT_UPSTREAM_PROXY_RESOLVES";

const onlyHttp1 = ["http/1.1"];

const nobody: TlsIdentity = { roots: undefined };

function identityFor(target: Authority, network: VaultNetwork | undefined): TlsIdentity {
  return { roots: network?.roots, client: network?.clientFor?.(target) };
}

/** Whatever a connection was opened with is still there. One that needed neither lost nothing. */
function isStillTrue({ roots, client }: TlsIdentity, now: TlsIdentity): boolean {
  if (roots !== undefined && roots !== now.roots) return false;
  return client === undefined || (client.certificate === now.client?.certificate && client.key === now.client.key);
}

function cacheOver(resolve: OutboundOptions["resolve"]): DnsCache {
  if (!resolve) return new DnsCache({ resolve: resolveWithSystem });
  return new DnsCache({ resolve: async (host) => ({ addresses: await resolve(host), ttlMs: undefined }) });
}
