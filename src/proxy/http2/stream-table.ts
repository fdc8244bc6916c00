import { maxWindow } from "./frame.ts";
import { ErrorCode, Http2ConnectionError, protocolError } from "./http2-error.ts";
import type { Http2Stream } from "./stream.ts";

/** Streams that we ended, and that the peer may not have heard of yet. */
const maxRemembered = 256;

/** The streams of a connection, by their numbers (RFC 9113, section 5.1.1). */
export class StreamTable {
  readonly open = new Map<number, Http2Stream>();
  /** The last stream that the peer began. */
  lastPeerId = 0;
  readonly #isServer: boolean;
  #nextId: number;
  readonly #endedByUs = new Set<number>();

  constructor(isServer: boolean) {
    this.#isServer = isServer;
    this.#nextId = isServer ? 2 : 1;
  }

  get hasIds(): boolean {
    return this.#nextId < maxWindow;
  }

  /** The number of a stream that we begin. */
  takeId(): number {
    const id = this.#nextId;
    this.#nextId += 2;
    return id;
  }

  /** Does the peer begin a stream with this? */
  isNew(streamId: number): boolean {
    return this.#isServer && (streamId & 1) === 1 && streamId > this.lastPeerId;
  }

  /** Did nobody begin it yet? */
  isIdle(streamId: number): boolean {
    const isOurs = (streamId & 1) === (this.#isServer ? 0 : 1);
    return isOurs ? streamId >= this.#nextId : streamId > this.lastPeerId;
  }

  /**
   * The stream on which the peer may still send. Undefined for one that we ended, of which it may not know yet.
   *
   * @throws {Http2ConnectionError} for one that never was, or that the peer itself had ended.
   */
  readable(streamId: number): Http2Stream | undefined {
    const stream = this.open.get(streamId);
    if (stream !== undefined && !stream.isRemoteClosed) return stream;
    if (this.isIdle(streamId)) throw protocolError("A frame is on a stream that never began");
    if (stream !== undefined || !this.#endedByUs.has(streamId)) {
      throw new Http2ConnectionError(ErrorCode.streamClosed, "A frame is on a stream that the peer had ended");
    }
    return undefined;
  }

  /** We ended it: frames that were under way are no mistake of the peer. */
  remember(streamId: number): void {
    this.#endedByUs.add(streamId);
    if (this.#endedByUs.size <= maxRemembered) return;
    for (const oldest of this.#endedByUs) {
      this.#endedByUs.delete(oldest);
      return;
    }
  }
}
