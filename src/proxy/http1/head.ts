import { nameBytes, targetBytes, valueBytes } from "./bytes.ts";
import { Fields, type HeaderList } from "./fields.ts";
import { FramingError } from "./framing-error.ts";

/**
 * The first lines of HTTP/1.1 messages (RFC 9112, sections 2 to 4), and the heads that they begin.
 *
 * The same strict reader serves both sides: requests of agents and answers of upstreams. What two parsers could read
 * in two ways is refused, because the second parser is one that an attacker chose. What is relayed is what arrived,
 * byte for byte; where a string is made of a part, it is latin1: one character is one byte.
 *
 * Decisions where RFC 9112 leaves room:
 * - One CRLF before a request line is skipped (section 2.2); a second one, or one before a status line, is refused.
 * - A status line may lack the blank before an empty reason, as many servers do, and llhttp reads it the same way.
 * - Bytes of 0x80 and above pass in header values and reason phrases, and are refused in methods, targets and names.
 * - White space around a value is dropped; inside it stays as it is.
 */

/** What a target may measure in bytes; RFC 9112, section 3, asks for at least 8000. */
const maxTargetBytes = 32 * 1024;

const lf = 0x0a;
const cr = 0x0d;
const space = 0x20;
const slash = 0x2f;

/**
 * The head of a request. An instance is read into again for the next request of its connection, so that a warm request
 * makes next to no objects.
 */
export class RequestHead {
  method = "";
  /** Origin, absolute, authority (CONNECT only) or asterisk form, byte for byte as received. */
  target = "";
  /** The `x` of `HTTP/1.x`. */
  minor: 0 | 1 = 1;
  readonly fields = new Fields();
  /** Where the request line starts in `fields.bytes`, and where the first header does. */
  lineStart = 0;
  fieldsStart = 0;

  /**
   * Reads a whole head, its empty last line included, from `start` to `end`.
   *
   * @throws {FramingError} when anything in it is malformed or ambiguous.
   */
  parse(bytes: Buffer, start: number, end: number): void {
    const lineStart = bytes[start] === cr && bytes[start + 1] === lf ? start + 2 : start;
    let at = lineStart;
    while (nameBytes[bytes[at] ?? 0] === 1) at += 1;
    if (at === lineStart || bytes[at] !== space) throw badRequestLine("does not start with a method and one space");
    const method = methodAt(bytes, lineStart, at);
    // The one method that means another protocol (RFC 9113, section 3.4), whatever version stands behind it.
    if (method === "PRI") throw new FramingError("version_not_supported", "The HTTP version must be 1.1 or 1.0", 505);

    const targetStart = at + 1;
    at = targetStart;
    while (targetBytes[bytes[at] ?? 0] === 1) at += 1;
    if (at === targetStart || bytes[at] !== space) {
      throw badRequestLine("needs a target of visible ASCII without a fragment, then one space and the version");
    }
    if (at - targetStart > maxTargetBytes) {
      throw new FramingError("target_too_long", `The request target is longer than ${maxTargetBytes} bytes`, 414);
    }
    const target = bytes.toString("latin1", targetStart, at);
    if (method === "CONNECT") {
      if (!authorityForm.test(target)) throw badRequestLine("of CONNECT needs a target like host:port");
    } else if (bytes[targetStart] !== slash && target !== "*" && !absoluteForm.test(target)) {
      throw badRequestLine("has a target that is neither a path, nor a URL, nor an asterisk");
    }

    this.minor = parseVersion(bytes, at + 1, end);
    if (bytes[at + 9] !== cr || bytes[at + 10] !== lf) throw badRequestLine("must end with the version and CRLF");
    this.method = method;
    this.target = target;
    this.lineStart = lineStart;
    this.fieldsStart = at + 11;
    this.fields.parse(bytes, at + 11, end);
  }

  get headers(): HeaderList {
    return this.fields.list();
  }
}

/** The head of an answer. An instance is read into again for the next answer of its connection. */
export class ResponseHead {
  /** Three digits, 100 to 999: some services answer with numbers past 599, and they are relayed as they are. */
  status = 0;
  /** The `x` of `HTTP/1.x`. */
  minor: 0 | 1 = 1;
  readonly fields = new Fields();
  /** Where the status stands in `fields.bytes`, and where the first header does. */
  statusStart = 0;
  fieldsStart = 0;

  /**
   * Reads a whole head, its empty last line included, from `start` to `end`.
   *
   * @throws {FramingError} when anything in it is malformed or ambiguous.
   */
  parse(bytes: Buffer, start: number, end: number): void {
    this.minor = parseVersion(bytes, start, end);
    if (bytes[start + 8] !== space) throw badStatusLine("needs one space after the version");
    const status = digit(bytes, start + 9) * 100 + digit(bytes, start + 10) * 10 + digit(bytes, start + 11);
    if (!(status >= 100)) throw badStatusLine("needs a status of three digits from 100 up");

    let at = start + 12;
    if (bytes[at] === space) {
      at += 1;
      while (valueBytes[bytes[at] ?? 0] === 1) at += 1;
    }
    if (bytes[at] !== cr || bytes[at + 1] !== lf) {
      throw badStatusLine("must end with a reason free of control bytes, and CRLF");
    }
    this.status = status;
    this.statusStart = start + 9;
    this.fieldsStart = at + 2;
    this.fields.parse(bytes, at + 2, end);
  }

  /** May be empty. */
  get reason(): string {
    return this.fields.bytes.toString(
      "latin1",
      this.statusStart + 4,
      Math.max(this.statusStart + 4, this.fieldsStart - 2),
    );
  }

  get headers(): HeaderList {
    return this.fields.list();
  }
}

/** @throws {FramingError} */
export function parseRequestHead(bytes: Buffer): RequestHead {
  const head = new RequestHead();
  head.parse(bytes, 0, bytes.length);
  return head;
}

/** @throws {FramingError} */
export function parseResponseHead(bytes: Buffer): ResponseHead {
  const head = new ResponseHead();
  head.parse(bytes, 0, bytes.length);
  return head;
}

const usualMethods = ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "CONNECT"] as const;

/** The usual methods are always the same string. */
function methodAt(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  for (const method of usualMethods) {
    if (method.length === length && isAt(method, bytes, start)) return method;
  }
  return bytes.toString("latin1", start, end);
}

function isAt(text: string, bytes: Buffer, start: number): boolean {
  for (let i = 0; i < text.length; i += 1) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** The characters of hosts, user names and ports only; which of them make an address is not decided here. */
const authorityForm = /^[A-Za-z0-9._~!$&'()*+;=%:[\]-]+$/;
const absoluteForm = /^[A-Za-z]+:\/\/[A-Za-z0-9._~!$&'()*+,;=%:@[\]-]+(?:[/?]|$)/;

/** @throws {FramingError} 505 for a well-formed version that is not 1.0 or 1.1, 400 for anything else. */
function parseVersion(bytes: Buffer, at: number, end: number): 0 | 1 {
  if (isAt("HTTP/1.", bytes, at)) {
    const minor = bytes[at + 7];
    if (minor === 0x31) return 1;
    if (minor === 0x30) return 0;
  }
  if (/^HTTP\/[0-9]\.[0-9](?![0-9.])/.test(bytes.toString("latin1", at, Math.min(at + 9, end)))) {
    throw new FramingError("version_not_supported", "The HTTP version must be 1.1 or 1.0", 505);
  }
  throw new FramingError("bad_version", "The HTTP version must be HTTP/1.1 or HTTP/1.0");
}

/** NaN for anything but a digit. */
function digit(bytes: Buffer, at: number): number {
  const value = (bytes[at] ?? 0) - 0x30;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

function badRequestLine(problem: string): FramingError {
  return new FramingError("bad_request_line", `The request line ${problem}`);
}

function badStatusLine(problem: string): FramingError {
  return new FramingError("bad_status_line", `The status line ${problem}`);
}
