import type { Socket } from "node:net";
import { uuidv7 } from "../crypto/token.ts";
import type { ScopeLease, ScopeResolver } from "../domain/actors/scope.ts";
import type { Authority } from "../domain/authority.ts";
import type { Clock } from "../domain/clock.ts";
import type { JournalSink } from "../domain/journal-entry.ts";
import type { ProxyBudgets } from "../domain/limits/proxy-budget.ts";
import type { SnapshotSource } from "../domain/vaults/snapshot.ts";
import type { Logger } from "../log.ts";
import { type Authority as Address, parseAuthority } from "../net/address.ts";
import type { Outbound } from "../net/outbound.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { SecureContext } from "../runtime/tls.ts";
import { Admissions } from "./admission.ts";
import { AgentConnection, type RequestHandler, type RequestServer } from "./agent-connection.ts";
import { Authenticator, type AuthFailures } from "./authenticate.ts";
import { ConnectionCaps, type ConnectionLimits } from "./connection-caps.ts";
import type { ProxyContext } from "./context.ts";
import { Deadlines, defaultTimeouts, type ProxyTimeouts } from "./deadlines.ts";
import { Exchange } from "./exchange.ts";
import { Field } from "./http1/field-names.ts";
import { type Framing, keepsAlive } from "./http1/framing.ts";
import type { RequestHead } from "./http1/head.ts";
import { hostOf } from "./http1/host.ts";
import { serializeResponseHead } from "./http1/serialize.ts";
import { type Listening, openListeners } from "./listening.ts";
import { ProxyMetrics } from "./metrics.ts";
import { OpenConnections } from "./open-connections.ts";
import { Outboxes } from "./outboxes.ts";
import { Paces } from "./pace.ts";
import { socketPeer } from "./peer.ts";
import { PendingConnect } from "./pending-connect.ts";
import { Pool } from "./pool.ts";
import { RawTunnel, type RawTunnelOptions } from "./raw-tunnel.ts";
import { RefusedRequest, renderRefusal } from "./refusal.ts";
import { Route } from "./route.ts";
import { SecureHop } from "./secure-hop.ts";
import { Tunnel } from "./tunnel.ts";

export interface ProxyOptions {
  readonly host: string;
  /** 0 lets the system choose; undefined: there is only the socket. */
  readonly port: number | undefined;
  /** Ends TLS on the port; asked for each connection, because certificates are renewed. */
  readonly tls?: { readonly context: SecureContext } | undefined;
  /** A Unix socket, besides the port or instead of it. Plain: whoever may open it is on this machine. */
  readonly socket?: { readonly path: string; readonly mode: number } | undefined;
  readonly scopes: ScopeResolver;
  readonly snapshots: SnapshotSource;
  readonly budgets: ProxyBudgets;
  /** Calls its listener after every change that scopes and snapshots have heard of; returns what ends it. */
  readonly onChange: (listener: () => void) => () => void;
  readonly connections: ConnectionLimits;
  readonly authority: Pick<Authority, "leafFor">;
  readonly journal: JournalSink;
  readonly outbound: Outbound;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  /** Where the API is, when that is known: for the `help` of refusals. */
  readonly baseUrl?: string | undefined;
  readonly maxRequestBytes: number;
  /** 0 is unlimited. */
  readonly maxResponseBytes: number;
  readonly timeouts?: Partial<ProxyTimeouts>;
  /** How slowly bodies may move at least, in bytes per second; 0 is without a limit. */
  readonly minBodyRate: number;
  readonly authFailures?: AuthFailures | undefined;
}

export interface ProxyListener {
  /** 0 where there is only the socket. */
  readonly port: number;
  /** Stops accepting, lets requests end for `graceMs`, then cuts what is left. */
  close(options: { readonly graceMs: number }): Promise<void>;
}

/** @throws what `openListeners` throws. */
export async function startProxy(options: ProxyOptions): Promise<ProxyListener> {
  const timeouts = Object.freeze({ ...defaultTimeouts, ...options.timeouts });
  const deadlines = new Deadlines(timeouts);
  const outboxes = new Outboxes();
  const open = new OpenConnections({ ...options, now: () => options.clock.now() });
  const context: ProxyContext = {
    authenticator: new Authenticator(options),
    admissions: new Admissions(options.budgets),
    open,
    caps: new ConnectionCaps(options.connections),
    metrics: new ProxyMetrics(options.metrics),
    snapshots: options.snapshots,
    outbound: options.outbound,
    pool: new Pool(options.outbound, deadlines, timeouts, outboxes),
    journal: options.journal,
    log: options.log,
    clock: options.clock,
    deadlines,
    timeouts,
    paces: new Paces(options.minBodyRate, timeouts),
    outboxes,
    baseUrl: options.baseUrl,
    maxRequestBytes: options.maxRequestBytes,
    maxResponseBytes: options.maxResponseBytes,
  };
  const door = new Door(context, options.authority);
  let listening: Listening;
  try {
    listening = await openListeners(options, {
      onPort: (socket) => door.accept(socket, socket.remoteAddress, options.tls?.context),
      onSocket: (socket) => door.accept(socket, socketPeer),
    });
  } catch (error) {
    deadlines.stop();
    open.stop();
    throw error;
  }
  const { port } = listening;
  observe(options.metrics, context);
  const unwatch = options.onChange(() => open.lookSoon());
  const expose = port === 0 ? undefined : options.outbound.policy.protect({ host: options.host, port });
  return {
    port,
    close: async ({ graceMs }) => {
      await listening.stop();
      await door.close(graceMs);
      context.pool.close();
      deadlines.stop();
      unwatch();
      open.stop();
      expose?.();
    },
  };
}

/** What the parts of the proxy count for themselves. */
function observe(metrics: Metrics, { caps, open, pool }: ProxyContext): void {
  metrics.add("gauge", "agent_vault_proxy_connections", "Connections of agents.", () => caps.total);
  metrics.add(
    "counter",
    "agent_vault_proxy_connection_denials_total",
    "Too many of an address, a token, or in all.",
    () => caps.denials,
  );
  metrics.add("gauge", "agent_vault_proxy_open", "Tunnels, and what is under way in them.", () =>
    [...open.count()].map(([kind, value]) => ({ labels: { kind }, value })),
  );
  metrics.add(
    "counter",
    "agent_vault_proxy_upstream_reuses_total",
    "Connections to upstreams used again.",
    () => pool.hits,
  );
  metrics.add("counter", "agent_vault_proxy_upstream_dials_total", "Connections to upstreams begun.", () => pool.dials);
  metrics.add("gauge", "agent_vault_proxy_upstream_idle", "Connections to upstreams kept for later.", () => pool.idle);
}

/** Connections that are told why they cannot stay, at most at a time and at longest. */
const maxTurnedAway = 64;
const turnAwayMs = 1_000;

/** The listening side: every connection starts here, and CONNECTs leave it for a tunnel. */
class Door {
  readonly #context: ProxyContext;
  readonly #authority: Pick<Authority, "leafFor">;
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<AgentConnection>();
  readonly #turnedAway = new Set<Socket>();
  #isClosing = false;

  constructor(context: ProxyContext, authority: Pick<Authority, "leafFor">) {
    this.#context = context;
    this.#authority = authority;
  }

  /** @param tls what the connection is wrapped in before anything is read. */
  accept(socket: Socket, clientIp: string | undefined, tls?: SecureContext): void {
    // A peer that is gone already has no address, and nobody to answer to.
    if (clientIp === undefined || this.#isClosing) {
      socket.destroy();
      return;
    }
    const { caps } = this.#context;
    try {
      caps.enter(clientIp);
    } catch (error) {
      // Without a handshake there is no way to tell them why.
      if (tls) socket.destroy();
      else this.#turnAway(socket, error);
      return;
    }
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      caps.leave(clientIp);
    });
    if (tls === undefined) this.#serve(socket, clientIp);
    else SecureHop.open({ socket, tls, context: this.#context, onSecure: (inside) => this.#serve(inside, clientIp) });
  }

  #serve(socket: Socket, clientIp: string): void {
    const { deadlines, timeouts, outboxes } = this.#context;
    this.track(
      new AgentConnection({
        socket,
        clientIp,
        server: new PlainServer(this.#context, this.#authority, this),
        deadlines,
        timeouts,
        outboxes,
      }),
    );
  }

  track(connection: AgentConnection): void {
    this.#connections.add(connection);
    connection.socket.once("close", () => this.#connections.delete(connection));
    if (this.#isClosing) connection.drain();
  }

  /** Says why, in plain and before anything is read; the socket gets a moment so that the answer is not reset away. */
  #turnAway(socket: Socket, error: unknown): void {
    socket.on("error", () => socket.destroy());
    // Of those that a flood brings, most are not worth a descriptor for that moment.
    if (this.#turnedAway.size >= maxTurnedAway) {
      socket.destroy();
      return;
    }
    this.#turnedAway.add(socket);
    const timer = setTimeout(() => socket.destroy(), turnAwayMs);
    timer.unref();
    socket.once("close", () => {
      clearTimeout(timer);
      this.#turnedAway.delete(socket);
    });
    const { baseUrl, clock } = this.#context;
    const requestId = uuidv7(clock.now());
    socket.resume();
    socket.end(renderRefusal(error, { requestId, baseUrl, isHead: false, closes: true }).text, "latin1");
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    for (const connection of this.#connections) connection.drain();
    const end = performance.now() + graceMs;
    while (this.#sockets.size > 0 && performance.now() < end) {
      this.#context.open.leave();
      await new Promise((resolve) => setTimeout(resolve, Math.min(50, graceMs)));
    }
    this.#context.open.cut();
    for (const connection of this.#connections) connection.destroy();
    for (const socket of [...this.#sockets, ...this.#turnedAway]) socket.destroy();
  }
}

/** Requests that arrive in plain: CONNECT, and absolute-form to http upstreams. One per connection. */
class PlainServer implements RequestServer {
  readonly #context: ProxyContext;
  readonly #authority: Pick<Authority, "leafFor">;
  readonly #door: Door;
  /** The last credentials of this connection, so that a kept-alive one does not look them up for every request. */
  #known: { readonly credentials: string; readonly lease: ScopeLease } | undefined;

  constructor(context: ProxyContext, authority: Pick<Authority, "leafFor">, door: Door) {
    this.#context = context;
    this.#authority = authority;
    this.#door = door;
  }

  serve(head: RequestHead, framing: Framing, connection: AgentConnection): RequestHandler | undefined {
    try {
      if (head.method === "CONNECT") return this.#connect(head, connection);
      if (isProbe(head)) return this.#answerProbe(head, connection);
      return this.#forward(head, framing, connection);
    } catch (error) {
      this.refuse(error, connection);
      return undefined;
    }
  }

  refuse(error: unknown, connection: AgentConnection): void {
    this.#answer(error, connection, { closes: true, isHead: false });
  }

  crashed(error: unknown): void {
    this.#context.log.error("proxy_failure", { error });
  }

  #connect(head: RequestHead, connection: AgentConnection): RequestHandler {
    const target = parseAuthority(head.target);
    const pending = new PendingConnect();
    this.#openTunnel(target, head, connection, pending).catch((error: unknown) => {
      if (!pending.isGone) this.#answer(error, connection, { closes: false, isHead: false });
    });
    return pending;
  }

  async #openTunnel(
    authority: Address,
    head: RequestHead,
    connection: AgentConnection,
    pending: PendingConnect,
  ): Promise<void> {
    const context = this.#context;
    const credentials = head.fields.valueOf(Field.proxyAuthorization);
    const lease = await context.authenticator.authenticate(credentials, connection.clientIp);
    const { vaultId, sessionId } = lease.scope;
    const snapshot = context.snapshots.current(vaultId) ?? (await context.snapshots.load(vaultId));
    const service = snapshot.rawServiceFor(authority.host, authority.port);
    if (service !== undefined) {
      await this.#openRawTunnel(
        { authority, service, lease, clientIp: connection.clientIp, context },
        connection,
        pending,
      );
      return;
    }
    const leaf = await this.#authority.leafFor(authority.host);
    if (pending.isGone) return;
    const { socket, clientIp } = connection;
    context.caps.openTunnel(sessionId);
    socket.once("close", () => context.caps.closeTunnel(sessionId));
    const early = connection.takeOver();
    const onOpen = (inside: AgentConnection) => this.#door.track(inside);
    Tunnel.open({ socket, clientIp, early, leaf, authority, lease, context, onOpen });
  }

  async #openRawTunnel(options: RawTunnelOptions, connection: AgentConnection, pending: PendingConnect): Promise<void> {
    const { caps } = this.#context;
    const { sessionId } = options.lease.scope;
    caps.openTunnel(sessionId);
    connection.socket.once("close", () => caps.closeTunnel(sessionId));
    const tunnel = await RawTunnel.dial(options);
    if (pending.isGone) tunnel.abandon();
    else {
      const early = connection.takeOver();
      tunnel.begin(connection.socket, early);
    }
  }

  /** Says that the proxy takes connections, for load balancers; it knows nothing of the vault, and asks nobody. */
  #answerProbe(head: RequestHead, connection: AgentConnection): undefined {
    const closes = !keepsAlive(head);
    const body = head.method === "HEAD" ? "" : probeBody;
    const headers = ["Content-Type", "application/json", "Content-Length", String(probeBody.length)];
    headers.push("Cache-Control", "no-store", ...(closes ? ["Connection", "close"] : []));
    connection.out.text(serializeResponseHead(200, "OK", headers) + body);
    connection.done(closes);
  }

  #forward(head: RequestHead, framing: Framing, connection: AgentConnection): RequestHandler | undefined {
    const match = /^http:\/\/([^/?]*)(.*)$/is.exec(head.target);
    if (!match) throw notProxyForm(head.target);
    hostOf(head); // its value is ignored (RFC 9112, section 3.2.2), its form is not
    const { host, port } = parseAuthority(match[1] ?? "", 80);
    const path = match[2] ?? "";
    const credentials = head.fields.valueOf(Field.proxyAuthorization) ?? "";
    return Exchange.start(this.#context, connection, {
      head,
      framing,
      route: new Route("http", host, port),
      target: path.startsWith("/") ? path : `/${path}`,
      lease: this.#known?.credentials === credentials ? this.#known.lease : undefined,
      onLease: (lease) => {
        this.#known = { credentials, lease };
      },
    });
  }

  #answer(error: unknown, connection: AgentConnection, how: { closes: boolean; isHead: boolean }): void {
    const requestId = uuidv7(this.#context.clock.now());
    const { baseUrl, log } = this.#context;
    const closes = how.closes || connection.isDraining;
    const refusal = renderRefusal(error, { requestId, baseUrl, ...how, closes });
    this.#context.metrics.refused(refusal.code);
    if (refusal.status === 500) log.error("proxy_failure", { requestId, error });
    else if (log.enabled("debug"))
      log.debug("proxy_refusal", { requestId, status: refusal.status, code: refusal.code });
    connection.out.text(refusal.text);
    connection.done(closes);
  }
}

const probeBody = '{"status":"ok"}\n';

function isProbe({ method, target }: RequestHead): boolean {
  return target === "/health" && (method === "GET" || method === "HEAD");
}

function notProxyForm(target: string): RefusedRequest {
  return new RefusedRequest(
    400,
    "not_a_proxy_request",
    /^https:/i.test(target)
      ? "An https:// target must be reached with CONNECT, so that its TLS stays whole up to the proxy"
      : "This is a proxy: it serves CONNECT host:port and absolute http:// targets",
    "Set HTTPS_PROXY and HTTP_PROXY to this address, or use the API on its own port",
  );
}
