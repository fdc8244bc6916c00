import type { HeaderList } from "../http1/fields.ts";
import { ByteQueue } from "./byte-queue.ts";
import { ErrorCode, type Http2StreamError } from "./http2-error.ts";
import type { Session } from "./session.ts";

/** Whoever reads one stream. Calls come in this order; after `onEnd` or `onReset` only `onDrain` may come. */
export interface StreamOwner {
  /** An answer, 1xx included, where we are the client. Undefined when it is larger than allowed. */
  onAnswerFields(fields: HeaderList | undefined, endsStream: boolean): void;
  onData(chunk: Buffer): void;
  /** Undefined when they are larger than allowed. */
  onTrailers(fields: HeaderList | undefined): void;
  /** The peer has said all. */
  onEnd(): void;
  /** The stream is over before its time: by the peer, by an error on it, or with its connection. */
  onReset(reset: StreamReset): void;
  /** More can be sent. */
  onDrain(): void;
  /** The bytes of one event are through: write what they produced. */
  onBatch(): void;
  /** The last byte was written. */
  onSent(): void;
}

export interface StreamReset {
  readonly code: number;
  /** `peer`: RST_STREAM. `connection`: it broke, or ended. `error`: the peer broke a rule on this stream. */
  readonly by: "peer" | "connection" | "error";
  /** The peer promises that it has done nothing about this stream. */
  readonly isUnprocessed: boolean;
}

/** What may wait in a stream for its window before its source is stopped, and when it may go on. */
const maxWaitingBytes = 64 * 1024;
const fewWaitingBytes = 16 * 1024;

/** One stream of a session: a request and its answer (RFC 9113, section 5). */
export class Http2Stream {
  readonly id: number;
  owner: StreamOwner | undefined;
  /** What we may send. May be negative after a change of settings. */
  sendWindow: number;
  /** What the peer may send. */
  receiveWindow: number;
  /** Has the peer said all it has to say? */
  isRemoteClosed = false;
  /** Have we? */
  isLocalClosed = false;
  /** Bytes of DATA that the peer announced and did not send, or sent beyond; undefined where it announced nothing. */
  expectedBytes: number | undefined;
  /** A client's: the final head of the answer has come. */
  hasFinalHead = false;
  /** Something came for it in this event. */
  isTouched = false;
  readonly #session: Session;
  readonly #initialReceiveWindow: number;
  readonly #waiting = new ByteQueue();
  /** What comes behind the bytes that wait: nothing yet, the end, or trailers and the end. */
  #tail: "open" | "end" | HeaderList = "open";
  #isSlow = false;
  #isFinishing = false;
  #isPaused = false;
  readonly #held = new ByteQueue();
  #heldEnd: { readonly trailers: HeaderList | undefined; readonly hasTrailers: boolean } | undefined;
  #consumed = 0;

  constructor(session: Session, id: number, windows: { readonly send: number; readonly receive: number }) {
    this.#session = session;
    this.id = id;
    this.sendWindow = windows.send;
    this.receiveWindow = windows.receive;
    this.#initialReceiveWindow = windows.receive;
  }

  get isOver(): boolean {
    return this.isRemoteClosed && this.isLocalClosed;
  }

  // --- sending ----------------------------------------------------------------------------------------------------

  /** A head, at once. @param isSecret names whose values nobody behind may index. */
  sendFields(fields: HeaderList, endsStream: boolean, isSecret?: (name: string) => boolean): void {
    if (this.isLocalClosed) return;
    this.#session.output.fields(this, fields, endsStream, isSecret);
    if (endsStream) this.#closeLocal();
  }

  /** Bytes of the body; they leave with the next `flush`, as the windows allow. */
  sendData(chunk: Buffer): void {
    if (this.isLocalClosed || this.#tail !== "open" || chunk.length === 0) return;
    this.#waiting.push(chunk);
    this.#session.output.hasMore(this);
  }

  /** @param trailers behind the body; none when empty. */
  sendEnd(trailers: HeaderList = []): void {
    if (this.isLocalClosed || this.#tail !== "open") return;
    this.#tail = trailers.length === 0 ? "end" : trailers;
    this.#session.output.hasMore(this);
  }

  /** Has everything that was given to it been sent? */
  get isSent(): boolean {
    return this.isLocalClosed || (this.#waiting.length === 0 && this.#tail === "open");
  }

  /** Writes what can be written. False when the peer is slow: stop producing until `onDrain`. */
  flush(): boolean {
    const isWriting = this.#session.output.flush();
    if (this.#waiting.length > maxWaitingBytes || (!isWriting && this.#waiting.length > 0)) this.#isSlow = true;
    return !this.#isSlow;
  }

  /** For the session: sends one frame. False when nothing can be sent now. @param maxBytes of data. */
  pump(maxBytes: number): boolean {
    if (this.isLocalClosed) return false;
    const waiting = this.#waiting;
    if (waiting.length === 0) return this.#pumpTail();
    const most = Math.min(this.sendWindow, maxBytes);
    if (most <= 0) return false;
    const bytes = waiting.shift(most);
    const ends = waiting.length === 0 && this.#tail === "end";
    this.sendWindow -= bytes.length;
    this.#session.output.data(this, bytes, ends);
    if (ends) this.#closeLocal();
    return true;
  }

  #pumpTail(): boolean {
    const tail = this.#tail;
    if (tail === "open") return false;
    if (tail === "end") this.#session.output.data(this, undefined, true);
    else this.#session.output.fields(this, tail, true);
    this.#closeLocal();
    return true;
  }

  get canPump(): boolean {
    if (this.isLocalClosed) return false;
    return this.#waiting.length > 0 ? this.sendWindow > 0 : this.#tail !== "open";
  }

  /** For the session: bytes have left, or windows have grown. */
  relieve(): void {
    if (!this.#isSlow || this.#waiting.length > fewWaitingBytes) return;
    this.#isSlow = false;
    this.owner?.onDrain();
  }

  #closeLocal(): void {
    this.isLocalClosed = true;
    this.#waiting.clear();
    this.owner?.onSent();
    if (this.#isFinishing && !this.isRemoteClosed) this.#session.resetStream(this, ErrorCode.noError);
    else this.#session.closeIfOver(this);
  }

  /**
   * Everything that is to be said was given to it. What the peer still has to say is not wanted: it is told so once the
   * last byte has left (RFC 9113, section 8.1).
   */
  finish(): void {
    this.#isFinishing = true;
    this.resume();
    if (this.isLocalClosed && !this.isRemoteClosed) this.#session.resetStream(this, ErrorCode.noError);
  }

  // --- receiving --------------------------------------------------------------------------------------------------

  /** Stops handing over what arrives; the peer may go on for one window. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.#held.length === 0 && this.#heldEnd === undefined) return;
    while (this.#held.length > 0 && !this.#isPaused) this.#handOver(this.#held.shift(this.#held.length));
    if (this.#held.length === 0 && !this.#isPaused) {
      const end = this.#heldEnd;
      this.#heldEnd = undefined;
      if (end !== undefined) this.#handOverEnd(end.hasTrailers, end.trailers);
    }
    // This is between two events, or within one of another connection.
    this.owner?.onBatch();
    if (!this.#session.isReading) this.#session.output.flush();
  }

  /** Takes back what was just handed over, until `resume`. */
  hold(chunk: Buffer): void {
    this.#isPaused = true;
    this.#held.push(chunk);
    this.#consumed -= chunk.length;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** For the session: bytes of DATA. */
  receive(chunk: Buffer): void {
    if (this.#isPaused || this.#held.length > 0) this.#held.push(chunk);
    else this.#handOver(chunk);
  }

  /** For the session: the peer has said all. */
  receiveEnd(hasTrailers: boolean, trailers: HeaderList | undefined): void {
    this.isRemoteClosed = true;
    if (this.#isPaused || this.#held.length > 0) this.#heldEnd = { hasTrailers, trailers };
    else this.#handOverEnd(hasTrailers, trailers);
    this.#session.closeIfOver(this);
  }

  /** For the session: bytes that nobody wants, such as padding, give back their window as well. */
  consume(bytes: number): void {
    this.#consumed += bytes;
    if (this.isRemoteClosed || this.#consumed < this.#initialReceiveWindow / 2) return;
    this.receiveWindow += this.#consumed;
    this.#session.output.windowUpdate(this.id, this.#consumed);
    this.#consumed = 0;
  }

  #handOver(chunk: Buffer): void {
    this.consume(chunk.length);
    this.owner?.onData(chunk);
  }

  #handOverEnd(hasTrailers: boolean, trailers: HeaderList | undefined): void {
    if (hasTrailers) this.owner?.onTrailers(trailers);
    this.owner?.onEnd();
  }

  // --- ending -----------------------------------------------------------------------------------------------------

  /** Ends it from here. The owner hears nothing more. */
  reset(code: number = ErrorCode.cancel): void {
    this.owner = undefined;
    if (this.isOver) return;
    this.#session.resetStream(this, code);
  }

  /** The peer broke a rule on it, as it turned out now. */
  fail(error: Http2StreamError): void {
    this.#session.failStream(this, error);
  }

  /** For the session: it is over, and the owner hears of it where it did not end by itself. */
  end(reset: StreamReset): void {
    const { owner } = this;
    this.owner = undefined;
    this.isLocalClosed = true;
    this.isRemoteClosed = true;
    this.#waiting.clear();
    this.#held.clear();
    owner?.onReset(reset);
  }
}
