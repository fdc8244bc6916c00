import { uuidv7 } from "../crypto/token.ts";
import type { Scope, ScopeLease } from "../domain/actors/scope.ts";
import type { EntryDetails, JournalEntry } from "../domain/journal-entry.ts";
import { ProxyLimited } from "../domain/limits/proxy-budget.ts";
import type { VaultSnapshot } from "../domain/vaults/snapshot.ts";
import { AppError, UpstreamFailed } from "../errors.ts";
import type { DialTimings } from "../net/outbound.ts";
import type { Tracing } from "../telemetry/telemetry.ts";
import type { RequestHandler } from "./agent-connection.ts";
import type { AnswerRelay } from "./answer-relay.ts";
import { AnswerScrubbing, type ScrubbedAnswerTarget } from "./answer-scrubbing.ts";
import type { ProxyContext } from "./context.ts";
import { Decision } from "./decision.ts";
import { findingOf, journalCodeOf, recordExchange } from "./exchange-record.ts";
import { traceExchange } from "./exchange-span.ts";
import { outgoingTrailers, sniffAuthentication } from "./headers.ts";
import { HeldAnswer, type HeldAnswerTarget } from "./held-answer.ts";
import { Field } from "./http1/field-names.ts";
import type { HeaderList } from "./http1/fields.ts";
import { type Framing, keepsAlive } from "./http1/framing.ts";
import { FramingError } from "./http1/framing-error.ts";
import type { ResponseHead } from "./http1/head.ts";
import type { Inbound } from "./inbound.ts";
import type { Leased, OpenKind } from "./open-connections.ts";
import { OutgoingRequest } from "./outgoing.ts";
import type { Pace } from "./pace.ts";
import { RefusedRequest, renderRefusal } from "./refusal.ts";
import { logRefusal } from "./refusal-log.ts";
import { checkRequest, requestTooLarge } from "./request-check.ts";
import { RequestSubstitution } from "./request-substitution.ts";
import type { AgentSide, UpstreamPool, UpstreamSide } from "./sides.ts";
import { Upgrade } from "./upgrade.ts";
import type { UpstreamUser } from "./upstream.ts";
import { MessageInspection, type MessageRewriters } from "./websocket/negotiate.ts";
import { acceptsUpgrade, wantsWebSocket } from "./websocket.ts";

const noTrailers: HeaderList = [];
/** A provider may take half a minute to hand out another credential. */
const renewalMs = 35_000;

/** One request, from its head to its journal line. */
export class Exchange implements RequestHandler, UpstreamUser, ScrubbedAnswerTarget, HeldAnswerTarget, Leased {
  readonly #context: ProxyContext;
  readonly #connection: AgentSide;
  readonly #inbound: Inbound;
  readonly #answer: AnswerRelay;
  readonly #startedAtMs: number;
  readonly #startedAt = performance.now();
  readonly #upgrades: boolean;
  readonly #decision: Decision;
  #requestId = "";
  /** Whose journal shows the refusal of a token. */
  #refusedScope: Scope | undefined;
  /** Undefined for most services. */
  #substitution: RequestSubstitution | undefined;
  /** The body is taken, but goes upstream only when it is complete. */
  #isCollecting = false;
  #collected: Buffer | undefined;
  #inspection: MessageInspection | undefined;
  #request: OutgoingRequest | undefined;
  #trailers = noTrailers;
  #upstream: UpstreamSide | undefined;
  /** Undefined where answers pass as they are. */
  #scrubbing: AnswerScrubbing | undefined;
  #hasReplayed = false;
  /** Asked once for another credential. */
  #hasRenewed = false;
  #held: HeldAnswer | undefined;
  /** With another credential. */
  #wasSaidAgain = false;
  #isOver = false;
  #sentAt = 0;
  /** What it took to open the connection, where one was opened for this request. */
  #dial: DialTimings | undefined;
  #pace: Pace | undefined;
  #paceBytes = 0;
  #paceEndMs = Number.POSITIVE_INFINITY;
  #idleAtMs = 0;
  #upstreamMs: number | null = null;
  /** Once the answer was 101. */
  #upgrade: Upgrade | undefined;

  private constructor(context: ProxyContext, connection: AgentSide, inbound: Inbound) {
    this.#context = context;
    this.#connection = connection;
    this.#inbound = inbound;
    this.#startedAtMs = context.clock.now();
    this.#answer = connection.answerTo(inbound.head, context.maxResponseBytes);
    this.#upgrades = inbound.framing.kind === "none" && wantsWebSocket(inbound.head);
    this.#decision = new Decision(context, inbound, { nowMs: this.#startedAtMs, isStream: this.#upgrades });
  }

  /** Serves a request. Undefined when it was answered at once. */
  static start(context: ProxyContext, connection: AgentSide, inbound: Inbound): Exchange | undefined {
    const exchange = new Exchange(context, connection, inbound);
    connection.deadlineMs = context.deadlines.now + context.timeouts.responseHeadMs;
    context.open.add(exchange);
    context.outboxes.enter();
    try {
      checkRequest(inbound, context.maxRequestBytes);
      if (!exchange.#tryWarm()) void exchange.#runCold();
    } catch (error) {
      exchange.#refuse(error);
    }
    return exchange.#isOver ? undefined : exchange;
  }

  // --- deciding ---------------------------------------------------------------------------------------------------

  /** The whole way from memory, without a promise; false when something has to be looked up or dialled. */
  #tryWarm(): boolean {
    if (!this.#decision.fromMemory()) return false;
    this.#compose();
    if (this.#substitution?.collects) {
      this.#collect();
      return true;
    }
    const { origin } = this.#decision;
    const upstream = origin && this.#pool.take(origin.key);
    if (!upstream) return false;
    this.#send(upstream);
    return true;
  }

  async #runCold(): Promise<void> {
    try {
      // The warm way has just decided everything, and only found no connection.
      if (this.#request === undefined) {
        await this.#decision.lookUp(this.#connection.clientIp);
        if (this.#isOver) return;
        this.#compose();
      }
      if (this.#substitution?.collects) this.#collect();
      else await this.#dialAndSend(false);
    } catch (error) {
      this.#refuse(error);
    }
  }

  /** What goes upstream; the head itself is written when there is a connection. */
  #compose(): void {
    const { framing, route } = this.#inbound;
    const { treatment, canRenew } = this.#decision;
    const { substitutions, rules, scrub } = treatment;
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
      hasBody: framing.kind === "chunked" || (framing.kind === "length" && framing.length > 0),
      upgrades: this.#upgrades,
      keepsBody: canRenew,
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
      this.#connection.sendContinue();
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
    const { origin } = this.#decision;
    const upstream = origin && this.#pool.take(origin.key);
    if (upstream) this.#send(upstream);
    else this.#dialAndSend(false).catch((cause: unknown) => this.#refuse(cause));
  }

  // --- sending ----------------------------------------------------------------------------------------------------

  /** A WebSocket needs a connection of its own. */
  get #pool(): UpstreamPool {
    return this.#connection.isMultiplexed && !this.#upgrades ? this.#context.streams : this.#context.pool;
  }

  async #dialAndSend(isReplay: boolean): Promise<void> {
    const pool = this.#pool;
    const { origin } = this.#decision;
    if (!origin) return;
    const { key } = origin;
    let upstream = isReplay ? undefined : pool.take(key);
    if (upstream === undefined) {
      upstream = await pool.dial(key, origin.origin);
      this.#dial = upstream.timings;
    }
    if (this.#isOver) pool.release(key, upstream);
    else this.#send(upstream);
  }

  #send(upstream: UpstreamSide): void {
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
    const { maxRequestBytes } = this.#context;
    if (this.#receivedBytes > maxRequestBytes) this.#refuse(requestTooLarge(maxRequestBytes));
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
      this.#trailers = outgoingTrailers(passed, this.#decision.treatment.rules);
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
    if (this.#upstream && !this.#upstream.flushSoon() && !this.#connection.isRequestComplete) this.#connection.pause();
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
    this.#touch(this.#context.timeouts.bodyIdleMs);
    if (head.status === 401 && this.#mayRenew(framing)) {
      this.#hasRenewed = true;
      this.#held = new HeldAnswer(head, framing, this);
      this.#held.waitFor(this.#decision.renew());
      this.#touch(renewalMs);
    } else this.#answerWith(head, framing);
  }

  #answerWith(head: ResponseHead, framing: Framing): void {
    const isStream = isEventStream(head, framing);
    if (isStream) this.#decision.admission.becomeStream();
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
    if (this.#held !== undefined) {
      this.#held.push(chunk);
      return;
    }
    if (this.#scrubbing === undefined) this.relayBody(chunk);
    else if (!this.#scrubbing.push(chunk)) this.#upstream?.pause();
    this.#moved(chunk.length);
  }

  onAnswerTrailers(trailers: HeaderList): void {
    if (this.#isOver) return;
    if (this.#held !== undefined) {
      this.#held.trailers = trailers;
      return;
    }
    try {
      this.#answer.trailers(this.#scrubbing?.trailers(trailers) ?? trailers);
    } catch (error) {
      this.#refuse(error);
    }
  }

  onAnswerBatch(): void {
    // A slow agent holds back the upstream, once it has been given something.
    if (!this.#connection.flushSoon() && !this.#isOver) this.#upstream?.pause();
  }

  onAgentDrain(): void {
    this.#scrubbing?.resume();
    this.#upstream?.resume();
  }

  onAnswerEnd(): void {
    if (this.#isOver) return;
    const upstream = this.#upstream;
    this.#upstream = undefined;
    const { origin } = this.#decision;
    if (upstream?.isReusable && origin && this.#connection.isRequestComplete) {
      upstream.resume();
      this.#pool.release(origin.key, upstream);
    } else upstream?.destroy();
    if (this.#held !== undefined) this.#held.end();
    else this.#endAnswer();
  }

  #endAnswer(): void {
    if (this.#scrubbing === undefined) this.relayEnd();
    else this.#scrubbing.end();
  }

  // --- another credential -----------------------------------------------------------------------------------------

  /** Once, and only a request that can be said again in the same words. */
  #mayRenew(framing: Framing): boolean {
    return (
      this.#decision.canRenew &&
      !this.#hasRenewed &&
      !HeldAnswer.isTooLong(framing) &&
      this.#substitution === undefined &&
      this.#connection.isRequestComplete &&
      this.#request?.isKept === true
    );
  }

  sayAgain(): void {
    this.#wasSaidAgain = true;
    this.#upstreamMs = null;
    const { rules, scrub } = this.#decision.treatment;
    this.#held = undefined;
    this.#request = this.#request?.withRules(rules);
    if (scrub !== undefined) this.#scrubbing = new AnswerScrubbing(scrub, this);
    this.#dialAndSend(false).catch((cause: unknown) => this.#refuse(cause));
  }

  onRenewalFailure(error: unknown): void {
    this.#context.log.error("proxy_failure", { requestId: this.requestId, error });
  }

  passOn({ head, framing, chunks, trailers, isComplete }: HeldAnswer): void {
    this.#held = undefined;
    this.#answerWith(head, framing);
    for (const chunk of chunks) this.onAnswerBody(chunk);
    if (trailers !== undefined) this.onAnswerTrailers(trailers);
    if (isComplete && !this.#isOver) this.#endAnswer();
    this.onAnswerBatch();
  }

  // --- relaying, after scrubbing where that is done ---------------------------------------------------------------

  relayHead(head: ResponseHead, framing: Framing): void {
    const { head: request } = this.#inbound;
    const isKept = keepsAlive(request) && this.#connection.isRequestComplete;
    this.#answer.start(head, framing, {
      stripsCookies: this.#decision.plan?.stripsCookies ?? true,
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
    return this.#connection.flush();
  }

  onScrubDrain(): void {
    this.#upstream?.resume();
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
    let rewriters: MessageRewriters | undefined;
    let shown = head;
    try {
      rewriters = this.#inspection?.rewriters(head);
      shown = this.#scrubbing?.informational(head) ?? head;
    } catch (error) {
      this.#refuse(error);
      return;
    }
    this.#answer.status = 101;
    this.#upgrade = new Upgrade({
      connection: this.#connection,
      upstream,
      head: shown,
      early,
      rewriters,
      stripsCookies: this.#decision.plan?.stripsCookies ?? true,
      deadlines: this.#context.deadlines,
      idleMs: this.#context.timeouts.websocketIdleMs,
      onEnd: (upgrade, failure) => this.#onUpgradeEnd(upgrade, failure),
    });
  }

  #onUpgradeEnd(upgrade: Upgrade, failure: Error | undefined): void {
    this.#upgrade = upgrade;
    if (failure !== undefined && !(failure instanceof AppError)) {
      this.#context.log.error("proxy_failure", { requestId: this.requestId, error: failure });
    }
    const code = failure === undefined ? "" : failure instanceof AppError ? failure.code : "internal";
    this.#finish(101, upgrade.endCode || code);
  }

  get kind(): OpenKind {
    if (this.#upgrade) return "websocket";
    return this.#decision.admission.isStream ? "event_stream" : "request";
  }

  // --- staying allowed --------------------------------------------------------------------------------------------

  get lease(): ScopeLease | undefined {
    return this.#decision.lease;
  }

  recheck(snapshot: VaultSnapshot): void {
    try {
      this.#decision.recheck(snapshot);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.#end(error, error.code);
    }
  }

  revoke(error: AppError): void {
    this.#end(error, "revoked");
  }

  leave(): void {
    this.#upgrade?.leave();
  }

  /** @param code for the journal, where the answer cannot say it any more. */
  #end(error: AppError, code: string): void {
    if (this.#isOver) return;
    if (this.#upgrade) this.#upgrade.revoke(code);
    else if (this.#answer.hasStarted) this.#abort(code);
    else this.#refuse(error);
  }

  // --- failing ----------------------------------------------------------------------------------------------------

  onFailure(error: UpstreamFailed, resetCode?: number): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    if (this.#isOver) return;
    if (this.#answer.hasStarted) {
      this.#abort("upstream_aborted", resetCode);
      return;
    }
    if (!this.#mayReplay(upstream)) {
      // A stream that ends with a code of its own ends with that code here.
      if (resetCode === undefined) this.#refuse(error);
      else this.#abort("upstream_aborted", resetCode);
      return;
    }
    this.#hasReplayed = true;
    this.#dialAndSend(true).catch((cause: unknown) => this.#refuse(cause));
  }

  #mayReplay(upstream: UpstreamSide | undefined): boolean {
    if (upstream === undefined || this.#hasReplayed || upstream.hasAnswered || this.#request === undefined)
      return false;
    if (upstream.isUnprocessed) return this.#request.isKept;
    return upstream.isReused && this.#request.isReplayable;
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

  onAgentGone(code?: number): void {
    this.#upstream?.abandon(code);
    this.#upstream = undefined;
    if (!this.#isOver) this.#finish(this.#answer.status || 499, "client_aborted");
  }

  onDeadline(): void {
    if (this.#pace !== undefined && this.#idleAtMs > this.#context.deadlines.now) this.#checkPace(this.#pace);
    else this.#expire();
  }

  #expire(): void {
    if (this.#held !== undefined) this.#held.giveUp();
    else if (this.#answer.hasStarted) this.#abort("idle_timeout");
    else if (!this.#connection.isRequestComplete && this.acceptsBody) {
      this.#refuse(new RefusedRequest(408, "request_timeout", "The request body stopped arriving"));
    } else {
      this.#refuse(new UpstreamFailed("upstream_timeout", "The upstream did not answer in time", { status: 504 }));
    }
  }

  /** The answer is under way and cannot be completed: the agent must see that it is cut short. */
  #abort(code: string, resetCode?: number): void {
    if (this.#isOver) return;
    this.#upstream?.abandon();
    this.#upstream = undefined;
    this.#finish(this.#answer.status || 502, code);
    this.#connection.abort(resetCode);
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
    this.#connection.refuse(refusal);
    if (this.#decision.lease === undefined)
      this.#refusedScope = this.#context.refusedTokens.scopeFor(error, this.#startedAtMs);
    this.#finish(refusal.status, error instanceof ProxyLimited ? error.journalCode : refusal.code);
    this.#connection.done(closes);
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
    const source = this.#answer.hasStarted ? this.#upstream : this.#connection;
    if (this.#paceBytes >= pace.leastBytes || source?.isPaused) {
      this.#paceBytes = 0;
      this.#paceEndMs = this.#context.deadlines.now + pace.windowMs;
      this.#connection.deadlineMs = Math.min(this.#idleAtMs, this.#paceEndMs);
    } else if (this.#answer.hasStarted) this.#abort("answer_too_slow");
    else this.#refuse(new RefusedRequest(408, "body_too_slow", "The request body arrives too slowly"));
  }

  #finish(status: number, code: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#held?.drop();
    this.#scrubbing?.stop();
    const { admission, lease, plan, path } = this.#decision;
    admission.leave();
    this.#context.open.remove(this);
    this.#context.outboxes.leave();
    const scope = lease?.scope ?? this.#refusedScope;
    const { head, route } = this.#inbound;
    const authentication = sniffAuthentication(head.fields);
    const entry: JournalEntry = {
      requestId: this.requestId,
      vaultId: scope?.vaultId ?? "",
      actorType: scope?.actorType ?? "",
      actorId: scope?.actorId ?? "",
      sessionId: scope?.sessionId ?? "",
      method: head.method,
      scheme: route.scheme,
      host: route.authority,
      path,
      matchedService: plan?.service?.name ?? "",
      credentialKeys: plan?.credentialKeys ?? noKeys,
      status,
      errorCode: this.#refusedScope === undefined ? journalCodeOf(code) : code,
      authScheme: authentication.scheme,
      authHeader: authentication.header,
      clientIp: this.#connection.clientIp,
      bytesIn: this.#receivedBytes + (this.#upgrade?.bytesIn ?? 0),
      bytesOut: this.#answer.bytes + (this.#upgrade?.bytesOut ?? 0),
      startedAtMs: this.#startedAtMs,
      latencyMs: Math.round(performance.now() - this.#startedAt),
      upstreamMs: this.#upstreamMs === null ? null : Math.round(this.#upstreamMs),
      scrubbed: this.#scrubbing && findingOf(this.#scrubbing, this.#upgrade),
      protocol: this.#connection.isMultiplexed ? "h2" : head.minor === 0 ? "http/1.0" : undefined,
      details: this.#details,
    };
    this.#context.metrics.request(scope, plan, entry, this.#upstreamMs);
    recordExchange(this.#context, scope, entry);
    if (this.#context.tracing !== undefined) this.#trace(this.#context.tracing, entry);
  }

  /** Undefined for a request that found a place and a connection at once, as nearly all do. */
  get #details(): EntryDetails | undefined {
    const { queueMs } = this.#decision;
    const isUnanswered = this.#sentAt !== 0 && this.#upstreamMs === null && this.#dial === undefined;
    const isRetried = this.#hasReplayed || this.#wasSaidAgain;
    if (this.#dial === undefined && queueMs === 0 && !isRetried && !isUnanswered) return undefined;
    return {
      ...(queueMs > 0 && { queueMs }),
      ...(this.#dial && { dial: this.#dial }),
      ...(isUnanswered && { isUnanswered }),
      ...(isRetried && { isRetried }),
    };
  }

  #trace(tracing: Tracing, entry: JournalEntry): void {
    const { head, route } = this.#inbound;
    const { lease, plan } = this.#decision;
    traceExchange(tracing, head.fields, {
      requestId: entry.requestId,
      scope: lease?.scope,
      service: plan?.service?.name,
      method: head.method,
      protocolVersion: this.#connection.isMultiplexed ? "2" : `1.${head.minor}`,
      route,
      path: entry.path,
      status: entry.status,
      errorCode: entry.errorCode,
      clientIp: entry.clientIp,
      bytesIn: entry.bytesIn,
      bytesOut: entry.bytesOut,
      startedAtMs: this.#startedAtMs,
      totalMs: performance.now() - this.#startedAt,
      sentAfterMs: this.#sentAt === 0 ? undefined : this.#sentAt - this.#startedAt,
      firstByteMs: this.#upstreamMs ?? undefined,
      dial: this.#dial,
      isRetried: this.#hasReplayed || this.#wasSaidAgain,
    });
  }
}

const noKeys: readonly string[] = [];
/** Only what has no length can go on and on. */
function isEventStream({ fields }: ResponseHead, framing: Framing): boolean {
  if (framing.kind === "length" || framing.kind === "none") return false;
  const line = fields.lineOf(Field.contentType);
  return line !== -1 && fields.startsWith(line, "text/event-stream");
}
