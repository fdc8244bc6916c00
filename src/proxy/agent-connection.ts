import type { Socket } from "node:net";
import type { AppError } from "../errors.ts";
import type { Deadlines, Expiring, ProxyTimeouts } from "./deadlines.ts";
import { writeAnswerHead } from "./headers.ts";
import { BodyReader } from "./http1/body.ts";
import type { HeaderList } from "./http1/fields.ts";
import { type Framing, requestFraming } from "./http1/framing.ts";
import { FramingError } from "./http1/framing-error.ts";
import { RequestHead, type ResponseHead } from "./http1/head.ts";
import { HeadReader } from "./http1/head-reader.ts";
import type { Outbox } from "./outbox.ts";
import type { Outboxes } from "./outboxes.ts";
import { type Refusal, RefusedRequest } from "./refusal.ts";
import { Http1Answer } from "./relay.ts";
import type { AgentSide } from "./sides.ts";

/** One request while it is served. It ends itself with `AgentConnection.done`. */
export interface RequestHandler {
  /** Can the body be taken now? While false its bytes are held back. */
  readonly acceptsBody: boolean;
  onBody(chunk: Buffer): void;
  onTrailers(trailers: HeaderList): void;
  onRequestEnd(): void;
  /** The bytes of one event are through: write what they produced. */
  onRequestBatch(): void;
  /** The agent takes more of the answer. */
  onAgentDrain(): void;
  /** The body is malformed; nothing more of this connection is read. */
  onBadBody(error: AppError): void;
  /** The agent is gone, or wants no answer any more. @param code why, where HTTP/2 says it. */
  onAgentGone(code?: number): void;
  /** `deadlineMs` has passed. */
  onDeadline(): void;
}

export interface RequestServer {
  /**
   * Starts to serve a request; undefined when it is already answered or the socket was taken over. The head is good
   * until `AgentConnection.done`: it is used again for the next request.
   */
  serve(head: RequestHead, framing: Framing, connection: AgentConnection): RequestHandler | undefined;
  /** A head that cannot be read, or did not come in time. Answers and closes. */
  refuse(error: unknown, connection: AgentConnection): void;
  /** Something threw that nobody expected: notes it. The connection closes by itself. */
  crashed(error: unknown): void;
}

const headLimits = { maxBytes: 256 * 1024, maxHeaders: 500 };
/** Bytes of the next request that are read ahead while one is served; beyond, the agent waits. */
const maxHeldBytes = 64 * 1024;

/** The agent's side: one socket, its requests one after the other, pipelined ones held until their turn. */
export class AgentConnection implements AgentSide, Expiring {
  readonly isMultiplexed = false;
  readonly socket: Socket;
  readonly out: Outbox;
  readonly clientIp: string;
  deadlineMs: number;
  readonly #server: RequestServer;
  readonly #deadlines: Deadlines;
  readonly #timeouts: ProxyTimeouts;
  readonly #reader = new HeadReader(headLimits);
  readonly #head = new RequestHead();
  readonly #body: BodyReader;
  #handler: RequestHandler | undefined;
  /** The end of the current body will never be known. */
  #isBodyBroken = false;
  #held: Buffer | undefined;
  #isReading = false;
  /** Answers wait for the agent to read them: until it does, nothing more is served. */
  #isOwed = false;
  /** `lingering`: answered, and the rest of a request is read and dropped so that the answer is not reset away. */
  #state: "open" | "lingering" | "taken" | "closed" = "open";
  #drains = false;

  constructor(options: {
    readonly socket: Socket;
    readonly clientIp: string;
    readonly server: RequestServer;
    readonly deadlines: Deadlines;
    readonly timeouts: ProxyTimeouts;
    readonly outboxes: Outboxes;
  }) {
    const { socket } = options;
    this.socket = socket;
    this.clientIp = options.clientIp;
    this.out = options.outboxes.for(socket);
    this.#body = new BodyReader({
      data: (data) => this.#handler?.onBody(data),
      trailers: (trailers) => this.#handler?.onTrailers(trailers),
    });
    this.#server = options.server;
    this.#deadlines = options.deadlines;
    this.#timeouts = options.timeouts;
    this.deadlineMs = performance.now() + options.timeouts.requestHeadMs;
    options.deadlines.watch(this);
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("drain", this.#onDrain);
    socket.on("close", () => this.#onClose());
    socket.on("error", () => this.destroy());
  }

  /** Has the whole request arrived? */
  get isRequestComplete(): boolean {
    return this.#body.done;
  }

  /** Inside of a data event, whose output is written when it is through. */
  get isReading(): boolean {
    return this.#isReading;
  }

  get isDraining(): boolean {
    return this.#drains;
  }

  get isIdle(): boolean {
    return this.#handler === undefined && !this.#reader.started;
  }

  /** Stops reading until `resume`: the other side is slow. */
  get isPaused(): boolean {
    return this.socket.isPaused();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    if (this.#state === "open" && !this.#held) this.socket.resume();
  }

  /** The handler takes the body now: hands over what was held back. */
  releaseBody(): void {
    if (!this.#isReading) this.#readHeld();
  }

  /** The current request is answered; another may follow unless `closes` or its body never ended. */
  done(closes: boolean): void {
    this.#handler = undefined;
    if (this.#state !== "open") return;
    // Somebody who asks again and again and never reads would fill the memory with answers.
    this.#isOwed = !this.out.flush();
    if (!this.isRequestComplete) {
      this.#linger();
      return;
    }
    if (closes || this.#drains) {
      this.end();
      return;
    }
    this.#head.fields.release();
    this.deadlineMs = this.#deadlines.now + this.#timeouts.idleMs;
    if (this.#isOwed) this.socket.pause();
    else if (!this.#isReading && this.#held) this.#readHeld();
  }

  answerTo(head: RequestHead, maxBytes: number): Http1Answer {
    return new Http1Answer(this.out, head, maxBytes);
  }

  flush(): boolean {
    return this.out.flush();
  }

  flushSoon(): boolean {
    return this.out.flushSoon();
  }

  sendContinue(): void {
    this.out.text("HTTP/1.1 100 Continue\r\n\r\n");
    this.out.flush();
  }

  refuse(refusal: Refusal): void {
    this.out.text(refusal.text);
  }

  abort(): void {
    this.out.flush();
    this.destroy();
  }

  switchTo(head: ResponseHead, stripsCookies: boolean): { readonly socket: Socket; readonly early: Buffer } {
    writeAnswerHead(this.out, head, { stripsCookies, isChunked: false, dropsLength: true, connection: "Upgrade" });
    const early = this.takeOver();
    this.out.flush();
    return { socket: this.socket, early };
  }

  /** Gives up the socket and whatever arrived behind the request. The new owner listens for everything but errors. */
  takeOver(): Buffer {
    const early = this.#held ?? Buffer.alloc(0);
    this.#held = undefined;
    this.#state = "taken";
    this.#handler = undefined;
    this.#deadlines.forget(this);
    this.socket.removeListener("data", this.#onData);
    this.socket.removeListener("end", this.#onEnd);
    this.socket.removeListener("drain", this.#onDrain);
    return early;
  }

  /** No more requests: closes now when idle, else after the current answer. */
  drain(): void {
    this.#drains = true;
    if (this.#state === "open" && this.isIdle) this.end();
  }

  /** Closes after everything written has left. */
  end(): void {
    if (this.#state === "closed" || this.#state === "taken") return;
    this.out.flush();
    this.#state = "lingering";
    this.deadlineMs = this.#deadlines.now + this.#timeouts.lingerMs;
    this.socket.end();
  }

  destroy(): void {
    if (this.#state !== "taken") this.socket.destroy();
    this.#onClose();
  }

  /**
   * The last line of defence: what escapes from a socket's event ends the process and every other tenant with it. A
   * bug of ours costs the connection that found it.
   */
  crash(error: unknown): void {
    this.#server.crashed(error);
    this.socket.destroy();
    this.#onClose();
  }

  onDeadline(): void {
    try {
      this.#expire();
    } catch (error) {
      this.crash(error);
    }
  }

  #expire(): void {
    if (this.#handler) {
      this.#handler.onDeadline();
    } else if (this.#state === "open" && this.#reader.started) {
      this.#refuse(new RefusedRequest(408, "request_timeout", "The request head did not arrive in time"));
    } else {
      this.destroy();
    }
  }

  #onClose(): void {
    if (this.#state === "closed") return;
    const handler = this.#handler;
    this.#handler = undefined;
    if (this.#state !== "taken") this.#state = "closed";
    this.#deadlines.forget(this);
    handler?.onAgentGone();
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state !== "open") this.#drop(chunk);
    else if (this.#held) this.#hold(chunk);
    else this.#read(chunk);
  };

  /**
   * The agent closed its side. It may have meant "that was all" and still be listening, but so looks a program that was
   * killed, and on behalf of one that is gone nothing more is to be done with a credential. nginx decides the same way.
   */
  readonly #onEnd = (): void => this.destroy();

  readonly #onDrain = (): void => {
    const wasOwed = this.#isOwed;
    this.#isOwed = false;
    try {
      if (this.#handler) this.#handler.onAgentDrain();
      else if (wasOwed && this.#state === "open") this.#readHeld();
    } catch (error) {
      this.crash(error);
    }
  };

  /** While lingering: once the request has ended there is nothing left to wait for. */
  #drop(chunk: Buffer): void {
    if (this.#state !== "lingering" || this.#isBodyBroken || this.#body.done) return;
    try {
      this.#body.push(chunk);
    } catch {
      this.#isBodyBroken = true; // everything is dropped until the deadline
    }
    if (this.#body.done) this.socket.end();
  }

  #readHeld(): void {
    const held = this.#held;
    this.#held = undefined;
    this.socket.resume();
    if (held) this.#read(held);
  }

  #read(chunk: Buffer): void {
    try {
      this.#readOrRefuse(chunk);
      this.#handler?.onRequestBatch();
      this.out.flushSoon();
    } catch (error) {
      this.crash(error);
    }
  }

  /** @throws whatever is not about the framing of the message. */
  #readOrRefuse(chunk: Buffer): void {
    this.#isReading = true;
    try {
      this.#consume(chunk);
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.#refuse(error);
    } finally {
      this.#isReading = false;
    }
  }

  #consume(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#state === "open") {
      const handler = this.#handler;
      if (!handler) {
        if (this.#isOwed) {
          this.#hold(at === 0 ? chunk : chunk.subarray(at));
          return;
        }
        const wasStarted = this.#reader.started;
        const used = this.#reader.push(chunk, at);
        if (used === -1) {
          if (!wasStarted) this.deadlineMs = this.#deadlines.now + this.#timeouts.requestHeadMs;
          return;
        }
        at += used;
        this.#start();
        if (this.#state !== "open") return;
      } else if (this.isRequestComplete || !handler.acceptsBody) {
        this.#hold(at === 0 ? chunk : chunk.subarray(at));
        return;
      } else {
        at += this.#body.push(at === 0 ? chunk : chunk.subarray(at));
        if (this.#body.done) this.#onBodyEnd();
      }
    }
  }

  #onBodyEnd(): void {
    // A refusal in the middle of the body, whose end was in the same bytes: there is nothing left to wait for.
    if (this.#state === "lingering") this.socket.end();
    else this.#handler?.onRequestEnd();
  }

  #start(): void {
    const head = this.#head;
    head.parse(this.#reader.bytes, 0, this.#reader.end);
    this.#reader.reset();
    const framing = requestFraming(head);
    this.#body.begin(framing);
    const handler = this.#server.serve(head, framing, this);
    if (handler && this.#state === "open") this.#handler = handler;
  }

  #hold(chunk: Buffer): void {
    this.#held = this.#held ? Buffer.concat([this.#held, chunk]) : chunk;
    if (this.#held.length > maxHeldBytes || !this.isRequestComplete) this.socket.pause();
  }

  #refuse(error: FramingError | RefusedRequest): void {
    const handler = this.#handler;
    if (handler) handler.onBadBody(error);
    else this.#server.refuse(error, this);
  }

  /** An answer that overtook its request: dropping the rest for a while beats a reset that destroys the answer. */
  #linger(): void {
    this.#state = "lingering";
    this.#held = undefined;
    this.deadlineMs = this.#deadlines.now + this.#timeouts.lingerMs;
    this.socket.resume();
  }
}
