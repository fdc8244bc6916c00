import type { Duplex } from "node:stream";
import { AppError } from "../../errors.ts";
import type { RequestHandler } from "../agent-connection.ts";
import type { Expiring } from "../deadlines.ts";
import type { HeaderList } from "../http1/fields.ts";
import type { RequestHead, ResponseHead } from "../http1/head.ts";
import type { Refusal } from "../refusal.ts";
import type { AgentSide } from "../sides.ts";
import type { AgentSession } from "./agent-session.ts";
import { answerFields, fieldsOf } from "./answer-fields.ts";
import { readTrailers } from "./field-rules.ts";
import { grpcFields, isGrpc } from "./grpc.ts";
import { ErrorCode, enhanceYourCalm, Http2StreamError } from "./http2-error.ts";
import type { ReadRequest } from "./request-fields.ts";
import type { Http2Stream, StreamOwner, StreamReset } from "./stream.ts";
import { StreamAnswer } from "./stream-answer.ts";
import { StreamSocket } from "./stream-socket.ts";

/** The agent's side of one exchange on a connection of HTTP/2. */
export class AgentStream implements AgentSide, StreamOwner, Expiring {
  readonly isMultiplexed = true;
  readonly clientIp: string;
  deadlineMs = Number.POSITIVE_INFINITY;
  readonly #session: AgentSession;
  readonly #stream: Http2Stream;
  readonly #head: RequestHead | undefined;
  #handler: RequestHandler | undefined;
  /** `answered`: what is left of the answer waits for the agent. */
  #state: "open" | "answered" | "over" = "open";
  #isComplete: boolean;
  /** The end came while the body could not be taken. */
  #isEndHeld = false;

  /** @param head undefined when it could not be read. */
  constructor(session: AgentSession, stream: Http2Stream, request: ReadRequest | undefined) {
    this.#session = session;
    this.#stream = stream;
    this.clientIp = session.clientIp;
    this.#head = request?.head;
    // What comes behind the CONNECT of a WebSocket is no body.
    this.#isComplete = stream.isRemoteClosed || request?.isTunnel === true;
    if (request?.framing.kind === "length") stream.expectedBytes = request.framing.length;
    // Until somebody takes it, what comes waits in its window.
    if (!stream.isRemoteClosed) stream.pause();
    session.deadlines.watch(this);
  }

  /** The exchange is under way. */
  serveWith(handler: RequestHandler | undefined): void {
    if (this.#state === "open") this.#handler = handler;
  }

  get isRequestComplete(): boolean {
    return this.#isComplete;
  }

  get isReading(): boolean {
    return this.#session.isReading;
  }

  get isDraining(): boolean {
    return this.#session.isDraining;
  }

  get isPaused(): boolean {
    return this.#stream.isPaused;
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    if (this.#handler?.acceptsBody) this.#stream.resume();
  }

  releaseBody(): void {
    this.#guarded(() => {
      this.#stream.resume();
      if (!this.#isEndHeld) return;
      this.#isEndHeld = false;
      this.#handler?.onRequestEnd();
    });
  }

  answerTo(_head: RequestHead, maxBytes: number): StreamAnswer {
    return new StreamAnswer(this.#stream, maxBytes);
  }

  sendContinue(): void {
    this.#stream.sendFields([":status", "100"], false);
    this.#stream.flush();
  }

  refuse({ status, text, message }: Refusal): void {
    const end = text.indexOf("\r\n\r\n") + 4;
    const fields = fieldsOf(Buffer.from(text.slice(0, end), "latin1"));
    if (this.#head !== undefined && isGrpc(this.#head)) {
      this.#stream.sendFields(grpcFields(fields, status, message), true);
      return;
    }
    const body = Buffer.from(text.slice(end), "latin1");
    this.#stream.sendFields(fields, body.length === 0);
    this.#stream.sendData(body);
    this.#stream.sendEnd();
  }

  switchTo(head: ResponseHead, stripsCookies: boolean): { readonly socket: Duplex; readonly early: Buffer } {
    const [, , ...fields] = answerFields(head, { stripsCookies, dropsLength: true });
    // Keys are of HTTP/1.1 (RFC 8441, section 5).
    const accept = fields.indexOf("sec-websocket-accept");
    if (accept !== -1) fields.splice(accept, 2);
    this.#stream.sendFields([":status", "200", ...fields], false);
    this.#handler = undefined;
    this.#end();
    const socket = new StreamSocket(this.#stream);
    this.#stream.flush();
    return { socket, early: Buffer.alloc(0) };
  }

  flush(): boolean {
    return this.#stream.flush();
  }

  flushSoon(): boolean {
    return this.#stream.flush();
  }

  /** What was produced still has to leave; the rest of the request is not wanted any more. */
  done(): void {
    this.#handler = undefined;
    if (this.#state !== "open") return;
    this.#state = "answered";
    this.deadlineMs = this.#session.deadlines.now + this.#session.timeouts.idleMs;
    this.#stream.flush();
    this.#stream.finish();
    if (this.#stream.isLocalClosed) this.#end();
  }

  abort(code: number = ErrorCode.internalError): void {
    this.#handler = undefined;
    this.#end();
    this.#stream.reset(code);
  }

  crash(error: unknown): void {
    const handler = this.#handler;
    this.#session.crashed(error);
    this.abort();
    handler?.onAgentGone();
  }

  onDeadline(): void {
    if (this.#state === "answered") this.#session.fail(enhanceYourCalm("An answer is not taken"));
    else this.#guarded(() => this.#handler?.onDeadline());
  }

  // --- what the stream says ---------------------------------------------------------------------------------------

  onAnswerFields(): void {
    // A server hears none.
  }

  onData(chunk: Buffer): void {
    this.#guarded(() => {
      const handler = this.#handler;
      if (handler === undefined) return; // answered already
      if (handler.acceptsBody) handler.onBody(chunk);
      else this.#stream.hold(chunk);
    });
  }

  onTrailers(fields: HeaderList | undefined): void {
    this.#guarded(() => this.#handler?.onTrailers(readTrailers(fields)));
  }

  onEnd(): void {
    this.#guarded(() => {
      if (this.#isComplete) return;
      this.#isComplete = true;
      const handler = this.#handler;
      if (handler?.acceptsBody === false) this.#isEndHeld = true;
      else handler?.onRequestEnd();
    });
  }

  onReset({ code }: StreamReset): void {
    const handler = this.#handler;
    this.#handler = undefined;
    this.#end();
    handler?.onAgentGone(code);
  }

  onDrain(): void {
    this.#guarded(() => this.#handler?.onAgentDrain());
  }

  onBatch(): void {
    this.#guarded(() => this.#handler?.onRequestBatch());
  }

  /** The last of the answer has left. */
  onSent(): void {
    if (this.#state === "answered") this.#end();
  }

  #end(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#session.deadlines.forget(this);
  }

  /** A request that breaks the rules ends with its stream; a bug of ours as well, and no other stream notices. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof Http2StreamError) this.#stream.fail(error);
      else if (error instanceof AppError && this.#handler !== undefined) this.#handler.onBadBody(error);
      else this.crash(error);
    }
  }
}
