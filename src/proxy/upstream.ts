import type { Socket } from "node:net";
import { UpstreamFailed } from "../errors.ts";
import { type DialTimings, timingsOf } from "../net/outbound.ts";
import type { Expiring } from "./deadlines.ts";
import { type RequestOptions, writeRequestHead } from "./headers.ts";
import { BodyReader } from "./http1/body.ts";
import { Field } from "./http1/field-names.ts";
import type { HeaderList } from "./http1/fields.ts";
import { type Framing, keepsAlive, responseFraming } from "./http1/framing.ts";
import { FramingError } from "./http1/framing-error.ts";
import { type RequestHead, ResponseHead } from "./http1/head.ts";
import { HeadReader } from "./http1/head-reader.ts";
import { chunkEnd, chunkPrefix, lastChunk } from "./http1/serialize.ts";
import type { Outbox } from "./outbox.ts";
import type { Outboxes } from "./outboxes.ts";
import type { UpstreamSide } from "./sides.ts";

/** Whoever waits for an answer. A head is good until the call returns: it is used again for the next answer. Calls come in this order; after `onAnswerEnd` or `onFailure` there are none. */
export interface UpstreamUser {
  onInformational(head: ResponseHead): void;
  /** 101: from here on the socket is the user's, which takes it with `detach`. */
  onSwitch(head: ResponseHead, early: Buffer): void;
  onAnswer(head: ResponseHead, framing: Framing): void;
  onAnswerBody(chunk: Buffer): void;
  onAnswerTrailers(trailers: HeaderList): void;
  onAnswerEnd(): void;
  /** @param resetCode where the upstream ended the stream with one. */
  onFailure(error: UpstreamFailed, resetCode?: number): void;
  /** Something threw that nobody expected, a bug of ours: this connection is gone, and so should the agent's be. */
  onCrash(error: unknown): void;
  /** The bytes of one event are through: write what they produced. */
  onAnswerBatch(): void;
  /** The upstream takes more of the request. */
  onUpstreamDrain(): void;
}

/** Large tokens and policies travel in headers; nothing honest comes near this. */
const headLimits = { maxBytes: 256 * 1024, maxHeaders: 1000 };
/** A 1xx costs the upstream nothing and the agent a wake-up. */
const maxInformational = 32;

/** One connection to an upstream: a request and its answer at a time. */
export class UpstreamConnection implements UpstreamSide, Expiring {
  /** HTTP/1 has no way to promise that. */
  readonly isUnprocessed = false;
  readonly mayRefuseStreams = false;
  readonly socket: Socket;
  readonly out: Outbox;
  deadlineMs = Number.POSITIVE_INFINITY;
  /** Has it carried an answer before? Only then may its death be blamed on idling. */
  isReused = false;
  /** Has anything arrived for the current request? */
  hasAnswered = false;
  readonly #reader = new HeadReader(headLimits);
  #user: UpstreamUser | undefined;
  readonly #head = new ResponseHead();
  readonly #body: BodyReader;
  #method = "";
  #isInBody = false;
  #informational = 0;
  #isReusable = false;
  #isDetached = false;

  constructor(socket: Socket, outboxes: Outboxes) {
    this.socket = socket;
    this.out = outboxes.for(socket);
    this.#body = new BodyReader({
      data: (data) => this.#user?.onAnswerBody(data),
      trailers: (trailers) => this.#user?.onAnswerTrailers(trailers),
    });
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("drain", this.#onDrain);
    socket.on("close", () => this.#fail("upstream_closed", "The upstream closed the connection before it answered"));
    socket.on("error", () => this.#fail("upstream_closed", "The connection to the upstream broke"));
  }

  get timings(): DialTimings | undefined {
    return timingsOf(this.socket);
  }

  /** Can another request be sent? */
  get isAlive(): boolean {
    return !this.socket.destroyed && this.socket.writable && !this.#isDetached;
  }

  /** The last answer was complete and allows another. */
  get isReusable(): boolean {
    return this.#isReusable && this.isAlive;
  }

  begin(user: UpstreamUser, method: string): void {
    this.#user = user;
    this.#method = method;
    this.#isInBody = false;
    this.#informational = 0;
    this.#isReusable = false;
    this.hasAnswered = false;
  }

  writeHead(head: RequestHead, options: RequestOptions): void {
    writeRequestHead(this.out, head, options);
  }

  writeBody(chunk: Buffer, isChunked: boolean): void {
    if (isChunked) this.out.text(chunkPrefix(chunk.length));
    this.out.bytes(chunk);
    if (isChunked) this.out.text(chunkEnd);
  }

  writeEnd(trailers: HeaderList, isChunked: boolean): void {
    if (isChunked) this.out.text(lastChunk(trailers));
  }

  flush(): boolean {
    return this.out.flush();
  }

  flushSoon(): boolean {
    return this.out.flushSoon();
  }

  get isPaused(): boolean {
    return this.socket.isPaused();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    if (this.socket.isPaused()) this.socket.resume();
  }

  /** The user loses interest: nothing more is reported. */
  abandon(): void {
    this.#user = undefined;
    this.destroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  onDeadline(): void {
    this.destroy();
  }

  /** Hands over the raw socket, without any of our listeners but one that keeps an error from being thrown. */
  detach(): Socket {
    this.#isDetached = true;
    this.#user = undefined;
    this.socket.removeListener("data", this.#onData);
    this.socket.removeListener("end", this.#onEnd);
    this.socket.removeListener("drain", this.#onDrain);
    return this.socket;
  }

  readonly #onDrain = (): void => this.#user?.onUpstreamDrain();

  readonly #onData = (chunk: Buffer): void => {
    const user = this.#user;
    if (!user) {
      // Nobody asked: an answer to nothing must never become the answer to the next request.
      this.destroy();
      return;
    }
    this.hasAnswered = true;
    try {
      this.#readOrFail(user, chunk);
    } catch (error) {
      this.#crash(user, error);
    }
  };

  /** @throws whatever is not about the framing of the answer. */
  #readOrFail(user: UpstreamUser, chunk: Buffer): void {
    try {
      this.#read(user, chunk);
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      this.#fail("upstream_bad_answer", `The upstream's answer breaks HTTP/1.1: ${error.message}`, error);
      return;
    }
    user.onAnswerBatch();
  }

  #read(user: UpstreamUser, chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#user === user) {
      if (this.#isInBody) at += this.#body.push(at === 0 ? chunk : chunk.subarray(at));
      else {
        const used = this.#reader.push(chunk, at);
        if (used === -1) return;
        at += used;
        this.#readHead(user, chunk, at);
      }
      if (this.#isInBody && this.#body.done && this.#user === user) this.#finish(user, at < chunk.length);
    }
  }

  /** @param at where the bytes behind the head start. */
  #readHead(user: UpstreamUser, chunk: Buffer, at: number): void {
    const head = this.#head;
    head.parse(this.#reader.bytes, 0, this.#reader.end);
    this.#reader.reset();
    const framing = responseFraming(head, this.#method);
    if (head.status === 101) {
      user.onSwitch(head, chunk.subarray(at));
      return;
    }
    if (head.status < 200) {
      this.#informational += 1;
      if (this.#informational > maxInformational) {
        this.#fail("upstream_bad_answer", "The upstream sent too many informational answers");
        return;
      }
      user.onInformational(head);
      return;
    }
    this.#isReusable = keepsAlive(head) && framing.kind !== "close" && !announcesForbiddenBody(head);
    this.#isInBody = true;
    this.#body.begin(framing);
    user.onAnswer(head, framing);
  }

  #finish(user: UpstreamUser, hasSurplus: boolean): void {
    if (hasSurplus) this.#isReusable = false;
    this.#user = undefined;
    this.#isInBody = false;
    this.#head.fields.release();
    this.isReused = true;
    user.onAnswerEnd();
  }

  readonly #onEnd = (): void => {
    const user = this.#user;
    if (!user || !this.#isInBody) {
      this.#fail("upstream_closed", "The upstream closed the connection before it answered");
      this.destroy();
      return;
    }
    try {
      this.#body.end();
    } catch {
      this.#fail("upstream_aborted", "The upstream closed the connection in the middle of its answer");
      return;
    }
    try {
      this.#finish(user, false);
      user.onAnswerBatch();
    } catch (error) {
      this.#crash(user, error);
    }
  };

  /** An exception that leaves a socket's event would end the process. */
  #crash(user: UpstreamUser, error: unknown): void {
    this.#user = undefined;
    this.destroy();
    user.onCrash(error);
  }

  #fail(code: string, message: string, cause?: unknown): void {
    const user = this.#user;
    this.#user = undefined;
    this.destroy();
    user?.onFailure(new UpstreamFailed(code, message, { cause }));
  }
}

/** A 204 that announces a body may well send one, late enough to pass for the answer to the next request. */
function announcesForbiddenBody({ status, fields }: ResponseHead): boolean {
  if (status !== 204) return false;
  return fields.has(Field.transferEncoding) || (fields.valueOf(Field.contentLength) ?? "0") !== "0";
}
