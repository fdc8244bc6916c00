import type { Socket } from "node:net";
import type { AppError } from "../../errors.ts";
import type { RequestHandler } from "../agent-connection.ts";
import type { Deadlines, Expiring, ProxyTimeouts } from "../deadlines.ts";
import type { HeaderList } from "../http1/fields.ts";
import type { Framing } from "../http1/framing.ts";
import { FramingError } from "../http1/framing-error.ts";
import type { RequestHead } from "../http1/head.ts";
import type { Outboxes } from "../outboxes.ts";
import type { AgentSide } from "../sides.ts";
import { AgentStream } from "./agent-stream.ts";
import type { Http2ConnectionError } from "./http2-error.ts";
import { type ReadRequest, readRequest } from "./request-fields.ts";
import { Session, type SessionHost } from "./session.ts";
import type { Http2Stream, StreamOwner } from "./stream.ts";

/** Serves the requests of a connection, each on a stream of its own. */
export interface StreamServer {
  /** Starts to serve a request; undefined when it is already answered. */
  serve(head: RequestHead, framing: Framing, side: AgentSide): RequestHandler | undefined;
  /** A head that cannot be read. Answers. */
  refuse(error: unknown, side: AgentSide): void;
  /** Something threw that nobody expected: notes it. */
  crashed(error: unknown): void;
  /** The connection was ended, because the agent broke the rules or flooded it. */
  ended(failure: Http2ConnectionError): void;
}

/** As large as heads of HTTP/1 may be. */
const fieldLimits = { maxBytes: 256 * 1024, maxFields: 500 };
const settings = {
  role: "server",
  maxConcurrentStreams: 100,
  initialWindow: 256 * 1024,
  maxHeaderListBytes: fieldLimits.maxBytes,
  takesConnectProtocol: true,
} as const;

/** An agent's connection that speaks HTTP/2. */
export class AgentSession implements SessionHost, Expiring {
  readonly socket: Socket;
  readonly clientIp: string;
  readonly deadlines: Deadlines;
  readonly timeouts: ProxyTimeouts;
  deadlineMs: number;
  readonly #server: StreamServer;
  readonly #session: Session;
  #isDraining = false;

  constructor(options: {
    readonly socket: Socket;
    readonly clientIp: string;
    readonly server: StreamServer;
    readonly deadlines: Deadlines;
    readonly timeouts: ProxyTimeouts;
    readonly outboxes: Outboxes;
  }) {
    const { socket, deadlines, timeouts, outboxes } = options;
    this.socket = socket;
    this.clientIp = options.clientIp;
    this.deadlines = deadlines;
    this.timeouts = timeouts;
    this.#server = options.server;
    this.deadlineMs = performance.now() + timeouts.requestHeadMs;
    this.#session = new Session({ socket, outboxes, settings, fieldLimits, host: this });
    deadlines.watch(this);
  }

  get isReading(): boolean {
    return this.#session.isReading;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** No more requests: those under way are answered. */
  drain(): void {
    this.#isDraining = true;
    this.#session.leave();
  }

  destroy(): void {
    this.#session.destroy();
  }

  fail(error: Http2ConnectionError): void {
    this.#session.fail(error);
  }

  crashed(error: unknown): void {
    this.#server.crashed(error);
  }

  /** Nothing is under way, or it is over. */
  onDeadline(): void {
    if (this.#session.isOpen) this.#session.leave();
    else {
      this.deadlines.forget(this);
      this.destroy();
    }
  }

  onRequest(stream: Http2Stream, fields: HeaderList | undefined, endsStream: boolean): StreamOwner | undefined {
    this.deadlineMs = Number.POSITIVE_INFINITY;
    let request: ReadRequest;
    try {
      request = readRequest(fields, endsStream);
    } catch (error) {
      if (!(error instanceof FramingError)) throw error;
      return this.#refuse(stream, error);
    }
    const side = new AgentStream(this, stream, request);
    // It answers at once, it may be.
    stream.owner = side;
    side.serveWith(this.#server.serve(request.head, request.framing, side));
    return stream.owner;
  }

  #refuse(stream: Http2Stream, error: AppError): StreamOwner | undefined {
    const side = new AgentStream(this, stream, undefined);
    stream.owner = side;
    this.#server.refuse(error, side);
    return stream.owner;
  }

  onSettings(): void {
    if (this.#session.streams.size === 0) this.deadlineMs = this.deadlines.now + this.timeouts.idleMs;
  }

  onGoaway(): void {
    // Its streams end, and it closes.
  }

  onStreamOver(): void {
    if (this.#session.streams.size === 0) this.deadlineMs = this.deadlines.now + this.timeouts.idleMs;
  }

  onOver(failure: Http2ConnectionError | undefined): void {
    if (failure !== undefined) this.#server.ended(failure);
    // What was said last has a moment to leave.
    this.deadlineMs = this.deadlines.now + this.timeouts.lingerMs;
    this.socket.once("close", () => this.deadlines.forget(this));
  }

  onCrash(error: unknown): void {
    this.#server.crashed(error);
  }
}
