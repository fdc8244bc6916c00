import type { Socket } from "node:net";
import type { Outboxes } from "./outboxes.ts";

/** Parts above this size are written on their own: copying them costs more than a system call. */
const maxJoinedBytes = 20 * 1024;
/** What may wait in a socket for a slow peer before its source is stopped. */
const maxWaitingBytes = 128 * 1024;

/** Collects what one event produces, so that a head and the first bytes of its body leave in one write. */
export class Outbox {
  readonly #socket: Socket;
  readonly #shared: Outboxes;
  /** Parts that are complete; behind them comes the open one. */
  #parts: Buffer[] | undefined;
  /** The open part: from `#start` to `#end` in `#bytes`, which is the slab's memory of then. */
  #bytes: Buffer;
  #start = 0;
  #end = 0;
  #isGathered = false;

  /** Made by `Outboxes.for`. */
  constructor(socket: Socket, shared: Outboxes) {
    this.#socket = socket;
    this.#shared = shared;
    this.#bytes = shared.slab.bytes;
  }

  /** @param text one character per byte. */
  text(text: string): void {
    const { length } = text;
    this.#reserve(length);
    const bytes = this.#bytes;
    let end = this.#end;
    if (length > 64) bytes.write(text, end, length, "latin1");
    else for (let i = 0; i < length; i += 1) bytes[end + i] = text.charCodeAt(i);
    end += length;
    this.#end = end;
    this.#shared.slab.at = end;
  }

  /** A part of somebody else's bytes, copied. */
  copy(from: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length <= 0) return;
    this.#reserve(length);
    from.copy(this.#bytes, this.#end, start, end);
    this.#end += length;
    this.#shared.slab.at = this.#end;
  }

  /** A part of a body. It must not change any more: a large one is handed to the socket as it is. */
  bytes(chunk: Buffer): void {
    if (this.#end - this.#start + chunk.length <= maxJoinedBytes) {
      this.copy(chunk, 0, chunk.length);
      return;
    }
    this.#closePart();
    this.#parts ??= [];
    this.#parts.push(chunk);
  }

  /**
   * Writes it all: when many requests are under way, together with what other connections have to write in this turn of
   * the event loop. False as for `flush`.
   */
  flushSoon(): boolean {
    // Something large leaves at once, so that what waits for a slow peer is known.
    if (this.#parts !== undefined || !this.#shared.gathers) return this.flush();
    if (this.#start !== this.#end && !this.#isGathered) {
      this.#isGathered = true;
      this.#shared.gather(this);
    }
    return this.#socket.writableLength <= maxWaitingBytes;
  }

  /** Its turn to write. */
  onTurn(): void {
    this.#isGathered = false;
    this.flush();
  }

  /** Writes it all. False when the peer is slow: stop producing until the socket's `drain`. */
  flush(): boolean {
    const parts = this.#parts;
    if (parts === undefined && this.#start === this.#end) return true;
    this.#parts = undefined;
    const start = this.#start;
    this.#start = this.#end;
    const socket = this.#socket;
    if (!socket.writable) return true;
    if (parts !== undefined) for (const part of parts) socket.write(part);
    if (start !== this.#end) socket.write(this.#bytes.subarray(start, this.#end));
    // `write` says no to everything above its high-water mark, also when the system took it at once. Stopping the
    // source then costs four system calls for nothing; what still waits is what tells a slow peer.
    const { writableLength } = socket;
    if (writableLength === 0) this.#takeBack(start);
    return writableLength <= maxWaitingBytes;
  }

  /** The socket needs the bytes no more: while they are the last of the slab, their place is free again. */
  #takeBack(start: number): void {
    const { slab } = this.#shared;
    if (this.#bytes !== slab.bytes || this.#end !== slab.at) return;
    slab.at = start;
    this.#start = start;
    this.#end = start;
  }

  /** Makes the open part the last thing in the slab, with room for `count` bytes behind it. */
  #reserve(count: number): void {
    const { slab } = this.#shared;
    const isLast = this.#bytes === slab.bytes && this.#end === slab.at;
    const fits = slab.bytes.length - slab.at >= count;
    if (isLast && fits) return;
    this.#closePart();
    if (!fits) slab.renew(count);
    this.#bytes = slab.bytes;
    this.#start = slab.at;
    this.#end = slab.at;
  }

  #closePart(): void {
    if (this.#start === this.#end) return;
    this.#parts ??= [];
    this.#parts.push(this.#bytes.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }
}
