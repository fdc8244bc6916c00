import { badExtension, ChunkExtension } from "./chunk-extension.ts";
import { Fields, type HeaderList } from "./fields.ts";
import type { Framing } from "./framing.ts";
import { FramingError } from "./framing-error.ts";
import { HeadReader } from "./head-reader.ts";
import { acceptTrailers } from "./trailers.ts";

export interface BodySink {
  /** A part of the body: a view of the chunk that was pushed, never empty, never copied. */
  data(chunk: Buffer): void;
  /** The trailers of a chunked body, if there are any: once, after the last data and before `done`. */
  trailers?(headers: HeaderList): void;
}

/** What trailers may measure together. */
const maxTrailerBytes = 16 * 1024;
const maxTrailers = 64;

/** 16 digits spell every 64-bit number; most senders that pad their sizes use 8. */
const maxSizeDigits = 16;

/** What extensions may add to a body on top of one byte per byte of data. */
const maxExtensionExcess = 16 * 1024;

const lf = 0x0a;
const cr = 0x0d;
const semicolon = 0x3b;

type State =
  | "raw" // a body by length, or until the transport ends
  | "size"
  | "extension"
  | "size-lf"
  | "data"
  | "data-cr"
  | "data-lf"
  | "trailer-start"
  | "trailer-lf"
  | "trailers"
  | "done"
  | "broken";

/**
 * Reads one body from the chunks that arrive, however they are cut (RFC 9112, sections 6 and 7).
 *
 * Chunk sizes are hexadecimal digits and nothing else. Well-formed extensions are dropped. Trailers obey the rules
 * of headers; those that could change framing or routing are refused, others that RFC 9110, section 6.5.1, forbids
 * are dropped. After an error the reader stays broken: the end of the message is unknown.
 */
export class BodyReader {
  readonly #sink: BodySink;
  #state: State = "done";
  /** Bytes still missing from the body, or from the current chunk. */
  #remaining = 0;
  #sizeDigits = 0;
  /** The extensions of the current chunk, and by how much all of them so far exceed the data. */
  #extension: ChunkExtension | undefined;
  #extensionExcess = 0;
  #trailers: HeadReader | undefined;
  #endsWithTransport = false;

  constructor(sink: BodySink) {
    this.#sink = sink;
  }

  /** Starts with the next body; an instance reads one after the other. */
  begin(framing: Framing): void {
    this.#endsWithTransport = framing.kind === "close";
    this.#trailers = undefined;
    this.#extension = undefined;
    this.#remaining = 0;
    switch (framing.kind) {
      case "none":
        this.#state = "done";
        break;
      case "length":
        this.#remaining = framing.length;
        this.#state = framing.length === 0 ? "done" : "raw";
        break;
      case "close":
        this.#remaining = Number.POSITIVE_INFINITY;
        this.#state = "raw";
        break;
      case "chunked":
        this.#state = "size";
        this.#sizeDigits = 0;
        this.#extensionExcess = 0;
        break;
    }
  }

  /** Has the last byte of the message been read? */
  get done(): boolean {
    return this.#state === "done";
  }

  /**
   * Takes the next bytes and returns how many belong to this message; fewer than given only when it is `done`.
   *
   * @throws {FramingError} when a chunked body is malformed.
   */
  push(chunk: Buffer): number {
    if (this.#state === "raw") return this.#pushRaw(chunk);
    if (this.#state === "done") return 0;
    if (this.#state === "broken") throw new FramingError("bad_chunk", "The body was already found malformed");
    try {
      return this.#pushChunked(chunk);
    } catch (error) {
      this.#state = "broken";
      throw error;
    }
  }

  /**
   * The transport has ended. Completes a body that is framed by it.
   *
   * @throws {FramingError} when the message is incomplete: whoever receives it must see an error too.
   */
  end(): void {
    if (this.#state === "done") return;
    if (this.#endsWithTransport && this.#state === "raw") {
      this.#state = "done";
      return;
    }
    throw new FramingError("body_cut_short", "The connection ended before the end of the message");
  }

  #pushRaw(chunk: Buffer): number {
    const { length } = chunk;
    if (length === 0) return 0;
    if (length < this.#remaining) {
      this.#remaining -= length;
      this.#sink.data(chunk);
      return length;
    }
    const used = this.#remaining;
    this.#remaining = 0;
    this.#state = "done";
    this.#sink.data(used === length ? chunk : chunk.subarray(0, used));
    return used;
  }

  #pushChunked(chunk: Buffer): number {
    const { length } = chunk;
    let at = 0;
    while (at < length && this.#state !== "done") {
      if (this.#state === "data") at += this.#pushData(chunk, at);
      else if (this.#state === "trailers") at += this.#pushTrailers(chunk.subarray(at));
      else if (this.#step(chunk[at] ?? 0)) at += 1;
    }
    return at;
  }

  #pushData(chunk: Buffer, at: number): number {
    const used = Math.min(this.#remaining, chunk.length - at);
    this.#remaining -= used;
    this.#extensionExcess = Math.max(0, this.#extensionExcess - used);
    if (this.#remaining === 0) this.#state = "data-cr";
    this.#sink.data(used === chunk.length ? chunk : chunk.subarray(at, at + used));
    return used;
  }

  #pushTrailers(rest: Buffer): number {
    this.#trailers ??= new HeadReader({ maxBytes: maxTrailerBytes, maxHeaders: maxTrailers });
    const used = this.#trailers.push(rest);
    if (used === -1) return rest.length;
    const fields = new Fields();
    fields.parse(this.#trailers.bytes, 0, this.#trailers.end);
    const trailers = acceptTrailers(fields.list());
    this.#state = "done";
    if (trailers.length > 0) this.#sink.trailers?.(trailers);
    return used;
  }

  /** Takes one byte of what stands between the data. Returns false when the next state must see it again. */
  #step(byte: number): boolean {
    switch (this.#state) {
      case "size": {
        const digit = hexDigit(byte);
        if (digit >= 0) {
          if (this.#sizeDigits === maxSizeDigits) throw badChunkSize();
          this.#sizeDigits += 1;
          this.#remaining = this.#remaining * 16 + digit;
          return true;
        }
        if (this.#sizeDigits === 0 || this.#remaining > Number.MAX_SAFE_INTEGER) throw badChunkSize();
        if (byte === cr) this.#state = "size-lf";
        else if (byte === semicolon) this.#state = "extension";
        else throw badChunkSize();
        this.#extension = undefined;
        return true;
      }
      case "extension":
        this.#pushExtension(byte);
        return true;
      case "size-lf":
        if (byte !== lf) throw badChunkSize();
        this.#state = this.#remaining === 0 ? "trailer-start" : "data";
        this.#sizeDigits = 0;
        return true;
      case "data-cr":
        if (byte !== cr) throw badChunkEnd();
        this.#state = "data-lf";
        return true;
      case "data-lf":
        if (byte !== lf) throw badChunkEnd();
        this.#state = "size";
        return true;
      case "trailer-start":
        this.#state = byte === cr ? "trailer-lf" : "trailers";
        return byte === cr;
      default: // trailer-lf: there were no trailers
        if (byte !== lf) throw badChunkEnd();
        this.#state = "done";
        return true;
    }
  }

  /** Follows `;name[=value]` up to the CR after the last of them. */
  #pushExtension(byte: number): void {
    this.#extension ??= new ChunkExtension();
    this.#extensionExcess += 1;
    if (this.#extensionExcess > maxExtensionExcess) throw badExtension("are larger than the data they come with");
    if (this.#extension.push(byte)) return;
    this.#extension = undefined;
    this.#state = "size-lf";
  }
}

/** The value of a hexadecimal digit, or -1. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function badChunkSize(): FramingError {
  return new FramingError("bad_chunk_size", "A chunk must start with its size in hexadecimal digits and CRLF");
}

function badChunkEnd(): FramingError {
  return new FramingError("bad_chunk_end", "A chunk must end with CRLF right after as many bytes as its size says");
}
