import { FramingError } from "./framing-error.ts";

export interface HeadLimits {
  /** The whole head, empty last line included. */
  readonly maxBytes: number;
  readonly maxHeaders: number;
}

/** The shortest header line, `a:` and CRLF: a head of fewer bytes per allowed header need not be counted. */
const minHeaderBytes = 4;

const lf = 0x0a;
const cr = 0x0d;
const emptyLine = Buffer.from("\r\n\r\n", "latin1");
const noBytes = Buffer.alloc(0);

/**
 * Finds the end of one head in arriving chunks. Mostly the whole head is in one chunk and stays there.
 *
 * A head that is still incomplete is watched byte by byte, so that a bare LF, which would never complete it, is
 * refused when it arrives. Its chunks are not kept, only a copy: a peer that drips bytes cannot pin socket buffers.
 */
export class HeadReader {
  readonly #limits: HeadLimits;
  /** The head, from `start` to `end`; only once `push` has returned a count. */
  bytes: Buffer = noBytes;
  end = 0;
  /** What arrived of an incomplete head: the first `#length` bytes of `#collected`. */
  #collected: Buffer = noBytes;
  #length = 0;
  #complete = false;
  /** How much of CRLF CRLF the collected bytes end with. */
  #matched = 0;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** Has a part of a head arrived? One CRLF alone, left over by an old client after its body, does not count. */
  get started(): boolean {
    const length = this.#complete ? this.end : this.#length;
    if (length > 2 || length === 0) return length > 2;
    const bytes = this.#complete ? this.bytes : this.#collected;
    return bytes[0] !== cr || (length === 2 && bytes[1] !== lf);
  }

  /**
   * Takes the next chunk. Returns how many of its bytes belong to the head, which is now complete, or -1: need more.
   * The bytes past that count are the body's, or the next message's.
   *
   * @param from where in the chunk to start.
   * @throws {FramingError} when the head is too large, or holds a bare CR or LF.
   */
  push(chunk: Buffer, from = 0): number | -1 {
    if (this.#complete) throw new Error("HeadReader.push after a complete head: call reset() first");
    const rest = from === 0 ? chunk : chunk.subarray(from);
    const fits = this.#limits.maxBytes - this.#length;
    const used = this.#length === 0 ? endOfHead(rest) : this.#scan(rest);
    if (used === -1) {
      if (rest.length > fits) throw this.#tooLarge(rest);
      if (this.#length === 0) this.#scan(rest);
      this.#collect(rest, rest.length);
      return -1;
    }
    if (used > fits) throw this.#tooLarge(rest);
    if (this.#length === 0) {
      this.bytes = rest;
      this.end = used;
    } else {
      this.#collect(rest, used);
      this.bytes = this.#collected;
      this.end = this.#length;
    }
    this.#complete = true;
    if (this.end >= this.#limits.maxHeaders * minHeaderBytes) this.#checkHeaderCount();
    return used;
  }

  reset(): void {
    this.bytes = noBytes;
    this.end = 0;
    this.#collected = noBytes;
    this.#length = 0;
    this.#complete = false;
    this.#matched = 0;
  }

  /** Grows by doubling: a head that arrives byte by byte is copied a few times, not once per byte. */
  #collect(chunk: Buffer, count: number): void {
    const needed = this.#length + count;
    if (needed > this.#collected.length) {
      const larger = Buffer.alloc(Math.max(1024, needed, this.#collected.length * 2));
      this.#collected.copy(larger, 0, 0, this.#length);
      this.#collected = larger;
    }
    chunk.copy(this.#collected, this.#length, 0, count);
    this.#length = needed;
  }

  /** Follows CRLF CRLF over chunk borders; returns the count of bytes up to its end, or -1. */
  #scan(chunk: Buffer): number {
    let matched = this.#matched;
    for (let i = 0; i < chunk.length; i += 1) {
      const byte = chunk[i];
      if (byte === lf) {
        if (matched === 3) return i + 1;
        if (matched !== 1) throw badLineEnd();
        matched = 2;
      } else if (matched === 1 || matched === 3) {
        throw badLineEnd();
      } else if (byte === cr) {
        matched = matched === 2 ? 3 : 1;
      } else {
        matched = 0;
      }
    }
    this.#matched = matched;
    return -1;
  }

  #tooLarge(chunk: Buffer): FramingError {
    const { maxBytes } = this.#limits;
    const seen = this.#collected.toString("latin1", 0, this.#length) + chunk.toString("latin1", 0, maxBytes);
    return unfinishedRequestLine.test(seen)
      ? new FramingError("target_too_long", `The first line is longer than ${maxBytes} bytes`, 414)
      : new FramingError("head_too_large", `The head is larger than ${maxBytes} bytes`, 431);
  }

  #checkHeaderCount(): void {
    const { maxHeaders } = this.#limits;
    let lines = -2; // the first line and the empty one
    for (let at = this.bytes.indexOf(lf); at !== -1 && at < this.end; at = this.bytes.indexOf(lf, at + 1)) lines += 1;
    if (lines > maxHeaders) {
      throw new FramingError("too_many_headers", `The head has more than ${maxHeaders} headers`, 431);
    }
  }
}

function endOfHead(chunk: Buffer): number {
  const at = chunk.indexOf(emptyLine);
  return at === -1 ? -1 : at + 4;
}

/** A head that passes its limit before the first line ends has a target to blame. */
const unfinishedRequestLine = /^(?:\r\n)?[A-Za-z]+ [^\r\n]*$/;

function badLineEnd(): FramingError {
  return new FramingError("bad_line_end", "Every line of a head must end with CRLF, and hold no other CR or LF");
}
