import type { Socket } from "node:net";
import { type DialTimings, timingsOf } from "../../net/outbound.ts";
import type { Deadlines, Expiring, ProxyTimeouts } from "../deadlines.ts";
import type { Outboxes } from "../outboxes.ts";
import { Session, type SessionHost } from "./session.ts";
import type { Http2Stream, StreamOwner } from "./stream.ts";

/** As large as the heads of answers may be in HTTP/1. */
const fieldLimits = { maxBytes: 256 * 1024, maxFields: 1000 };
const settings = {
  role: "client",
  maxConcurrentStreams: 0, // no pushes
  initialWindow: 512 * 1024,
  maxHeaderListBytes: fieldLimits.maxBytes,
  takesConnectProtocol: false,
} as const;

/** A connection to an upstream that speaks HTTP/2, for the requests of one vault. */
export class UpstreamSession implements SessionHost, Expiring {
  deadlineMs: number;
  /** Has an answer come on it? */
  hasAnswered = false;
  readonly #session: Session;
  readonly #deadlines: Deadlines;
  readonly #timeouts: ProxyTimeouts;
  readonly #onOver: (session: UpstreamSession) => void;
  readonly #onCrash: (error: unknown) => void;
  #reserved = 0;
  #timings: DialTimings | undefined;
  /** Streams are open on it, or about to be. */
  #isBusy = false;
  #seenBytes = 0;
  #hasAsked = false;
  readonly #settled = Promise.withResolvers<void>();

  /** @param options.onOver it takes no more streams. */
  constructor(options: {
    readonly socket: Socket;
    readonly outboxes: Outboxes;
    readonly deadlines: Deadlines;
    readonly timeouts: ProxyTimeouts;
    readonly onOver: (session: UpstreamSession) => void;
    readonly onCrash: (error: unknown) => void;
  }) {
    const { socket, outboxes, deadlines, timeouts } = options;
    this.#deadlines = deadlines;
    this.#timeouts = timeouts;
    this.#onOver = options.onOver;
    this.#onCrash = options.onCrash;
    this.deadlineMs = deadlines.now + timeouts.poolIdleMs;
    this.#session = new Session({ socket, outboxes, settings, fieldLimits, host: this });
    this.#timings = timingsOf(socket);
    deadlines.watch(this);
  }

  /** Is there a place for one more stream? */
  get hasRoom(): boolean {
    if (!this.#session.canOpen) return false;
    const open = this.#session.streams.size + this.#reserved;
    // The first stream does not wait until the upstream has said how many it takes; the others do.
    return open < (this.#session.hasPeerSettings ? this.#session.peer.maxConcurrentStreams : 1);
  }

  /** Does the upstream allow any, as far as it has said? */
  get takesStreams(): boolean {
    return !this.#session.hasPeerSettings || this.#session.peer.maxConcurrentStreams > 0;
  }

  /** What opening the connection took: for the stream that it was opened for, which is the first to ask. */
  takeTimings(): DialTimings | undefined {
    const timings = this.#timings;
    this.#timings = undefined;
    return timings;
  }

  reserve(): void {
    this.#reserved += 1;
    if (!this.#isBusy) this.#watch();
    this.#isBusy = true;
  }

  unreserve(): void {
    this.#reserved -= 1;
    this.#rest();
  }

  /** Undefined when it takes none any more. */
  open(owner: StreamOwner): Http2Stream | undefined {
    if (!this.#session.canOpen) return undefined;
    if (!this.#isBusy) this.#watch();
    this.#isBusy = true;
    return this.#session.open(owner);
  }

  destroy(): void {
    this.#session.destroy();
  }

  onDeadline(): void {
    if (this.#isBusy) this.#checkAlive();
    else if (this.#session.isOpen) this.#session.leave();
    else {
      this.#deadlines.forget(this);
      this.destroy();
    }
  }

  onRequest(): undefined {
    return undefined;
  }

  /** The upstream has said how many streams it takes, or is gone. */
  get settled(): Promise<void> {
    return this.#settled.promise;
  }

  onSettings(): void {
    this.#settled.resolve();
  }

  onGoaway(): void {
    this.#onOver(this);
  }

  onStreamOver(): void {
    this.#rest();
  }

  onOver(): void {
    this.#settled.resolve();
    this.#onOver(this);
    this.#isBusy = false;
    this.deadlineMs = this.#deadlines.now + lingerMs;
    this.#session.socket.once("close", () => this.#deadlines.forget(this));
  }

  onCrash(error: unknown): void {
    this.#onCrash(error);
  }

  /** One dead connection would hold up everybody who shares it until their own time is over. */
  #checkAlive(): void {
    const { bytesRead } = this.#session;
    if (bytesRead === this.#seenBytes && this.#hasAsked) {
      this.destroy();
      return;
    }
    const isQuiet = bytesRead === this.#seenBytes;
    this.#watch();
    this.#hasAsked = isQuiet;
    if (isQuiet) this.#session.ping();
  }

  #watch(): void {
    this.deadlineMs = this.#deadlines.now + this.#timeouts.pingMs;
    this.#seenBytes = this.#session.bytesRead;
    this.#hasAsked = false;
  }

  #rest(): void {
    if (this.#reserved > 0 || this.#session.streams.size > 0) return;
    this.#isBusy = false;
    this.deadlineMs = this.#deadlines.now + this.#timeouts.poolIdleMs;
  }
}

const lingerMs = 5_000;
