import { uuidv7 } from "../crypto/token.ts";
import type { ScopeLease } from "../domain/actors/scope.ts";
import { ProxyLimited } from "../domain/limits/proxy-budget.ts";
import type { Injection, VaultSnapshot } from "../domain/vaults/snapshot.ts";
import { AppError, Forbidden, TooLarge, UpstreamFailed } from "../errors.ts";
import { Admission } from "./admission.ts";
import type { AgentConnection, RequestHandler } from "./agent-connection.ts";
import { AnswerScrubbing, type ScrubbedAnswerTarget } from "./answer-scrubbing.ts";
import type { ProxyContext } from "./context.ts";
import { findingOf, journalCodeOf, recordExchange } from "./exchange-record.ts";
import { outgoingTrailers, sniffAuthentication } from "./headers.ts";
import { Field } from "./http1/field-names.ts";
import type { HeaderList } from "./http1/fields.ts";
import { type Framing, keepsAlive } from "./http1/framing.ts";
import { FramingError } from "./http1/framing-error.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import type { Leased, OpenKind } from "./open-connections.ts";
import { OutgoingRequest } from "./outgoing.ts";
import type { Pace } from "./pace.ts";
import { type Plan, planFor } from "./plan.ts";
import { RefusedRequest, renderRefusal } from "./refusal.ts";
import { logRefusal } from "./refusal-log.ts";
import { AnswerRelay } from "./relay.ts";
import { RequestSubstitution } from "./request-substitution.ts";
import type { Route, RouteOrigin } from "./route.ts";
import { type Treatment, untouched } from "./treatment.ts";
import type { UpstreamConnection, UpstreamUser } from "./upstream.ts";
import { MessageInspection, type MessageRewriters } from "./websocket/negotiate.ts";
import {
  acceptsUpgrade,
  goingAway,
  type OpenWebSocket,
  relayUpgraded,
  type UpgradeEnd,
  wantsWebSocket,
} from "./websocket.ts";

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

const noInjection: Injection = { headers: [], values: new Map() };
const noTrailers: HeaderList = [];

/** One request, from its head to its journal line. */
export class Exchange implements RequestHandler, UpstreamUser, ScrubbedAnswerTarget, Leased {
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
  #treatment = untouched;
  #origin: RouteOrigin | undefined;
  /** Undefined for most services. */
  #substitution: RequestSubstitution | undefined;
  /** The body is taken, but goes upstream only when it is complete. */
  #isCollecting = false;
  #collected: Buffer | undefined;
  #inspection: MessageInspection | undefined;
  #request: OutgoingRequest | undefined;
  #trailers = noTrailers;
  #upstream: UpstreamConnection | undefined;
  /** Undefined where answers pass as they are. */
  #scrubbing: AnswerScrubbing | undefined;
  #hasReplayed = false;
  #isOver = false;
  #sentAt = 0;
  #pace: Pace | undefined;
  #paceBytes = 0;
  #paceEndMs = Number.POSITIVE_INFINITY;
  #idleAtMs = 0;
  #upstreamMs: number | null = null;
  #rewriters: MessageRewriters | undefined;
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
    const injection = plan.service ? snapshot.injectionFor(plan.service) : noInjection;
    if (injection instanceof Promise) {
      // It is asked again on the slow path; a failure is reported there.
      injection.catch(() => undefined);
      return false;
    }
    this.#compose(lease, this.#inbound.route.treatmentFor(plan, injection, snapshot.scrubMode));
    if (this.#substitution?.collects) {
      this.#collect();
      return true;
    }
    const upstream = this.#origin && this.#context.pool.take(this.#origin.key);
    if (!upstream) return false;
    this.#send(upstream);
    return true;
  }

  async #runCold(): Promise<void> {
    try {
      // The warm way has just decided everything, and only found no connection.
      if (this.#request !== undefined) return await this.#dialAndSend(false);
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
      const injection = plan.service ? await snapshot.injectionFor(plan.service) : noInjection;
      if (this.#isOver) return;
      this.#compose(lease, this.#inbound.route.treatmentFor(plan, injection, snapshot.scrubMode));
      if (this.#substitution?.collects) this.#collect();
      else await this.#dialAndSend(false);
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
    return planFor(snapshot, { scheme, host, port, path: this.#path, method: head.method }, head.fields);
  }

  /** What goes upstream, and where; the head itself is written when there is a connection. */
  #compose(lease: ScopeLease, treatment: Treatment): void {
    const { framing, route } = this.#inbound;
    const { substitutions, rules, scrub } = treatment;
    this.#treatment = treatment;
    this.#origin = route.originFor(lease.scope.vaultId);
    let { head, target } = this.#inbound;
    if (substitutions !== undefined) {
      const { maxRequestBytes } = this.#context;
      this.#substitution = new RequestSubstitution(substitutions, { head, framing, target, maxRequestBytes });
      ({ head, target } = this.#substitution);
    }
    if (this.#upgrades) {
      this.#inspection = MessageInspection.for(treatment, head);
      head = this.#inspection?.head ?? head;
    }
    if (scrub !== undefined) this.#scrubbing = new AnswerScrubbing(scrub, this);
    this.#request = new OutgoingRequest(head, {
      target,
      host: route.hostHeader,
      rules,
      isChunked: framing.kind === "chunked",
      upgrades: this.#upgrades,
    });
  }

  // --- collecting a body ------------------------------------------------------------------------------------------

  /** With values in it the body has another length, and that comes before it: nothing is sent until it is complete. */
  #collect(): void {
    this.#isCollecting = true;
    this.#measure(this.#inbound.framing);
    this.#moved(0);
    const { head } = this.#inbound;
    // The upstream cannot be asked yet (RFC 9110, section 10.1.1).
    if (head.minor === 1 && head.fields.hasToken(Field.expect, "100-continue")) {
      this.#connection.out.text("HTTP/1.1 100 Continue\r\n\r\n");
      this.#connection.out.flush();
    }
    this.#connection.releaseBody();
  }

  #sendCollected(body: Buffer): void {
    const { options } = this.#request ?? {};
    if (options === undefined || this.#substitution === undefined) return;
    this.#isCollecting = false;
    this.#collected = body;
    this.#request = new OutgoingRequest(this.#substitution.headFor(body), options);
    this.#touch(this.#context.timeouts.responseHeadMs);
    const upstream = this.#origin && this.#context.pool.take(this.#origin.key);
    if (upstream) this.#send(upstream);
    else this.#dialAndSend(false).catch((cause: unknown) => this.#refuse(cause));
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
    const collected = this.#collected;
    if (collected !== undefined) {
      this.#collected = undefined;
      if (collected.length > 0) request.body(collected);
      request.end(this.#trailers);
    }
    this.#sentAt = performance.now();
    this.#measure(this.#inbound.framing);
    this.#touch(this.#context.timeouts.responseHeadMs);
    // On the way down from the agent's data event, this is written together with the body's first bytes.
    this.#connection.releaseBody();
    if (!this.#connection.isReading) this.onRequestBatch();
  }

  get acceptsBody(): boolean {
    return this.#upstream !== undefined || this.#isCollecting;
  }

  onBody(chunk: Buffer): void {
    const request = this.#request;
    if (!request || !this.acceptsBody || this.#isOver) return;
    if (this.#substitution === undefined) request.body(chunk);
    else this.#substituteInto(request, this.#substitution, chunk);
    if (this.#receivedBytes > this.#context.maxRequestBytes) this.#refuse(this.#requestTooLarge());
    this.#moved(chunk.length);
  }

  /** @param chunk undefined: the body is complete. */
  #substituteInto(request: OutgoingRequest, substitution: RequestSubstitution, chunk: Buffer | undefined): void {
    try {
      const passed = chunk === undefined ? substitution.end() : substitution.push(chunk);
      if (chunk === undefined && substitution.collects) this.#sendCollected(passed);
      else if (passed.length > 0) request.body(passed);
    } catch (error) {
      this.#refuse(error);
    }
  }

  onTrailers(trailers: HeaderList): void {
    try {
      const passed = this.#substitution === undefined ? trailers : this.#substitution.trailers(trailers);
      this.#trailers = outgoingTrailers(passed, this.#treatment.rules);
    } catch (error) {
      this.#refuse(error);
    }
  }

  onRequestEnd(): void {
    const request = this.#request;
    if (!request || !this.acceptsBody || this.#isOver) return;
    if (this.#substitution !== undefined) this.#substituteInto(request, this.#substitution, undefined);
    if (this.#isOver) return;
    if (!this.#substitution?.collects) request.end(this.#trailers);
    // Where the answer overtook the request, it is the answer that is measured.
    if (!this.#answer.hasStarted) this.#measure(undefined);
    this.#touch(this.#context.timeouts.responseHeadMs);
  }

  get #receivedBytes(): number {
    return this.#substitution?.receivedBytes ?? this.#request?.bytes ?? 0;
  }

  onRequestBatch(): void {
    if (this.#upstream && !this.#upstream.out.flush() && !this.#connection.isRequestComplete) this.#connection.pause();
  }

  onUpstreamDrain(): void {
    this.#connection.resume();
  }

  // --- answering --------------------------------------------------------------------------------------------------

  onInformational(head: ResponseHead): void {
    const wantsContinue =
      !this.#substitution?.collects && this.#inbound.head.fields.hasToken(Field.expect, "100-continue");
    try {
      this.#answer.informational(this.#scrubbing?.informational(head) ?? head, wantsContinue);
    } catch (error) {
      this.#refuse(error);
    }
  }

  onAnswer(head: ResponseHead, framing: Framing): void {
    this.#upstreamMs = performance.now() - this.#sentAt;
    const isStream = isEventStream(head, framing);
    if (isStream) this.#admission.becomeStream();
    this.#measure(isStream ? undefined : framing);
    try {
      this.#answer.checkLength(framing);
      if (this.#scrubbing === undefined) this.relayHead(head, framing);
      else this.#scrubbing.start(head, framing);
    } catch (error) {
      this.#refuse(error);
    }
    this.#moved(0);
  }

  onAnswerBody(chunk: Buffer): void {
    if (this.#isOver) return;
    if (this.#scrubbing === undefined) this.relayBody(chunk);
    else if (!this.#scrubbing.push(chunk)) this.#upstream?.socket.pause();
    this.#moved(chunk.length);
  }

  onAnswerTrailers(trailers: HeaderList): void {
    if (this.#isOver) return;
    try {
      this.#answer.trailers(this.#scrubbing?.trailers(trailers) ?? trailers);
    } catch (error) {
      this.#refuse(error);
    }
  }

  onAnswerBatch(): void {
    // A slow agent holds back the upstream, once it has been given something.
    if (!this.#connection.out.flush() && !this.#isOver) this.#upstream?.socket.pause();
  }

  onAgentDrain(): void {
    this.#scrubbing?.resume();
    this.#upstream?.socket.resume();
  }

  onAnswerEnd(): void {
    if (this.#isOver) return;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (upstream?.isReusable && this.#origin && this.#connection.isRequestComplete) {
      if (upstream.socket.isPaused()) upstream.socket.resume();
      this.#context.pool.release(this.#origin.key, upstream);
    } else upstream?.destroy();
    if (this.#scrubbing === undefined) this.relayEnd();
    else this.#scrubbing.end();
  }

  // --- relaying, after scrubbing where that is done ---------------------------------------------------------------

  relayHead(head: ResponseHead, framing: Framing): void {
    const { head: request } = this.#inbound;
    const isKept = keepsAlive(request) && this.#connection.isRequestComplete;
    this.#answer.start(head, framing, {
      stripsCookies: this.#plan?.stripsCookies ?? true,
      closes: !isKept || this.#connection.isDraining,
      keepsOldAgent: isKept && request.minor === 0,
    });
  }

  relayBody(chunk: Buffer): void {
    if (!this.#isOver && !this.#answer.body(chunk)) this.#abort("response_truncated");
  }

  relayEnd(): void {
    if (this.#isOver) return;
    this.#answer.end();
    this.#finish(this.#answer.status, "");
    this.#connection.done(!keepsAlive(this.#inbound.head) || this.#answer.endsWithConnection);
  }

  relayFailure(error: AppError): void {
    this.#refuse(error);
  }

  flushToAgent(): boolean {
    return this.#connection.out.flush();
  }

  onScrubDrain(): void {
    this.#upstream?.socket.resume();
  }

  // --- upgrading --------------------------------------------------------------------------------------------------

  onSwitch(head: ResponseHead, early: Buffer): void {
    const upstream = this.#upstream;
    if (!upstream) return;
    if (!this.#upgrades || !acceptsUpgrade(this.#inbound.head, head)) {
      this.#refuse(new UpstreamFailed("upstream_bad_answer", "The upstream switched protocols without being asked to"));
      return;
    }
    this.#upstreamMs = performance.now() - this.#sentAt;
    let shown = head;
    try {
      this.#rewriters = this.#inspection?.rewriters(head);
      shown = this.#scrubbing?.informational(head) ?? head;
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#answer.status = 101;
    this.#webSocket = relayUpgraded({
      connection: this.#connection,
      upstream,
      head: shown,
      early,
      rewriters: this.#rewriters,
      stripsCookies: this.#plan?.stripsCookies ?? true,
      deadlines: this.#context.deadlines,
      idleMs: this.#context.timeouts.websocketIdleMs,
      onEnd: (end) => this.#onUpgradeEnd(end),
    });
  }

  #onUpgradeEnd({ bytesIn, bytesOut, failure }: UpgradeEnd): void {
    this.#extraBytesIn = bytesIn;
    this.#extraBytesOut = bytesOut;
    if (failure !== undefined && !(failure instanceof AppError)) {
      this.#context.log.error("proxy_failure", { requestId: this.requestId, error: failure });
    }
    const code = failure === undefined ? "" : failure instanceof AppError ? failure.code : "internal";
    this.#finish(101, this.#endCode || code);
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

  leave(): void {
    if (!this.#webSocket?.isBetweenFrames) return;
    this.#endCode = "server_stopped";
    this.#webSocket.close(goingAway);
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
    if (this.#pace !== undefined && this.#idleAtMs > this.#context.deadlines.now) this.#checkPace(this.#pace);
    else this.#expire();
  }

  #expire(): void {
    if (this.#answer.hasStarted) this.#abort("idle_timeout");
    else if (!this.#connection.isRequestComplete && this.acceptsBody) {
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
      !keepsAlive(head) ||
      !this.#connection.isRequestComplete ||
      hasLostScope ||
      error instanceof FramingError ||
      this.#connection.isDraining;
    const refusal = renderRefusal(error, {
      requestId: this.requestId,
      baseUrl: this.#context.baseUrl,
      isHead: head.method === "HEAD",
      closes,
    });
    logRefusal(this.#context.log, error, { requestId: this.requestId, code: refusal.code });
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
    // Once it is answered the connection has a deadline of its own.
    if (this.#isOver) return;
    this.#connection.deadlineMs = this.#context.deadlines.now + idleMs;
  }

  /** From here on this body has to move. @param framing undefined: nothing has. */
  #measure(framing: Framing | undefined): void {
    const pace = framing && this.#context.paces.for(framing);
    this.#pace = pace;
    this.#paceBytes = 0;
    this.#paceEndMs = pace ? this.#context.deadlines.now + pace.windowMs : Number.POSITIVE_INFINITY;
  }

  /** A part of a body went through. */
  #moved(bytes: number): void {
    if (this.#isOver) return;
    const { deadlines, timeouts } = this.#context;
    this.#paceBytes += bytes;
    this.#idleAtMs = deadlines.now + timeouts.bodyIdleMs;
    this.#connection.deadlineMs = Math.min(this.#idleAtMs, this.#paceEndMs);
  }

  /** The window is over: was it enough? Whoever was held back by the other side is not slow. */
  #checkPace(pace: Pace): void {
    const source = this.#answer.hasStarted ? this.#upstream?.socket : this.#connection.socket;
    if (this.#paceBytes >= pace.leastBytes || source?.isPaused()) {
      this.#paceBytes = 0;
      this.#paceEndMs = this.#context.deadlines.now + pace.windowMs;
      this.#connection.deadlineMs = Math.min(this.#idleAtMs, this.#paceEndMs);
    } else if (this.#answer.hasStarted) this.#abort("answer_too_slow");
    else this.#refuse(new RefusedRequest(408, "body_too_slow", "The request body arrives too slowly"));
  }

  #finish(status: number, code: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#scrubbing?.stop();
    this.#admission.leave();
    this.#context.open.remove(this);
    const scope = this.#lease?.scope;
    const { head, route } = this.#inbound;
    const latencyMs = Math.round(performance.now() - this.#startedAt);
    const errorCode = journalCodeOf(code);
    this.#context.metrics.request(scope, this.#plan, {
      status,
      code: errorCode,
      latencyMs,
      upstreamMs: this.#upstreamMs,
    });
    const authentication = sniffAuthentication(head.fields);
    recordExchange(this.#context, scope, {
      requestId: this.requestId,
      vaultId: scope?.vaultId ?? "",
      actorType: scope?.actorType ?? "",
      actorId: scope?.actorId ?? "",
      sessionId: scope?.sessionId ?? "",
      method: head.method,
      scheme: route.scheme,
      host: route.authority,
      path: this.#path,
      matchedService: this.#plan?.service?.name ?? "",
      credentialKeys: this.#plan?.credentialKeys ?? noKeys,
      status,
      errorCode,
      authScheme: authentication.scheme,
      authHeader: authentication.header,
      clientIp: this.#connection.clientIp,
      bytesIn: this.#receivedBytes + this.#extraBytesIn,
      bytesOut: this.#answer.bytes + this.#extraBytesOut,
      startedAtMs: this.#startedAtMs,
      latencyMs,
      upstreamMs: this.#upstreamMs === null ? null : Math.round(this.#upstreamMs),
      scrubbed: this.#scrubbing && findingOf(this.#scrubbing, this.#rewriters),
    });
  }
}

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
