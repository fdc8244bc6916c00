import { uuidv7 } from "../crypto/token.ts";
import { attributed, type ScopeLease } from "../domain/actors/scope.ts";
import type { Authority } from "../domain/authority.ts";
import { AppError } from "../errors.ts";
import { type Authority as Address, parseAuthority } from "../net/address.ts";
import type { AgentConnection, RequestHandler, RequestServer } from "./agent-connection.ts";
import type { Place } from "./connection-caps.ts";
import type { ProxyContext } from "./context.ts";
import { Exchange } from "./exchange.ts";
import { recordRefusedConnect } from "./exchange-record.ts";
import { Field } from "./http1/field-names.ts";
import { type Framing, keepsAlive } from "./http1/framing.ts";
import type { RequestHead } from "./http1/head.ts";
import { hostOf } from "./http1/host.ts";
import { serializeResponseHead } from "./http1/serialize.ts";
import { PendingConnect } from "./pending-connect.ts";
import { RawTunnel, type RawTunnelOptions } from "./raw-tunnel.ts";
import { RefusedRequest, renderRefusal } from "./refusal.ts";
import { Route } from "./route.ts";
import { type InnerConnection, Tunnel } from "./tunnel.ts";

/** Who ends what is open when the proxy stops. */
interface TunnelTracker {
  track(connection: InnerConnection): void;
}

/** Requests that arrive in plain: CONNECT, and absolute-form to http upstreams. One per connection. */
export class PlainServer implements RequestServer {
  readonly #context: ProxyContext;
  readonly #authority: Pick<Authority, "leafFor">;
  readonly #door: TunnelTracker;
  readonly #place: Place;
  /** The last credentials of this connection, so that a kept-alive one does not look them up for every request. */
  #known: { readonly credentials: string; readonly lease: ScopeLease } | undefined;

  constructor(
    context: ProxyContext,
    authority: Pick<Authority, "leafFor">,
    connection: { readonly door: TunnelTracker; readonly place: Place },
  ) {
    this.#context = context;
    this.#authority = authority;
    this.#door = connection.door;
    this.#place = connection.place;
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
    const requestId = uuidv7(this.#context.clock.now());
    this.#openTunnel(target, head, connection, { pending, requestId }).catch((error: unknown) => {
      if (pending.isGone) return;
      this.#answer(error, connection, { closes: false, isHead: false, requestId });
      recordRefusedConnect(this.#context, error, { requestId, target, clientIp: connection.clientIp });
    });
    return pending;
  }

  async #openTunnel(
    authority: Address,
    head: RequestHead,
    connection: AgentConnection,
    { pending, requestId }: { readonly pending: PendingConnect; readonly requestId: string },
  ): Promise<void> {
    const context = this.#context;
    const credentials = head.fields.valueOf(Field.proxyAuthorization);
    const lease = await context.authenticator.authenticate(credentials, connection.clientIp);
    const { vaultId } = lease.scope;
    const snapshot = context.snapshots.current(vaultId) ?? (await context.snapshots.load(vaultId));
    const service = snapshot.rawServiceFor(authority.host, authority.port);
    if (service !== undefined) {
      await this.#openRawTunnel(
        { authority, service, lease, clientIp: connection.clientIp, context, requestId },
        connection,
        pending,
      );
      return;
    }
    const leaf = await this.#authority.leafFor(authority.host);
    if (pending.isGone) return;
    const { socket, clientIp } = connection;
    this.#prove(lease);
    const early = connection.takeOver();
    const onOpen = (inside: InnerConnection) => this.#door.track(inside);
    Tunnel.open({ socket, clientIp, early, leaf, authority, lease, context, onOpen });
  }

  async #openRawTunnel(options: RawTunnelOptions, connection: AgentConnection, pending: PendingConnect): Promise<void> {
    this.#prove(options.lease);
    const tunnel = await RawTunnel.dial(options);
    if (pending.isGone) tunnel.abandon();
    else {
      const early = connection.takeOver();
      tunnel.begin(connection.socket, early);
    }
  }

  /** This connection counts for its token from now on. @throws {RateLimited} of the token's vault. */
  #prove({ scope }: ScopeLease): void {
    try {
      this.#place.prove(scope.sessionId);
    } catch (error) {
      throw error instanceof AppError ? attributed(error, scope) : error;
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
        this.#place.prove(lease.scope.sessionId);
        this.#known = { credentials, lease };
      },
    });
  }

  /** @returns the id that the agent is told. */
  #answer(
    error: unknown,
    connection: AgentConnection,
    how: { readonly closes: boolean; readonly isHead: boolean; readonly requestId?: string },
  ): void {
    const { baseUrl, log, clock } = this.#context;
    const requestId = how.requestId ?? uuidv7(clock.now());
    const closes = how.closes || connection.isDraining;
    const refusal = renderRefusal(error, { requestId, baseUrl, isHead: how.isHead, closes });
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
