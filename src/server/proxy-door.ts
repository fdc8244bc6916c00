/** The proxy with all that it stands on: the root certificate, limits, what the configuration says about its connections. */
import type { ServerConfig } from "../config.ts";
import type { Keyring } from "../crypto/keyring.ts";
import { Authority } from "../domain/authority.ts";
import type { Clock } from "../domain/clock.ts";
import type { Domain } from "../domain/domain.ts";
import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import { limitKeyOf } from "../net/address.ts";
import type { Outbound } from "../net/outbound.ts";
import type { AuthFailures } from "../proxy/authenticate.ts";
import type { ConnectionLimits } from "../proxy/connection-caps.ts";
import { type ProxyListener, startProxy } from "../proxy/listener.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { openFileLimit } from "../runtime/process.ts";
import type { SecureContext } from "../runtime/tls.ts";
import { TlsFiles } from "../runtime/tls-files.ts";
import type { Changes } from "../storage/changes.ts";
import type { Database } from "../storage/database.ts";
import type { Tracing } from "../telemetry/telemetry.ts";
import { observeAuthority } from "./metrics.ts";

export interface ProxyDoorOptions {
  readonly config: ServerConfig;
  readonly database: Database;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly log: Logger;
  readonly domain: Domain;
  readonly changes: Changes;
  readonly outbound: Outbound;
  readonly metrics: Metrics;
  /** Undefined where no traces are told. */
  readonly tracing: Tracing | undefined;
  /** The certificate of the port, where it comes from files. */
  readonly hopFiles: TlsFiles | undefined;
}

export interface ProxyDoor {
  readonly proxy: ProxyListener;
  /** What agents must trust, at this moment. */
  readonly rootsPem: () => string;
}

/** @throws what `startProxy` and `Authority.open` throw. */
export async function startProxyDoor(options: ProxyDoorOptions): Promise<ProxyDoor> {
  const { config, database, keyring, clock, log, domain, changes, outbound, metrics } = options;
  const ownHost = hostOf(config.baseUrl);
  const authority = await Authority.open(database, keyring, clock, { ownHost });
  observeAuthority(metrics, authority);
  warnOfExpiry(authority, clock, log);
  const proxy = await startProxy({
    host: config.host,
    port: config.proxyPort === 0 ? undefined : config.proxyPort,
    tls:
      config.agentHop.tls?.kind === "own"
        ? await OwnCertificate.open(authority, { name: ownHost, log })
        : options.hopFiles,
    socket: config.agentHop.socket,
    scopes: domain.scopes,
    snapshots: domain.snapshots,
    budgets: domain.limits.proxy,
    onChange: (listener) => changes.watch(listener),
    connections: connectionLimits(config, log),
    authority,
    journal: domain.journal,
    tracing: options.tracing,
    outbound,
    metrics,
    log,
    clock,
    baseUrl: config.baseUrl,
    maxRequestBytes: config.maxRequestBytes,
    maxResponseBytes: config.maxResponseBytes,
    minBodyRate: config.connections.minBodyRate,
    authFailures: authFailuresOf(domain),
  });
  const unfollow = authority.follow(changes, log);
  // What changed between reading the roots and following them.
  await authority.refresh();
  const close: ProxyListener["close"] = async (how) => {
    await proxy.close(how);
    unfollow();
  };
  return { proxy: { port: proxy.port, close }, rootsPem: () => authority.bundlePem };
}

/** A start is a moment at which somebody reads the log. */
function warnOfExpiry({ expiresAtMs }: Authority, clock: Clock, log: Logger): void {
  const days = Math.floor((expiresAtMs - clock.now()) / (24 * 3600_000));
  if (days < 90) log.warn("the root certificate ends soon", { days, try: "agent-vault ca rotate" });
}

/** A URL writes IPv6 in brackets, a certificate does not. */
function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[|\]$/g, "");
}

/**
 * A certificate that cannot be used stops the start: the proxy must not come up without the TLS that was asked for.
 * @throws {InvalidInput} `bad_tls_files`
 */
export function openHopFiles(
  { agentHop: { tls }, proxyPort }: ServerConfig,
  log: Logger,
): Promise<TlsFiles> | undefined {
  return tls?.kind !== "files" || proxyPort === 0 ? undefined : TlsFiles.open({ ...tls, log });
}

/** Certificates of our own root for the name of the base URL, renewed like those of tunnels. */
class OwnCertificate {
  readonly #authority: Authority;
  readonly #name: string;
  readonly #log: Logger;
  #context: SecureContext;

  private constructor(authority: Authority, context: SecureContext, { name, log }: { name: string; log: Logger }) {
    this.#authority = authority;
    this.#context = context;
    this.#name = name;
    this.#log = log;
  }

  static async open(authority: Authority, options: { name: string; log: Logger }): Promise<OwnCertificate> {
    return new OwnCertificate(authority, await authority.leafFor(options.name), options);
  }

  /** While a new one is made, the one before is good for some minutes more. */
  get context(): SecureContext {
    const leaf = this.#authority.leafFor(this.#name);
    if (leaf instanceof Promise) leaf.then((made) => this.#use(made), this.#warn);
    else this.#use(leaf);
    return this.#context;
  }

  #use(context: SecureContext): void {
    this.#context = context;
  }

  readonly #warn = (error: unknown): void =>
    this.#log.error("the proxy's own certificate was not renewed", { reason: messageOf(error) });
}

/** Descriptors for the database, the API, logs, and whatever a library opens for a moment. */
const reservedDescriptors = 128;

/** Each connection may need a second descriptor, for its upstream: more of them than that would only fail later. */
function connectionLimits({ connections }: ServerConfig, log: Logger): ConnectionLimits {
  const descriptors = openFileLimit();
  if (descriptors === undefined) return connections;
  const max = Math.max(16, Math.floor((descriptors - reservedDescriptors) / 2));
  if (connections.max > 0 && connections.max <= max) return connections;
  log.info("the limit on open files limits the proxy's connections", { descriptors, maxConnections: max });
  return { ...connections, max };
}

/** Wrong tokens at the proxy, with the settings of the window for wrong passwords at the API (spec of the proxy, section 9.1). */
function authFailuresOf({ limits }: Domain): AuthFailures {
  return {
    check: async (ip) => {
      const verdict = await limits.peekAuth(`mitm:${limitKeyOf(ip)}`);
      return verdict.isAllowed ? undefined : verdict.retryAfterSeconds;
    },
    record: async (ip) => void (await limits.recordAuth(`mitm:${limitKeyOf(ip)}`)),
  };
}
