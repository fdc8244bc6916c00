import type { Socket } from "node:net";
import { uuidv7 } from "../crypto/token.ts";
import type { ScopeResolver } from "../domain/actors/scope.ts";
import type { Authority } from "../domain/authority.ts";
import type { Clock } from "../domain/clock.ts";
import type { JournalSink } from "../domain/journal-entry.ts";
import type { ProxyBudgets } from "../domain/limits/proxy-budget.ts";
import type { SnapshotSource } from "../domain/vaults/snapshot.ts";
import type { Logger } from "../log.ts";
import type { Outbound } from "../net/outbound.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { SecureContext } from "../runtime/tls.ts";
import type { Tracing } from "../telemetry/telemetry.ts";
import { Admissions } from "./admission.ts";
import { AgentConnection } from "./agent-connection.ts";
import { Authenticator, type AuthFailures } from "./authenticate.ts";
import { ConnectionCaps, type ConnectionLimits, type Place } from "./connection-caps.ts";
import type { ProxyContext } from "./context.ts";
import { Deadlines, defaultTimeouts, type ProxyTimeouts } from "./deadlines.ts";
import { type Listening, openListeners } from "./listening.ts";
import { observeParts, ProxyMetrics } from "./metrics.ts";
import { OpenConnections } from "./open-connections.ts";
import { Outboxes } from "./outboxes.ts";
import { Paces } from "./pace.ts";
import { socketPeer } from "./peer.ts";
import { PlainServer } from "./plain-server.ts";
import { Pool } from "./pool.ts";
import { renderRefusal } from "./refusal.ts";
import { RefusedTokens } from "./refused-tokens.ts";
import { SecureHop } from "./secure-hop.ts";
import { SharedPool } from "./shared-pool.ts";
import type { InnerConnection } from "./tunnel.ts";

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
  readonly tracing?: Tracing | undefined;
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
  const { outbound } = options;
  const pool = new Pool(outbound, deadlines, timeouts, outboxes);
  const context: ProxyContext = {
    authenticator: new Authenticator(options),
    admissions: new Admissions(options.budgets),
    open,
    caps: new ConnectionCaps(options.connections),
    metrics: new ProxyMetrics(options.metrics),
    snapshots: options.snapshots,
    refusedTokens: new RefusedTokens(),
    pool,
    streams: new SharedPool({
      outbound,
      pool,
      deadlines,
      timeouts,
      outboxes,
      onCrash: (error) => options.log.error("proxy_failure", { error }),
    }),
    outbound,
    journal: options.journal,
    tracing: options.tracing,
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
  observeParts(options.metrics, context);
  const unwatch = options.onChange(() => open.lookSoon());
  const expose = port === 0 ? undefined : options.outbound.policy.protect({ host: options.host, port });
  return {
    port,
    close: async ({ graceMs }) => {
      await listening.stop();
      await door.close(graceMs);
      context.streams.close();
      context.pool.close();
      deadlines.stop();
      unwatch();
      open.stop();
      expose?.();
    },
  };
}

/** Connections that are told why they cannot stay, at most at a time and at longest. */
const maxTurnedAway = 64;
const turnAwayMs = 1_000;

/** The listening side: every connection starts here, and CONNECTs leave it for a tunnel. */
class Door {
  readonly #context: ProxyContext;
  readonly #authority: Pick<Authority, "leafFor">;
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<InnerConnection>();
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
    let place: Place;
    try {
      place = caps.enter(clientIp, () => socket.destroy());
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
      place.leave();
    });
    const serve = (inside: Socket) => this.#serve(inside, clientIp, place);
    if (tls === undefined) serve(socket);
    else SecureHop.open({ socket, tls, context: this.#context, onSecure: serve });
  }

  #serve(socket: Socket, clientIp: string, place: Place): void {
    const { deadlines, timeouts, outboxes } = this.#context;
    this.track(
      new AgentConnection({
        socket,
        clientIp,
        server: new PlainServer(this.#context, this.#authority, { door: this, place }),
        deadlines,
        timeouts,
        outboxes,
      }),
    );
  }

  track(connection: InnerConnection): void {
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
