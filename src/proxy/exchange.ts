import { uuidv7 } from "../crypto/token.ts";
import type { ScopeLease } from "../domain/actors/scope.ts";
import { ProxyLimited } from "../domain/limits/proxy-budget.ts";
import type { InjectedHeader, VaultSnapshot } from "../domain/vaults/snapshot.ts";
import { AppError, Forbidden, messageOf, TooLarge, UpstreamFailed } from "../errors.ts";
import { Admission } from "./admission.ts";
import type { AgentConnection, RequestHandler } from "./agent-connection.ts";
import type { ProxyContext } from "./context.ts";
import { outgoingTrailers, sniffAuthentication } from "./headers.ts";
import { Field } from "./http1/field-names.ts";
import type { HeaderList } from "./http1/fields.ts";
import { type Framing, keepsAlive } from "./http1/framing.ts";
import { FramingError } from "./http1/framing-error.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import type { Leased, OpenKind } from "./open-connections.ts";
import { OutgoingRequest } from "./outgoing.ts";
import { type Plan, planFor } from "./plan.ts";
import { RefusedRequest, renderRefusal } from "./refusal.ts";
import { AnswerRelay } from "./relay.ts";
import type { Route, RouteOrigin } from "./route.ts";
import type { UpstreamConnection, UpstreamUser } from "./upstream.ts";
import { acceptsUpgrade, type OpenWebSocket, relayUpgraded, wantsWebSocket } from "./websocket.ts";

/** A request as it was read, and where it is to go. */
export interface Inbound {
  readonly head: RequestHead;
  readonly framing: Framing;
  readonly route: Route;
  /** Origin form, byte for byte as the agent sent it. */
  readonly target: string;
  /** Of the tunnel; undefined where the request brings its own credentials. */
  readonly lease: ScopeLease | undefined;
  /** Hears of a lease that was found for this connection. */
  readonly onLease?: (lease: ScopeLease) => void;
}

const noHeaders: readonly InjectedHeader[] = [];
const noTrailers: HeaderList = [];

/** One request, from its head to its journal line. */
export class Exchange implements RequestHandler, UpstreamUser, Leased {
  readonly #context: ProxyContext;
  readonly #connection: AgentConnection;
  readonly #inbound: Inbound;
  readonly #answer: AnswerRelay;
  readonly #startedAtMs: number;
  readonly #startedAt = performance.now();
  readonly #upgrades: boolean;
  readonly #path: string;
  #requestId = "";
  readonly #admission = new Admission();
  #lease: ScopeLease | undefined;
  /** What the plan was decided from, or would be decided from just the same. */
  #snapshot: VaultSnapshot | undefined;
  #plan: Plan | undefined;
  #origin: RouteOrigin | undefined;
  #request: OutgoingRequest | undefined;
  #trailers = noTrailers;
  #upstream: UpstreamConnection | undefined;
  #hasReplayed = false;
  #isOver = false;
  #sentAt = 0;
  #upstreamMs: number | null = null;
  #extraBytesIn = 0;
  #extraBytesOut = 0;
  #webSocket: OpenWebSocket | undefined;
  /** Why a WebSocket was ended from here. */
  #endCode = "";

  private constructor(context: ProxyContext, connection: AgentConnection, inbound: Inbound) {
    this.#context = context;
    this.#connection = connection;
    this.#inbound = inbound;
    this.#lease = inbound.lease;
    this.#startedAtMs = context.clock.now();
    this.#answer = new AnswerRelay(connection, inbound.head, context.maxResponseBytes);
    this.#upgrades = inbound.framing.kind === "none" && wantsWebSocket(inbound.head);
    this.#path = withoutQuery(inbound.target);
  }

  /** Serves a request. Undefined when it was answered at once. */
  static start(context: ProxyContext, connection: AgentConnection, inbound: Inbound): Exchange | undefined {
    const exchange = new Exchange(context, connection, inbound);
    connection.deadlineMs = context.deadlines.now + context.timeouts.responseHeadMs;
    context.open.add(exchange);
    try {
      exchange.#checkRequest();
      if (!exchange.#tryWarm()) void exchange.#runCold();
    } catch (error) {
      exchange.#refuse(error);
    }
    return exchange.#isOver ? undefined : exchange;
  }

  // --- deciding ---------------------------------------------------------------------------------------------------

  #checkRequest(): void {
    const { head, framing } = this.#inbound;
    // Methods are case-sensitive, but not to every server; TRACK is TRACE to some.
    if (!ordinaryMethods.has(head.method) && /^(trace|track|connect)$/i.test(head.method)) {
      // TRACE would echo the injected credential; a CONNECT inside of a tunnel would leave every rule behind.
      throw new RefusedRequest(405, "method_not_allowed", `${head.method} is not served here`);
    }
    if (framing.kind === "length" && framing.length > this.#context.maxRequestBytes) throw this.#requestTooLarge();
  }

  /** The whole decision from memory, without a promise; false when something has to be looked up or dialled. */
  #tryWarm(): boolean {
    const lease = this.#lease;
    if (!lease?.isCurrent(this.#startedAtMs) || !this.#enter(lease)) return false;
    const snapshot = this.#context.snapshots.current(lease.scope.vaultId);
    if (!snapshot) return false;
    const plan = this.#decide(snapshot);
    const injected = plan.service ? snapshot.injectedHeaders(plan.service) : noHeaders;
    if (injected instanceof Promise) {
      // It is asked again on the slow path; a failure is reported there.
      injected.catch(() => undefined);
      return false;
    }
    this.#compose(lease, plan, injected);
    const upstream = this.#origin && this.#context.pool.take(this.#origin.key);
    if (!upstream) return false;
    this.#send(upstream);
    return true;
  }

  async #runCold(): Promise<void> {
    try {
      const { snapshots, authenticator, clock } = this.#context;
      if (!this.#lease) {
        const credentials = this.#inbound.head.fields.valueOf(Field.proxyAuthorization);
        this.#lease = await authenticator.authenticate(credentials, this.#connection.clientIp);
        this.#inbound.onLease?.(this.#lease);
      }
      const lease = this.#lease;
      if (!lease.isCurrent(clock.now())) await lease.renew();
      if (!this.#enter(lease)) await this.#admission.wait();
      if (this.#isOver) return;
      const { vaultId } = lease.scope;
      const snapshot = snapshots.current(vaultId) ?? (await snapshots.load(vaultId));
      const plan = this.#decide(snapshot);
      const injected = plan.service ? await snapshot.injectedHeaders(plan.service) : noHeaders;
      if (this.#isOver) return;
      this.#compose(lease, plan, injected);
      await this.#dialAndSend(false);
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** False when there is no place for it yet. @throws {ProxyLimited} */
  #enter(lease: ScopeLease): boolean {
    const nowMs = this.#startedAtMs;
    return this.#admission.enter(this.#context.admissions.budgetOf(lease, nowMs), { nowMs, isStream: this.#upgrades });
  }

  #decide(snapshot: VaultSnapshot): Plan {
    this.#plan = this.#planFrom(snapshot);
    this.#snapshot = snapshot;
    return this.#plan;
  }

  #planFrom(snapshot: VaultSnapshot): Plan {
    const { route, head } = this.#inbound;
    const { scheme, host, port } = route;
    return planFor(snapshot, { scheme, host, port, path: this.#path, method: head.method });
  }

  /** What goes upstream, and where; the head itself is written when there is a connection. */
  #compose(lease: ScopeLease, plan: Plan, injected: readonly InjectedHeader[]): void {
    const { head, framing, route, target } = this.#inbound;
    this.#origin = route.originFor(lease.scope.vaultId);
    this.#request = new OutgoingRequest(head, {
      target,
      host: route.hostHeader,
      rules: route.rulesFor(plan, injected),
      isChunked: framing.kind === "chunked",
      upgrades: this.#upgrades,
    });
  }

  // --- sending ----------------------------------------------------------------------------------------------------

  async #dialAndSend(isReplay: boolean): Promise<void> {
    const { pool } = this.#context;
    const origin = this.#origin;
    if (!origin) return;
    const { key } = origin;
    const upstream = (isReplay ? undefined : pool.take(key)) ?? (await pool.dial(key, origin.origin));
    if (this.#isOver) pool.release(key, upstream);
    else this.#send(upstream);
  }

  #send(upstream: UpstreamConnection): void {
    const request = this.#request;
    if (!request) return;
    this.#upstream = upstream;
    upstream.begin(this, request.head.method);
    request.sendOn(upstream);
    this.#sentAt = performance.now();
    this.#touch(this.#context.timeouts.responseHeadMs);
    // On the way down from the agent's data event, this is written together with the body's first bytes.
    this.#connection.releaseBody();
    if (!this.#connection.isReading) this.onRequestBatch();
  }

  get acceptsBody(): boolean {
    return this.#upstream !== undefined;
  }

  onBody(chunk: Buffer): void {
    const request = this.#request;
    if (!request || this.#isOver) return;
    request.body(chunk);
    if (request.bytes > this.#context.maxRequestBytes) this.#refuse(this.#requestTooLarge());
    this.#touch(this.#context.timeouts.bodyIdleMs);
  }

  onTrailers(trailers: HeaderList): void {
    if (this.#request) this.#trailers = outgoingTrailers(trailers, this.#request.options.rules);
  }

  onRequestEnd(): void {
    this.#request?.end(this.#trailers);
    this.#touch(this.#context.timeouts.responseHeadMs);
  }

  onRequestBatch(): void {
    if (this.#upstream && !this.#upstream.out.flush() && !this.#connection.isRequestComplete) this.#connection.pause();
  }

  onUpstreamDrain(): void {
    this.#connection.resume();
  }

  // --- answering --------------------------------------------------------------------------------------------------

  onInformational(head: ResponseHead): void {
    const wantsContinue = this.#inbound.head.fields.hasToken(Field.expect, "100-continue");
    this.#answer.informational(head, wantsContinue);
  }

  onAnswer(head: ResponseHead, framing: Framing): void {
    this.#upstreamMs = performance.now() - this.#sentAt;
    if (isEventStream(head, framing)) this.#admission.becomeStream();
    const { head: request } = this.#inbound;
    const isKept = keepsAlive(request) && this.#connection.isRequestComplete;
    try {
      this.#answer.start(head, framing, {
        stripsCookies: this.#plan?.stripsCookies ?? true,
        closes: !isKept || this.#connection.isDraining,
        keepsOldAgent: isKept && request.minor === 0,
      });
    } catch (error) {
      this.#refuse(error);
    }
    this.#touch(this.#context.timeouts.bodyIdleMs);
  }

  onAnswerBody(chunk: Buffer): void {
    if (this.#isOver) return;
    if (!this.#answer.body(chunk)) {
      this.#abort("response_truncated");
      return;
    }
    this.#touch(this.#context.timeouts.bodyIdleMs);
  }

  onAnswerTrailers(trailers: HeaderList): void {
    this.#answer.trailers(trailers);
  }

  onAnswerBatch(): void {
    // A slow agent holds back the upstream, once it has been given something.
    if (!this.#connection.out.flush() && !this.#isOver) this.#upstream?.socket.pause();
  }

  onAgentDrain(): void {
    this.#upstream?.socket.resume();
  }

  onAnswerEnd(): void {
    if (this.#isOver) return;
    this.#answer.end();
    const { head } = this.#inbound;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream?.isReusable && this.#origin && this.#connection.isRequestComplete) {
      if (upstream.socket.isPaused()) upstream.socket.resume();
      this.#context.pool.release(this.#origin.key, upstream);
    } else upstream?.destroy();
    this.#finish(this.#answer.status, "");
    this.#connection.done(!keepsAlive(head) || this.#answer.endsWithConnection);
  }

  onSwitch(head: ResponseHead, early: Buffer): void {
    const upstream = this.#upstream;
    if (!upstream) return;
    if (!this.#upgrades || !acceptsUpgrade(this.#inbound.head, head)) {
      this.#refuse(new UpstreamFailed("upstream_bad_answer", "The upstream switched protocols without being asked to"));
      return;
    }
    this.#upstreamMs = performance.now() - this.#sentAt;
    this.#answer.status = 101;
    this.#webSocket = relayUpgraded({
      connection: this.#connection,
      upstream,
      head,
      early,
      stripsCookies: this.#plan?.stripsCookies ?? true,
      deadlines: this.#context.deadlines,
      idleMs: this.#context.timeouts.websocketIdleMs,
      onEnd: (bytesIn, bytesOut) => {
        this.#extraBytesIn = bytesIn;
        this.#extraBytesOut = bytesOut;
        this.#finish(101, this.#endCode);
      },
    });
  }

  get kind(): OpenKind {
    if (this.#webSocket) return "websocket";
    return this.#admission.isStream ? "event_stream" : "request";
  }

  // --- staying allowed --------------------------------------------------------------------------------------------

  get lease(): ScopeLease | undefined {
    return this.#lease;
  }

  recheck(snapshot: VaultSnapshot): void {
    if (this.#plan === undefined || snapshot === this.#snapshot) return;
    try {
      const plan = this.#planFrom(snapshot);
      // Another service, or none: what let the credential out is not there any more.
      if (this.#plan.service !== undefined && plan.service?.name !== this.#plan.service.name) {
        throw new Forbidden("service_removed", `Service "${this.#plan.service.name}" does not cover this any more`);
      }
      this.#snapshot = snapshot;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.#end(error, error.code);
    }
  }

  revoke(error: AppError): void {
    this.#end(error, "revoked");
  }

  /** @param code for the journal, where the answer cannot say it any more. */
  #end(error: AppError, code: string): void {
    if (this.#isOver) return;
    this.#endCode = code;
    if (this.#webSocket) this.#webSocket.close(policyViolation);
    else if (this.#answer.hasStarted) this.#abort(code);
    else this.#refuse(error);
  }

  // --- failing ----------------------------------------------------------------------------------------------------

  onFailure(error: UpstreamFailed): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (this.#isOver) return;
    if (this.#answer.hasStarted) {
      this.#abort("upstream_aborted");
      return;
    }
    const mayReplay = upstream?.isReused && !upstream.hasAnswered && !this.#hasReplayed && this.#request?.isReplayable;
    if (!mayReplay) {
      this.#refuse(error);
      return;
    }
    this.#hasReplayed = true;
    this.#dialAndSend(true).catch((cause: unknown) => this.#refuse(cause));
  }

  onBadBody(error: AppError): void {
    this.#refuse(error);
  }

  onCrash(error: unknown): void {
    this.#upstream?.abandon();
    this.#upstream = undefined;
    if (!this.#isOver) this.#finish(this.#answer.status || 500, "internal");
    this.#connection.crash(error);
  }

  onAgentGone(): void {
    this.#upstream?.abandon();
    this.#upstream = undefined;
    if (!this.#isOver) this.#finish(this.#answer.status || 499, "client_aborted");
  }

  onDeadline(): void {
    if (this.#answer.hasStarted) this.#abort("idle_timeout");
    else if (!this.#connection.isRequestComplete && this.#upstream) {
      this.#refuse(new RefusedRequest(408, "request_timeout", "The request body stopped arriving"));
    } else {
      this.#refuse(new UpstreamFailed("upstream_timeout", "The upstream did not answer in time", { status: 504 }));
    }
  }

  /** The answer is under way and cannot be completed: the agent must see that it is cut short. */
  #abort(code: string): void {
    if (this.#isOver) return;
    this.#upstream?.abandon();
    this.#upstream = undefined;
    this.#finish(this.#answer.status, code);
    this.#connection.out.flush();
    this.#connection.destroy();
  }

  #refuse(error: unknown): void {
    if (this.#isOver) return;
    if (this.#answer.hasStarted) {
      this.#abort(error instanceof AppError ? error.code : "internal");
      return;
    }
    this.#upstream?.abandon();
    this.#upstream = undefined;
    const { head } = this.#inbound;
    // Whoever lost the right to this tunnel does not keep it open.
    const hasLostScope = this.#inbound.lease !== undefined && !this.#inbound.lease.isCurrent(this.#context.clock.now());
    const closes =
      !keepsAlive(head) || !this.#connection.isRequestComplete || hasLostScope || error instanceof FramingError;
    const refusal = renderRefusal(error, {
      requestId: this.requestId,
      baseUrl: this.#context.baseUrl,
      isHead: head.method === "HEAD",
      closes,
    });
    if (!(error instanceof AppError)) {
      this.#context.log.error("proxy_failure", { requestId: this.requestId, error });
    } else if (error.status >= 500 && error.code === "credential_not_found") {
      this.#context.log.warn("credential_missing", { requestId: this.requestId, message: error.message });
    } else if (error.cause !== undefined && this.#context.log.enabled("debug")) {
      this.#context.log.debug("proxy_refusal", {
        requestId: this.requestId,
        code: refusal.code,
        cause: messageOf(error.cause),
      });
    }
    this.#connection.out.text(refusal.text);
    this.#finish(refusal.status, error instanceof ProxyLimited ? error.journalCode : refusal.code);
    this.#connection.done(closes);
  }

  #requestTooLarge(): TooLarge {
    return new TooLarge("request_too_large", `The request body is larger than ${this.#context.maxRequestBytes} bytes`);
  }

  // --- remembering ------------------------------------------------------------------------------------------------

  get requestId(): string {
    if (this.#requestId === "") this.#requestId = uuidv7(this.#startedAtMs);
    return this.#requestId;
  }

  #touch(idleMs: number): void {
    this.#connection.deadlineMs = this.#context.deadlines.now + idleMs;
  }

  #finish(status: number, code: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#admission.leave();
    this.#context.open.remove(this);
    const scope = this.#lease?.scope;
    const { head, route } = this.#inbound;
    const { log } = this.#context;
    const latencyMs = Math.round(performance.now() - this.#startedAt);
    const errorCode = code === "" ? "" : (journalCodes[code] ?? code);
    const service = this.#plan?.service?.name;
    const outcome = { status, code: errorCode, latencyMs, upstreamMs: this.#upstreamMs };
    this.#context.metrics.request(scope, this.#plan, outcome);
    if (log.enabled("debug")) {
      log.debug("proxy_request", {
        requestId: this.requestId,
        vault: scope?.vaultName,
        method: head.method,
        scheme: route.scheme,
        host: route.authority,
        path: this.#path,
        service,
        status,
        code: errorCode === "" ? undefined : errorCode,
        latencyMs,
      });
    }
    // Without a vault there is no journal to write to.
    if (!scope) return;
    const authentication = sniffAuthentication(head.fields);
    this.#context.journal.record({
      requestId: this.requestId,
      vaultId: scope.vaultId,
      actorType: scope.actorType,
      actorId: scope.actorId,
      sessionId: scope.sessionId,
      method: head.method,
      scheme: route.scheme,
      host: route.authority,
      path: this.#path,
      matchedService: service ?? "",
      credentialKeys: this.#plan?.credentialKeys ?? noKeys,
      status,
      errorCode,
      authScheme: authentication.scheme,
      authHeader: authentication.header,
      clientIp: this.#connection.clientIp,
      bytesIn: (this.#request?.bytes ?? 0) + this.#extraBytesIn,
      bytesOut: this.#answer.bytes + this.#extraBytesOut,
      startedAtMs: this.#startedAtMs,
      latencyMs,
      upstreamMs: this.#upstreamMs === null ? null : Math.round(this.#upstreamMs),
    });
  }
}

/** Codes that the readers of the journal know by another name (spec of the proxy, section 22.1). */
const journalCodes: Readonly<Record<string, string>> = { forbidden: "no_match" };
const noKeys: readonly string[] = [];
/** The code of a WebSocket's Close frame (RFC 6455, section 7.4.1). */
const policyViolation = 1008;
const ordinaryMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

function withoutQuery(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/** Only what has no length can go on and on. */
function isEventStream({ fields }: ResponseHead, framing: Framing): boolean {
  if (framing.kind === "length" || framing.kind === "none") return false;
  const line = fields.lineOf(Field.contentType);
  return line !== -1 && fields.startsWith(line, "text/event-stream");
}
