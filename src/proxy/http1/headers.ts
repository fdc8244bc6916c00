import { FramingError } from "./framing-error.ts";
import type { HeaderList, RequestHead } from "./head.ts";

/** Looking into a `HeaderList`. `lowerName` is always given in lower case; names compare without regard to case. */

/** The first value, or `undefined`. */
export function header(headers: HeaderList, lowerName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i] ?? "", lowerName)) return headers[i + 1];
  }
  return undefined;
}

/** How many lines carry this name. */
export function headerCount(headers: HeaderList, lowerName: string): number {
  let count = 0;
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i] ?? "", lowerName)) count += 1;
  }
  return count;
}

/**
 * The elements of a comma-separated header over all of its lines, trimmed, empty ones left out (RFC 9110, section
 * 5.6.1). For lists of tokens such as `Connection`: quoted strings are not understood.
 */
export function listValues(headers: HeaderList, lowerName: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (!isNamed(headers[i] ?? "", lowerName)) continue;
    for (const element of (headers[i + 1] ?? "").split(",")) {
      const value = element.trim();
      if (value !== "") values.push(value);
    }
  }
  return values;
}

/** Does a comma-separated header hold this token, in any case? `lowerToken` is given in lower case. */
export function hasToken(headers: HeaderList, lowerName: string, lowerToken: string): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    if (!isNamed(headers[i] ?? "", lowerName)) continue;
    const value = headers[i + 1] ?? "";
    if (isNamed(value, lowerToken)) return true; // nearly always the only element
    if (value.includes(",") && value.split(",").some((element) => isNamed(element.trim(), lowerToken))) return true;
  }
  return false;
}

/** Compares without regard to the case of ASCII letters, without making a string. */
export function isNamed(name: string, lowerName: string): boolean {
  if (name.length !== lowerName.length) return false;
  for (let i = 0; i < name.length; i += 1) {
    const byte = name.charCodeAt(i);
    const wanted = lowerName.charCodeAt(i);
    if (byte !== wanted && !(byte >= 0x41 && byte <= 0x5a && byte + 0x20 === wanted)) return false;
  }
  return true;
}

/** `uri-host [":" port]` by its bytes only, less the comma, which would join two of them. */
const hostBytes = /^[A-Za-z0-9._~!$&'()*+;=%:[\]-]*$/;

/**
 * The `Host` of a request (RFC 9112, section 3.2): exactly one for HTTP/1.1, at most one for HTTP/1.0. It may be
 * empty. What it names, and whether it matters (it does not for CONNECT and absolute-form), is the caller's to say.
 *
 * @throws {FramingError} when it is missing, repeated, or no host by its bytes.
 */
export function hostOf(head: RequestHead): string | undefined {
  const host = header(head.headers, "host");
  if (host === undefined) {
    if (head.minor === 0) return undefined;
    throw new FramingError("host_missing", "An HTTP/1.1 request must have a Host header");
  }
  if (headerCount(head.headers, "host") > 1) {
    throw new FramingError("host_repeated", "A request must not have more than one Host header");
  }
  if (!hostBytes.test(host))
    throw new FramingError("bad_host", "The Host header must be one host and an optional port");
  return host;
}
