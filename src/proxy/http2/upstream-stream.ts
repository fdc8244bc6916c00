import type { Socket } from "node:net";
import { UpstreamFailed } from "../../errors.ts";
import type { DialTimings } from "../../net/outbound.ts";
import type { RequestOptions } from "../headers.ts";
import type { HeaderList } from "../http1/fields.ts";
import { FramingError } from "../http1/framing-error.ts";
import type { RequestHead } from "../http1/head.ts";
import type { UpstreamSide } from "../sides.ts";
import type { UpstreamUser } from "../upstream.ts";
import { readAnswer } from "./answer-fields.ts";
import { inLowerCase, readTrailers } from "./field-rules.ts";
import { isSecretName } from "./hpack-encoder.ts";
import { ErrorCode, Http2StreamError } from "./http2-error.ts";
import { requestFields } from "./request-fields.ts";
import type { Http2Stream, StreamOwner, StreamReset } from "./stream.ts";
import type { UpstreamSession } from "./upstream-session.ts";

/** A 1xx costs the upstream nothing and the agent a wake-up. */
const maxInformational = 32;

/** The upstream's side of one exchange on a connection of HTTP/2 that it shares with others. */
export class UpstreamStream implements UpstreamSide, StreamOwner {
  readonly mayRefuseStreams = true;
  readonly isReused: boolean;
  readonly timings: DialTimings | undefined;
  hasAnswered = false;
  isUnprocessed = false;
  /** Its connection takes other streams anyway. */
  readonly isReusable = false;
  readonly #session: UpstreamSession;
  #stream: Http2Stream | undefined;
  #user: UpstreamUser | undefined;
  #method = "";
  #informational = 0;
  /** A place on the connection is kept for it. */
  #holdsPlace = true;

  /** Holds a place on the connection until it is used, or given back with `destroy`. */
  constructor(session: UpstreamSession) {
    this.#session = session;
    this.isReused = session.hasAnswered;
    this.timings = session.takeTimings();
    session.reserve();
  }

  begin(user: UpstreamUser, method: string): void {
    this.#user = user;
    this.#method = method;
  }

  writeHead(head: RequestHead, options: RequestOptions): void {
    const fields = requestFields(head, options);
    this.#giveBack();
    const stream = this.#session.open(this);
    if (stream === undefined) {
      // It left in between. Nothing was sent; the user is told when it has set itself up.
      queueMicrotask(() => this.onReset({ code: ErrorCode.refusedStream, by: "connection", isUnprocessed: true }));
      return;
    }
    this.#stream = stream;
    const { rules, hasBody } = options;
    stream.sendFields(fields, !hasBody, (name) => isSecretName(name) || rules.concerns(name));
  }

  writeBody(chunk: Buffer): void {
    this.#stream?.sendData(chunk);
  }

  writeEnd(trailers: HeaderList): void {
    this.#stream?.sendEnd(inLowerCase(trailers));
  }

  flush(): boolean {
    return this.#stream?.flush() ?? true;
  }

  flushSoon(): boolean {
    return this.flush();
  }

  get isPaused(): boolean {
    return this.#stream?.isPaused === true;
  }

  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#guarded(() => this.#stream?.resume());
  }

  abandon(code: number = ErrorCode.cancel): void {
    this.#user = undefined;
    this.#giveBack();
    this.#stream?.reset(code);
  }

  #giveBack(): void {
    if (!this.#holdsPlace) return;
    this.#holdsPlace = false;
    this.#session.unreserve();
  }

  destroy(): void {
    this.abandon();
  }

  detach(): Socket {
    throw new Error("HTTP/2 does not switch protocols");
  }

  // --- what the stream says ---------------------------------------------------------------------------------------

  onAnswerFields(fields: HeaderList | undefined, endsStream: boolean): void {
    this.hasAnswered = true;
    this.#guarded(() => {
      const { head, framing } = readAnswer(fields, this.#method, endsStream);
      if (head.status < 200) {
        this.#informational += 1;
        if (endsStream) throw new FramingError("bad_head", "An interim answer ends the stream");
        if (this.#informational > maxInformational) {
          throw new FramingError("bad_head", "The upstream sent too many informational answers");
        }
        this.#user?.onInformational(head);
        return;
      }
      const stream = this.#stream;
      if (stream === undefined) return;
      stream.hasFinalHead = true;
      stream.expectedBytes = framing.kind === "none" ? 0 : framing.kind === "length" ? framing.length : undefined;
      this.#user?.onAnswer(head, framing);
    });
  }

  onData(chunk: Buffer): void {
    this.#guarded(() => this.#user?.onAnswerBody(chunk));
  }

  onTrailers(fields: HeaderList | undefined): void {
    this.#guarded(() => this.#user?.onAnswerTrailers(readTrailers(fields)));
  }

  onEnd(): void {
    const user = this.#user;
    if (user === undefined) return;
    if (this.#stream?.hasFinalHead !== true) {
      this.#fail("upstream_bad_answer", "The upstream ended a stream without an answer");
      return;
    }
    this.#session.hasAnswered = true;
    this.#user = undefined;
    // Paused, it may be read after its event.
    this.#guardedFor(user, () => {
      user.onAnswerEnd();
      user.onAnswerBatch();
    });
  }

  onReset({ code, by, isUnprocessed }: StreamReset): void {
    this.isUnprocessed = isUnprocessed;
    if (by === "error") this.#fail("upstream_bad_answer", "The upstream's answer breaks HTTP/2");
    else if (by === "peer" && !isUnprocessed) this.#fail("upstream_reset", "The upstream ended the stream", code);
    else this.#fail("upstream_closed", "The connection to the upstream ended");
  }

  onDrain(): void {
    this.#guarded(() => this.#user?.onUpstreamDrain());
  }

  onBatch(): void {
    this.#guarded(() => this.#user?.onAnswerBatch());
  }

  onSent(): void {
    // The answer may still be long in coming.
  }

  /** A broken answer ends with its stream; a bug of ours as well, and no other stream notices. */
  #guarded(work: () => void): void {
    this.#guardedFor(this.#user, work);
  }

  #guardedFor(user: UpstreamUser | undefined, work: () => void): void {
    try {
      work();
    } catch (error) {
      const isBadAnswer = error instanceof FramingError || error instanceof Http2StreamError;
      this.#user = isBadAnswer ? this.#user : undefined;
      this.#stream?.reset(isBadAnswer ? ErrorCode.protocolError : ErrorCode.internalError);
      if (isBadAnswer) this.#fail("upstream_bad_answer", `The upstream's answer breaks HTTP/2: ${error.message}`);
      else user?.onCrash(error);
    }
  }

  #fail(code: string, message: string, resetCode?: number): void {
    const user = this.#user;
    this.#user = undefined;
    user?.onFailure(new UpstreamFailed(code, message), resetCode);
  }
}
