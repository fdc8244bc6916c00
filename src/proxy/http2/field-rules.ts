import { nameBytes, valueBytes } from "../http1/bytes.ts";
import type { HeaderList } from "../http1/fields.ts";
import { consistsOf } from "../http1/serialize.ts";
import { acceptTrailers } from "../http1/trailers.ts";
import { malformed } from "./http2-error.ts";

/** What every field of a message has to keep to (RFC 9113, section 8.2). */

/** They are about one connection of HTTP/1.1, and say nothing here (section 8.2.2). */
const ofConnections: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

export function isOfConnection(lowerName: string): boolean {
  return ofConnections.has(lowerName);
}

/** @throws {Http2StreamError} */
export function checkField(name: string, value: string): void {
  if (name === "" || !consistsOf(name, nameBytes) || /[A-Z]/.test(name)) {
    throw malformed("A field name is not a token in lower case");
  }
  if (ofConnections.has(name)) throw malformed("A field belongs to connections of HTTP/1.1");
  if (!consistsOf(value, valueBytes)) throw malformed("A field value holds a control byte");
  if (/^[ \t]|[ \t]$/.test(value)) throw malformed("A field value begins or ends with white space");
}

/**
 * The trailers that may be relayed.
 *
 * @param fields undefined when they are larger than allowed.
 * @throws {Http2StreamError}
 * @throws {FramingError} on one that would change the framing or the routing of its message.
 */
export function readTrailers(fields: HeaderList | undefined): HeaderList {
  if (fields === undefined) throw malformed("The trailers are too large");
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    if (name.startsWith(":")) throw malformed("A trailer is a pseudo-header");
    checkField(name, fields[at + 1] ?? "");
  }
  return acceptTrailers(fields);
}

export function inLowerCase(trailers: HeaderList): string[] {
  return trailers.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text));
}
