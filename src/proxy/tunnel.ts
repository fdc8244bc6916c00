import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { uuidv7 } from "../crypto/token.ts";
import type { ScopeLease } from "../domain/actors/scope.ts";
import type { JournalEntry } from "../domain/journal-entry.ts";
import { type Authority as Address, formatAuthority, isIpLiteral, parseAuthority } from "../net/address.ts";
import { http2First, requestedName, type SecureContext, speaksHttp2, terminateTls } from "../runtime/tls.ts";
import { AgentConnection, type RequestHandler, type RequestServer } from "./agent-connection.ts";
import type { ProxyContext } from "./context.ts";
import type { Expiring } from "./deadlines.ts";
import { Exchange } from "./exchange.ts";
import { Field } from "./http1/field-names.ts";
import type { Framing } from "./http1/framing.ts";
import type { RequestHead } from "./http1/head.ts";
import { hostOf } from "./http1/host.ts";
import { AgentSession, type StreamServer } from "./http2/agent-session.ts";
import { ErrorCode, type Http2ConnectionError } from "./http2/http2-error.ts";
import type { Leased, OpenKind } from "./open-connections.ts";
import { RefusedRequest, renderRefusal } from "./refusal.ts";
import { Route } from "./route.ts";
import type { AgentSide } from "./sides.ts";

/** An accepted CONNECT: TLS is ended with a leaf for its host, and requests are served from inside. */
export interface TunnelOptions {
  readonly socket: Socket;
  readonly clientIp: string;
  /** What the agent sent behind its CONNECT without waiting. */
  readonly early: Buffer;
  readonly leaf: SecureContext;
  readonly authority: Address;
  readonly lease: ScopeLease;
  readonly context: ProxyContext;
  /** Hears of the connection inside once the handshake is through. */
  readonly onOpen: (connection: InnerConnection) => void;
}

/** The connection inside of a tunnel, whatever it speaks. */
export interface InnerConnection {
  readonly socket: Socket;
  /** No more requests: those under way are answered. */
  drain(): void;
  destroy(): void;
}

const established = "HTTP/1.1 200 Connection Established\r\n\r\n";

export class Tunnel implements RequestServer, StreamServer, Expiring, Leased {
  deadlineMs: number;
  readonly #options: TunnelOptions;
  readonly #authority: Address;
  #isRevoked = false;
  readonly #context: ProxyContext;
  readonly #secure: TLSSocket;
  readonly #startedAtMs: number;
  readonly #route: Route;
  #isOpen = false;
  /** Why it ends, where we end it; undefined unless the handshake went through. */
  #endCode: string | undefined;
  /** Once the handshake is through. */
  #inside: InnerConnection | undefined;

  private constructor(options: TunnelOptions) {
    const { socket, context, authority } = options;
    this.#options = options;
    this.#authority = authority;
    this.#context = context;
    this.#startedAtMs = context.clock.now();
    this.#route = new Route("https", authority.host, authority.port);
    this.deadlineMs = performance.now() + context.timeouts.clientTlsMs;
    context.deadlines.watch(this);
    socket.write(established, "latin1");
    this.#secure = terminateTls(socket, options.leaf, options.early, http2First);
    this.#secure.once("secure", () => this.#onSecure());
    this.#secure.on("error", this.#onHandshakeFailure);
    this.#secure.once("close", this.#onHandshakeFailure);
    // The raw socket may end without the TLS socket hearing of it.
    socket.once("close", () => {
      this.#secure.destroy();
      context.open.remove(this);
      if (this.#endCode !== undefined) this.#recordEnd(this.#endCode);
    });
    context.open.add(this);
  }

  static open(options: TunnelOptions): void {
    new Tunnel(options);
  }

  serve(head: RequestHead, framing: Framing, connection: AgentSide): RequestHandler | undefined {
    let target: string;
    try {
      target = this.#originForm(head);
    } catch (error) {
      this.refuse(error, connection);
      return undefined;
    }
    return Exchange.start(this.#context, connection, {
      head,
      framing,
      route: this.#route,
      target,
      lease: this.#options.lease,
    });
  }

  refuse(error: unknown, connection: AgentSide): void {
    const requestId = uuidv7(this.#context.clock.now());
    const refusal = renderRefusal(error, { requestId, baseUrl: this.#context.baseUrl, isHead: false, closes: true });
    connection.refuse(refusal);
    this.#context.metrics.refused(refusal.code);
    this.#record(requestId, refusal.status, refusal.code);
    connection.done(true);
  }

  crashed(error: unknown): void {
    this.#context.log.error("proxy_failure", { host: formatAuthority(this.#authority), error });
  }

  ended(failure: Http2ConnectionError): void {
    const requestId = uuidv7(this.#context.clock.now());
    const code = failure.code === ErrorCode.enhanceYourCalm ? "http2_flood" : "http2_error";
    const host = formatAuthority(this.#authority);
    this.#context.log.warn("tunnel_failed", { requestId, host, code, reason: failure.message });
    this.#context.metrics.refused(code);
    this.#record(requestId, 0, code);
  }

  get kind(): OpenKind {
    return "tunnel";
  }

  get lease(): ScopeLease {
    return this.#options.lease;
  }

  recheck(): void {
    // Rules are for requests, and each of them looks after itself.
  }

  revoke(): void {
    // A request under way hears of it by itself.
    if (this.#endCode !== undefined) this.#endCode = "revoked";
    if (this.#inside) this.#drainWithin(this.#inside, this.#options.context.timeouts.lingerMs);
    else this.#fail("revoked");
  }

  /** An answer that nobody takes must not keep it open. */
  #drainWithin(inside: InnerConnection, ms: number): void {
    if (this.#isRevoked) return;
    this.#isRevoked = true;
    inside.drain();
    const timer = setTimeout(() => inside.destroy(), ms);
    timer.unref();
    inside.socket.once("close", () => clearTimeout(timer));
  }

  leave(): void {
    // Its connection drains by itself.
  }

  onDeadline(): void {
    this.#fail("tls_handshake_timeout");
  }

  /** @throws {RefusedRequest} 421 when the request names another authority than the tunnel's. */
  #originForm(head: RequestHead): string {
    const { fields, target } = head;
    const line = fields.lineOf(Field.host);
    // Nearly every agent spells it this way; anything else gets a closer look.
    if (line === -1 || fields.isRepeated(Field.host) || !fields.isExactly(line, this.#route.hostHeader)) {
      const host = hostOf(head);
      if (host !== undefined) this.#requireSame(host);
    }
    if (target.startsWith("/")) return target;
    if (head.method === "CONNECT") return "/";
    if (target === "*") throw new RefusedRequest(400, "asterisk_form", "The target * is not served here");
    const match = /^https:\/\/([^/?]*)(.*)$/is.exec(target);
    if (!match) throw new RefusedRequest(421, "misdirected_request", "The target's scheme is not the tunnel's");
    this.#requireSame(match[1] ?? "");
    const path = match[2] ?? "";
    return path.startsWith("/") ? path : `/${path}`;
  }

  #requireSame(text: string): void {
    const named = parseAuthority(text, 443);
    if (named.host === this.#authority.host && named.port === this.#authority.port) return;
    throw new RefusedRequest(
      421,
      "misdirected_request",
      `This tunnel leads to ${formatAuthority(this.#authority)} and the request names another host`,
    );
  }

  #onSecure(): void {
    const name = requestedName(this.#secure);
    if (name !== undefined && name !== this.#authority.host && !isIpLiteral(name)) {
      this.#fail("sni_mismatch");
      return;
    }
    this.#isOpen = true;
    this.#endCode = "";
    const { context, clientIp } = this.#options;
    context.deadlines.forget(this);
    this.#secure.removeListener("error", this.#onHandshakeFailure);
    this.#secure.removeListener("close", this.#onHandshakeFailure);
    context.metrics.handshake("ok");
    const { deadlines, timeouts, outboxes } = context;
    const options = { socket: this.#secure, clientIp, server: this, deadlines, timeouts, outboxes };
    const connection = speaksHttp2(this.#secure) ? new AgentSession(options) : new AgentConnection(options);
    connection.deadlineMs = deadlines.now + timeouts.idleMs;
    this.#inside = connection;
    this.#options.onOpen(connection);
  }

  readonly #onHandshakeFailure = (): void => this.#fail("tls_handshake_failed");

  #fail(code: string): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    const { context, socket } = this.#options;
    context.deadlines.forget(this);
    this.#secure.destroy();
    socket.destroy();
    const requestId = uuidv7(this.#startedAtMs);
    context.metrics.handshake(code);
    context.log.warn("tunnel_failed", { requestId, host: formatAuthority(this.#authority), code });
    this.#record(requestId, 0, code);
  }

  /** What was sent and received inside of TLS, heads and all. */
  #recordEnd(code: string): void {
    const { bytesRead, bytesWritten } = this.#secure;
    const ending = { ingress: "tunnel" as const, bytesIn: bytesRead, bytesOut: bytesWritten };
    this.#record(uuidv7(this.#startedAtMs), 200, code, ending);
  }

  #record(requestId: string, status: number, errorCode: string, ending: Partial<JournalEntry> = {}): void {
    const { scope } = this.#options.lease;
    this.#context.journal.record({
      requestId,
      vaultId: scope.vaultId,
      actorType: scope.actorType,
      actorId: scope.actorId,
      sessionId: scope.sessionId,
      method: "CONNECT",
      scheme: "https",
      host: formatAuthority(this.#authority),
      path: "",
      matchedService: "",
      credentialKeys: [],
      status,
      errorCode,
      authScheme: "",
      authHeader: "",
      clientIp: this.#options.clientIp,
      bytesIn: 0,
      bytesOut: 0,
      startedAtMs: this.#startedAtMs,
      latencyMs: this.#context.clock.now() - this.#startedAtMs,
      upstreamMs: null,
      ...ending,
    });
  }
}
