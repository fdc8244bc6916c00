import { FramingError } from "./framing-error.ts";
import type { HeaderList, RequestHead, ResponseHead } from "./head.ts";
import { hasToken, isNamed } from "./headers.ts";

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
  const framing = declaredFraming(head.headers, head.minor);
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
  const framing = declaredFraming(head.headers, head.minor);
  const { status } = head;
  if (requestMethod === "HEAD" || status < 200 || status === 204 || status === 304) return none;
  if (requestMethod === "CONNECT" && status < 300) return none;
  return framing ?? close;
}

/**
 * May another message follow on this connection (RFC 9112, section 9.3)? A response framed by `close` ends the
 * connection whatever this says.
 */
export function keepsAlive(head: RequestHead | ResponseHead): boolean {
  if (hasToken(head.headers, "connection", "close")) return false;
  return head.minor === 1 || hasToken(head.headers, "connection", "keep-alive");
}

/** One pass over the headers: most requests have neither. */
function declaredFraming(headers: HeaderList, minor: 0 | 1): Framing | undefined {
  let length: string | undefined;
  let coding: string | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? "";
    if (name.length === contentLength.length && isNamed(name, contentLength)) {
      if (length !== undefined) {
        throw new FramingError("repeated_content_length", "A message must not have more than one Content-Length");
      }
      length = headers[i + 1] ?? "";
    } else if (name.length === transferEncoding.length && isNamed(name, transferEncoding)) {
      if (coding !== undefined) {
        throw new FramingError("repeated_transfer_encoding", "A message must not have more than one Transfer-Encoding");
      }
      coding = headers[i + 1] ?? "";
    }
  }
  if (coding === undefined) return length === undefined ? undefined : { kind: "length", length: parseLength(length) };
  if (length !== undefined) {
    throw new FramingError("ambiguous_length", "A message must not have both Content-Length and Transfer-Encoding");
  }
  if (minor === 0) {
    throw new FramingError("transfer_encoding_in_1_0", "An HTTP/1.0 message must not have a Transfer-Encoding");
  }
  if (!isNamed(coding, "chunked")) {
    throw new FramingError("unknown_transfer_coding", "The only transfer coding supported is a single chunked", 501);
  }
  return chunked;
}

const contentLength = "content-length";
const transferEncoding = "transfer-encoding";

/** @throws {FramingError} on anything but decimal digits without a leading zero, up to 2^53 - 1. */
function parseLength(text: string): number {
  let length = 0;
  for (let i = 0; i < text.length; i += 1) {
    const digit = text.charCodeAt(i) - 0x30;
    if (!(digit >= 0 && digit <= 9)) throw badContentLength();
    length = length * 10 + digit;
  }
  if (text === "" || length > Number.MAX_SAFE_INTEGER || (text.length > 1 && text.startsWith("0"))) {
    throw badContentLength();
  }
  return length;
}

function badContentLength(): FramingError {
  return new FramingError(
    "bad_content_length",
    "Content-Length must be one decimal number without sign, blanks or leading zeros, below 2^53",
  );
}
