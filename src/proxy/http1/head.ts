import { nameBytes, targetBytes, valueBytes } from "./bytes.ts";
import { FramingError } from "./framing-error.ts";
import { nameAt } from "./known-names.ts";

/**
 * Heads of HTTP/1.1 messages (RFC 9112, sections 2 to 5): collecting the bytes and reading them.
 *
 * The same strict reader serves both sides: requests of agents and answers of upstreams. What two parsers could read
 * in two ways is refused, because the second parser is one that an attacker chose. A head is latin1 text from here
 * on: one character is one byte, so what is relayed is what arrived.
 *
 * Decisions where RFC 9112 leaves room:
 * - One CRLF before a request line is skipped (section 2.2); a second one, or one before a status line, is refused.
 * - A status line may lack the blank before an empty reason, as many servers do, and llhttp reads it the same way.
 * - Bytes of 0x80 and above pass in header values and reason phrases, and are refused in methods, targets and names.
 * - White space around a value is dropped; inside it stays as it is.
 */

/** Flat `[name, value, name, value, …]` in received order and case, one character per byte. */
export type HeaderList = readonly string[];

export interface RequestHead {
  readonly method: string;
  /** Origin, absolute, authority (CONNECT only) or asterisk form, byte for byte as received. */
  readonly target: string;
  /** The `x` of `HTTP/1.x`. */
  readonly minor: 0 | 1;
  readonly headers: HeaderList;
}

export interface ResponseHead {
  /** Three digits, 100 to 999: some services answer with numbers past 599, and they are relayed as they are. */
  readonly status: number;
  /** May be empty. */
  readonly reason: string;
  /** The `x` of `HTTP/1.x`. */
  readonly minor: 0 | 1;
  readonly headers: HeaderList;
}

/** What a target may measure in bytes; RFC 9112, section 3, asks for at least 8000. */
const maxTargetBytes = 32 * 1024;

const tab = 0x09;
const lf = 0x0a;
const cr = 0x0d;
const space = 0x20;
const slash = 0x2f;
const colon = 0x3a;

/**
 * Reads a whole request head, its empty last line included.
 *
 * @throws {FramingError} when anything in it is malformed or ambiguous.
 */
export function parseRequestHead(text: string): RequestHead {
  const start = text.charCodeAt(0) === cr && text.charCodeAt(1) === lf ? 2 : 0;
  let at = start;
  while (nameBytes[text.charCodeAt(at)] === 1) at += 1;
  if (at === start || text.charCodeAt(at) !== space) throw badRequestLine("does not start with a method and one space");
  const method = text.substring(start, at);
  // The one method that means another protocol (RFC 9113, section 3.4), whatever version stands behind it.
  if (method === "PRI") throw new FramingError("version_not_supported", "The HTTP version must be 1.1 or 1.0", 505);

  const targetStart = at + 1;
  at = targetStart;
  while (targetBytes[text.charCodeAt(at)] === 1) at += 1;
  if (at === targetStart || text.charCodeAt(at) !== space) {
    throw badRequestLine("needs a target of visible ASCII without a fragment, then one space and the version");
  }
  if (at - targetStart > maxTargetBytes) {
    throw new FramingError("target_too_long", `The request target is longer than ${maxTargetBytes} bytes`, 414);
  }
  const target = text.substring(targetStart, at);
  if (method === "CONNECT") {
    if (!authorityForm.test(target)) throw badRequestLine("of CONNECT needs a target like host:port");
  } else if (text.charCodeAt(targetStart) !== slash && target !== "*" && !absoluteForm.test(target)) {
    throw badRequestLine("has a target that is neither a path, nor a URL, nor an asterisk");
  }

  const minor = parseVersion(text, at + 1);
  if (text.charCodeAt(at + 9) !== cr || text.charCodeAt(at + 10) !== lf) {
    throw badRequestLine("must end with the version and CRLF");
  }
  return { method, target, minor, headers: parseHeaderLines(text, at + 11) };
}

/**
 * Reads a whole response head, its empty last line included.
 *
 * @throws {FramingError} when anything in it is malformed or ambiguous.
 */
export function parseResponseHead(text: string): ResponseHead {
  const minor = parseVersion(text, 0);
  if (text.charCodeAt(8) !== space) throw badStatusLine("needs one space after the version");
  const status = digit(text, 9) * 100 + digit(text, 10) * 10 + digit(text, 11);
  if (!(status >= 100)) throw badStatusLine("needs a status of three digits from 100 up");

  let at = 12;
  let reason = "";
  if (text.charCodeAt(at) === space) {
    at += 1;
    while (valueBytes[text.charCodeAt(at)] === 1) at += 1;
    reason = text.substring(13, at);
  }
  if (text.charCodeAt(at) !== cr || text.charCodeAt(at + 1) !== lf) {
    throw badStatusLine("must end with a reason free of control bytes, and CRLF");
  }
  return { status, reason, minor, headers: parseHeaderLines(text, at + 2) };
}

/**
 * Reads header lines from `start` to the empty line that must be the end of `text`. Trailers use it too.
 *
 * @throws {FramingError} on a name that is no token, a control byte, a bare CR or LF, or a folded line.
 */
export function parseHeaderLines(text: string, start: number): string[] {
  const headers: string[] = [];
  const end = text.length;
  let at = start;
  while (at < end) {
    const lineStart = at;
    while (nameBytes[text.charCodeAt(at)] === 1) at += 1;
    if (at === lineStart) {
      if (at + 2 === end && text.charCodeAt(at) === cr && text.charCodeAt(at + 1) === lf) return headers;
      throw badHeaderStart(text.charCodeAt(at));
    }
    if (text.charCodeAt(at) !== colon) throw badHeaderName(text.charCodeAt(at));
    headers.push(nameAt(text, lineStart, at));

    at += 1;
    let byte = text.charCodeAt(at);
    while (byte === space || byte === tab) byte = text.charCodeAt(++at);
    const valueStart = at;
    while (valueBytes[text.charCodeAt(at)] === 1) at += 1;
    if (text.charCodeAt(at) !== cr || text.charCodeAt(at + 1) !== lf) throw badHeaderValue(text.charCodeAt(at));

    let valueEnd = at;
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd -= 1;
    headers.push(text.substring(valueStart, valueEnd));
    at += 2;
  }
  throw new FramingError("bad_head", "The head must end with an empty line");
}

export interface HeadLimits {
  /** The whole head, empty last line included. */
  readonly maxBytes: number;
  readonly maxHeaders: number;
}

/** The shortest header line, `a:` and CRLF: a head of fewer bytes per allowed header need not be counted. */
const minHeaderBytes = 4;

/**
 * Collects one head from arriving chunks. Mostly the whole head is in one chunk, and is turned into text at once.
 *
 * A head that is still incomplete is watched byte by byte, so that a bare LF, which would never complete it, is
 * refused when it arrives. Chunks are not kept, only their text: a peer that drips bytes cannot pin socket buffers.
 */
export class HeadReader {
  readonly #limits: HeadLimits;
  #text = "";
  #complete = false;
  /** How much of CRLF CRLF the collected bytes end with. */
  #matched = 0;

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** The head; only once `push` has returned a count. */
  get text(): string {
    return this.#text;
  }

  /** Has a part of a head arrived? One CRLF alone, left over by an old client after its body, does not count. */
  get started(): boolean {
    const length = this.#text.length;
    return length > 2 || (length > 0 && this.#text !== "\r" && this.#text !== "\r\n");
  }

  /**
   * Takes the next chunk. Returns how many of its bytes belong to the head, which is now complete, or -1: need more.
   * The bytes past that count are the body's, or the next message's.
   *
   * @throws {FramingError} when the head is too large, or holds a bare CR or LF.
   */
  push(chunk: Buffer): number | -1 {
    if (this.#complete) throw new Error("HeadReader.push after a complete head: call reset() first");
    const fits = this.#limits.maxBytes - this.#text.length;
    const used = this.#text === "" ? endOfHead(chunk) : this.#scan(chunk);
    if (used === -1) {
      if (chunk.length > fits) throw this.#tooLarge(chunk);
      if (this.#text === "") this.#scan(chunk);
      this.#text += chunk.toString("latin1");
      return -1;
    }
    if (used > fits) throw this.#tooLarge(chunk);
    this.#text += chunk.toString("latin1", 0, used);
    this.#complete = true;
    this.#checkHeaderCount();
    return used;
  }

  reset(): void {
    this.#text = "";
    this.#complete = false;
    this.#matched = 0;
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
    const seen = this.#text + chunk.toString("latin1", 0, maxBytes);
    return unfinishedRequestLine.test(seen)
      ? new FramingError("target_too_long", `The first line is longer than ${maxBytes} bytes`, 414)
      : new FramingError("head_too_large", `The head is larger than ${maxBytes} bytes`, 431);
  }

  #checkHeaderCount(): void {
    const { maxHeaders } = this.#limits;
    if (this.#text.length < maxHeaders * minHeaderBytes) return;
    let lines = -2; // the first line and the empty one
    for (let at = this.#text.indexOf("\n"); at !== -1; at = this.#text.indexOf("\n", at + 1)) lines += 1;
    if (lines > maxHeaders) {
      throw new FramingError("too_many_headers", `The head has more than ${maxHeaders} headers`, 431);
    }
  }
}

const emptyLine = Buffer.from("\r\n\r\n", "latin1");

function endOfHead(chunk: Buffer): number {
  const at = chunk.indexOf(emptyLine);
  return at === -1 ? -1 : at + 4;
}

/** A head that passes its limit before the first line ends has a target to blame. */
const unfinishedRequestLine = /^(?:\r\n)?[A-Za-z]+ [^\r\n]*$/;

/** The characters of hosts, user names and ports only; which of them make an address is not decided here. */
const authorityForm = /^[A-Za-z0-9._~!$&'()*+;=%:[\]-]+$/;
const absoluteForm = /^[A-Za-z]+:\/\/[A-Za-z0-9._~!$&'()*+,;=%:@[\]-]+(?:[/?]|$)/;

/** @throws {FramingError} 505 for a well-formed version that is not 1.0 or 1.1, 400 for anything else. */
function parseVersion(text: string, at: number): 0 | 1 {
  if (text.startsWith("HTTP/1.", at)) {
    const minor = text.charCodeAt(at + 7);
    if (minor === 0x31) return 1;
    if (minor === 0x30) return 0;
  }
  if (/^HTTP\/[0-9]\.[0-9](?![0-9.])/.test(text.substring(at, at + 9))) {
    throw new FramingError("version_not_supported", "The HTTP version must be 1.1 or 1.0", 505);
  }
  throw new FramingError("bad_version", "The HTTP version must be HTTP/1.1 or HTTP/1.0");
}

/** NaN for anything but a digit. */
function digit(text: string, at: number): number {
  const value = text.charCodeAt(at) - 0x30;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab;
}

function badRequestLine(problem: string): FramingError {
  return new FramingError("bad_request_line", `The request line ${problem}`);
}

function badStatusLine(problem: string): FramingError {
  return new FramingError("bad_status_line", `The status line ${problem}`);
}

function badLineEnd(): FramingError {
  return new FramingError("bad_line_end", "Every line of a head must end with CRLF, and hold no other CR or LF");
}

function badHeaderStart(byte: number): FramingError {
  if (byte === space || byte === tab) {
    return new FramingError("folded_header", "A header line must not start with white space: folding is not supported");
  }
  if (byte === colon) return new FramingError("bad_header_name", "A header has an empty name");
  return badHeaderName(byte);
}

function badHeaderName(byte: number): FramingError {
  if (byte === space || byte === tab) {
    return new FramingError("bad_header_name", "A header name must be followed by its colon without white space");
  }
  if (byte === cr || byte === lf) {
    return new FramingError("bad_header_line", "A header line must have a name, a colon and CRLF at its end");
  }
  return new FramingError("bad_header_name", "A header name holds a byte that is not allowed in names");
}

function badHeaderValue(byte: number): FramingError {
  if (byte === cr || byte === lf) return badLineEnd();
  return new FramingError("bad_header_value", "A header value holds a control byte");
}
