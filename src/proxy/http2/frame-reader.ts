import { clientPreface, Flag, FrameType, frameHeaderBytes, maxFrameBytes } from "./frame.ts";
import { ErrorCode, Http2ConnectionError, protocolError } from "./http2-error.ts";

/** Whoever handles frames. What it is given is good until the call returns. */
export interface FrameSink {
  /** Any frame but DATA, complete. */
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /** DATA: first its size, padding included, then its bytes as they come, then its end. */
  onDataStart(streamId: number, length: number): void;
  onDataBytes(streamId: number, bytes: Buffer): void;
  onDataEnd(streamId: number, endsStream: boolean): void;
}

/** Frames of a fixed size, by type (RFC 9113, section 6). */
const fixedSizes: Readonly<Record<number, number>> = {
  [FrameType.priority]: 5,
  [FrameType.rstStream]: 4,
  [FrameType.ping]: 8,
  [FrameType.windowUpdate]: 4,
};

/** These belong to a stream; those below to the connection; WINDOW_UPDATE to either, and unknown ones to whatever. */
const ofStreams: ReadonlySet<number> = new Set([
  FrameType.data,
  FrameType.headers,
  FrameType.priority,
  FrameType.rstStream,
  FrameType.pushPromise,
  FrameType.continuation,
]);
const ofConnection: ReadonlySet<number> = new Set([FrameType.settings, FrameType.ping, FrameType.goaway]);

const noBytes = Buffer.alloc(0);

/** Cuts what arrives into frames. The bytes of DATA pass through; of everything else at most one frame is kept. */
export class FrameReader {
  readonly #sink: FrameSink;
  /** Of the client's preface: how many bytes have to be seen before the first frame. */
  #prefaceLeft: number;
  readonly #header = Buffer.alloc(frameHeaderBytes);
  #headerLength = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Bytes of the payload that did not come yet; of DATA without padding. */
  #left = 0;
  #padding = 0;
  /** DATA with padding: its first byte says how much. */
  #wantsPadLength = false;
  /** The payload so far, where it did not come in one piece. */
  #partial: Buffer = noBytes;
  #partialLength = 0;
  #isInFrame = false;

  /** @param options.expectsPreface for the side that a client connects to. */
  constructor(sink: FrameSink, options: { readonly expectsPreface: boolean }) {
    this.#sink = sink;
    this.#prefaceLeft = options.expectsPreface ? clientPreface.length : 0;
  }

  /** @throws {Http2ConnectionError} on what is no frame, and whatever the sink throws. */
  push(chunk: Buffer): void {
    let at = this.#prefaceLeft > 0 ? this.#readPreface(chunk) : 0;
    while (at < chunk.length || (this.#isInFrame && this.#left === 0 && this.#padding === 0)) {
      if (!this.#isInFrame) at += this.#readHeader(chunk, at);
      else if (this.#type === FrameType.data) at += this.#readData(chunk, at);
      else at += this.#readPayload(chunk, at);
    }
  }

  #readPreface(chunk: Buffer): number {
    const from = clientPreface.length - this.#prefaceLeft;
    const count = Math.min(this.#prefaceLeft, chunk.length);
    if (clientPreface.compare(chunk, 0, count, from, from + count) !== 0) {
      throw protocolError("The connection does not begin as HTTP/2 does");
    }
    this.#prefaceLeft -= count;
    return count;
  }

  #readHeader(chunk: Buffer, at: number): number {
    const count = Math.min(frameHeaderBytes - this.#headerLength, chunk.length - at);
    const isWhole = count === frameHeaderBytes;
    if (!isWhole) {
      chunk.copy(this.#header, this.#headerLength, at, at + count);
      this.#headerLength += count;
      if (this.#headerLength < frameHeaderBytes) return count;
      this.#headerLength = 0;
    }
    if (isWhole) this.#begin(chunk, at);
    else this.#begin(this.#header, 0);
    return count;
  }

  #begin(header: Buffer, at: number): void {
    const length = header.readUIntBE(at, 3);
    const type = header[at + 3] ?? 0;
    const flags = header[at + 4] ?? 0;
    const streamId = header.readUInt32BE(at + 5) & 0x7fff_ffff; // the reserved bit means nothing
    if (length > maxFrameBytes) throw badSize("A frame is larger than was allowed");
    const fixed = fixedSizes[type];
    if (fixed !== undefined && length !== fixed) throw badSize("A frame has a size that its type does not have");
    if (streamId === 0 ? ofStreams.has(type) : ofConnection.has(type)) {
      throw protocolError("A frame is on a stream that its type cannot be on");
    }
    this.#type = type;
    this.#flags = flags;
    this.#streamId = streamId;
    this.#left = length;
    this.#padding = 0;
    this.#isInFrame = true;
    if (type !== FrameType.data) return;
    this.#wantsPadLength = (flags & Flag.padded) !== 0;
    if (this.#wantsPadLength && length === 0) throw badSize("A padded frame has no room for its padding");
    this.#sink.onDataStart(streamId, length);
  }

  #readData(chunk: Buffer, at: number): number {
    let from = at;
    if (this.#wantsPadLength && from < chunk.length) {
      const padding = chunk[from] ?? 0;
      from += 1;
      this.#wantsPadLength = false;
      this.#left -= 1;
      if (padding > this.#left) throw protocolError("A frame has more padding than payload");
      this.#left -= padding;
      this.#padding = padding;
    }
    const count = Math.min(this.#left, chunk.length - from);
    if (count > 0) {
      this.#left -= count;
      this.#sink.onDataBytes(this.#streamId, chunk.subarray(from, from + count));
      from += count;
    }
    if (this.#left > 0) return from - at;
    const skipped = Math.min(this.#padding, chunk.length - from);
    this.#padding -= skipped;
    if (this.#padding === 0 && !this.#wantsPadLength) {
      this.#isInFrame = false;
      this.#sink.onDataEnd(this.#streamId, (this.#flags & Flag.endStream) !== 0);
    }
    return from + skipped - at;
  }

  #readPayload(chunk: Buffer, at: number): number {
    const count = Math.min(this.#left, chunk.length - at);
    this.#left -= count;
    if (this.#partialLength === 0 && this.#left === 0) {
      this.#finish(chunk.subarray(at, at + count));
      return count;
    }
    if (this.#partial.length === 0) this.#partial = Buffer.allocUnsafeSlow(count + this.#left);
    chunk.copy(this.#partial, this.#partialLength, at, at + count);
    this.#partialLength += count;
    if (this.#left > 0) return count;
    const payload = this.#partial;
    this.#partial = noBytes;
    this.#partialLength = 0;
    this.#finish(payload);
    return count;
  }

  #finish(payload: Buffer): void {
    this.#isInFrame = false;
    this.#sink.onFrame(this.#type, this.#flags, this.#streamId, payload);
  }
}

/**
 * Takes off what surrounds a header block (RFC 9113, section 6.2): padding, and the priority that nobody uses any more.
 *
 * @throws {Http2ConnectionError} when they do not fit.
 */
export function headerBlockOf(flags: number, payload: Buffer): Buffer {
  let start = 0;
  let end = payload.length;
  if ((flags & Flag.padded) !== 0) {
    if (payload.length === 0) throw badSize("A padded frame has no room for its padding");
    start = 1;
    end -= payload[0] ?? 0;
  }
  if ((flags & Flag.priority) !== 0) start += 5;
  if (start > payload.length) throw badSize("A HEADERS frame has no room for its priority");
  if (end < start) throw protocolError("A frame has more padding than payload");
  return payload.subarray(start, end);
}

/** The stream that a HEADERS or PRIORITY frame says it depends on. */
export function dependencyOf(payload: Buffer, at: number): number {
  return payload.readUInt32BE(at) & 0x7fff_ffff;
}

function badSize(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.frameSizeError, message);
}
