import { Field } from "./field-names.ts";
import type { Fields } from "./fields.ts";
import { FramingError } from "./framing-error.ts";
import type { RequestHead, ResponseHead } from "./head.ts";

/**
 * Where a message ends (RFC 9112, section 6). `close`: when the connection does; only a response can be.
 * `length` is in bytes, and may be 0.
 */
export type Framing =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "close" };

const none: Framing = { kind: "none" };
const chunked: Framing = { kind: "chunked" };
const close: Framing = { kind: "close" };

/**
 * The framing of a request's body. `none` and a length of 0 differ: an empty POST keeps its `Content-Length: 0`.
 *
 * Stricter than the RFC demands, on purpose: a repeated length is refused even if equal, so is one with leading
 * zeros, which some parsers read as octal, and a CONNECT with a body, whose bytes others take for the tunnel's.
 *
 * @throws {FramingError} on lengths or codings that are malformed, repeated, combined or unknown.
 */
export function requestFraming(head: RequestHead): Framing {
  const framing = declaredFraming(head.fields, head.minor);
  if (framing === undefined) return none;
  if (head.method === "CONNECT") {
    if (framing.kind === "length" && framing.length === 0) return none;
    throw new FramingError("body_on_connect", "A CONNECT request must not have a body");
  }
  return framing;
}

/**
 * The framing of the answer to a request with `requestMethod`.
 *
 * Declarations are checked even where no body follows: after HEAD, and with 1xx, 204 and 304. With 1xx and 204 they
 * mean nothing (RFC 9110, section 8.6) and should not be relayed; with HEAD and 304 they describe another answer.
 *
 * @throws {FramingError} on lengths or codings that are malformed, repeated, combined or unknown.
 */
export function responseFraming(head: ResponseHead, requestMethod: string): Framing {
  const framing = declaredFraming(head.fields, head.minor);
  const { status } = head;
  if (requestMethod === "HEAD" || status < 200 || status === 204 || status === 304) return none;
  if (requestMethod === "CONNECT" && status < 300) return none;
  return framing ?? close;
}

/**
 * May another message follow on this connection (RFC 9112, section 9.3)? A response framed by `close` ends the
 * connection whatever this says.
 */
export function keepsAlive({ fields, minor }: RequestHead | ResponseHead): boolean {
  if (!fields.has(Field.connection)) return minor === 1;
  if (fields.hasToken(Field.connection, "close")) return false;
  return minor === 1 || fields.hasToken(Field.connection, "keep-alive");
}

/** Most requests have neither. */
function declaredFraming(fields: Fields, minor: 0 | 1): Framing | undefined {
  const hasLength = fields.has(Field.contentLength);
  const hasCoding = fields.has(Field.transferEncoding);
  if (!hasLength && !hasCoding) return undefined;
  if (fields.isRepeated(Field.contentLength)) {
    throw new FramingError("repeated_content_length", "A message must not have more than one Content-Length");
  }
  if (fields.isRepeated(Field.transferEncoding)) {
    throw new FramingError("repeated_transfer_encoding", "A message must not have more than one Transfer-Encoding");
  }
  if (!hasCoding) return { kind: "length", length: parseLength(fields, fields.lineOf(Field.contentLength)) };
  if (hasLength) {
    throw new FramingError("ambiguous_length", "A message must not have both Content-Length and Transfer-Encoding");
  }
  if (minor === 0) {
    throw new FramingError("transfer_encoding_in_1_0", "An HTTP/1.0 message must not have a Transfer-Encoding");
  }
  if (!fields.isValue(fields.lineOf(Field.transferEncoding), "chunked")) {
    throw new FramingError("unknown_transfer_coding", "The only transfer coding supported is a single chunked", 501);
  }
  return chunked;
}

/** @throws {FramingError} on anything but decimal digits without a leading zero, up to 2^53 - 1. */
function parseLength(fields: Fields, line: number): number {
  const { bytes } = fields;
  const start = fields.valueStart(line);
  const end = fields.valueEnd(line);
  let length = 0;
  for (let at = start; at < end; at += 1) {
    const digit = (bytes[at] ?? 0) - 0x30;
    if (!(digit >= 0 && digit <= 9)) throw badContentLength();
    length = length * 10 + digit;
  }
  const hasLeadingZero = end - start > 1 && bytes[start] === 0x30;
  if (start === end || length > Number.MAX_SAFE_INTEGER || hasLeadingZero) throw badContentLength();
  return length;
}

function badContentLength(): FramingError {
  return new FramingError(
    "bad_content_length",
    "Content-Length must be one decimal number without sign, blanks or leading zeros, below 2^53",
  );
}
