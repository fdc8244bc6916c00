import type { HeaderList } from "./fields.ts";
import { FramingError } from "./framing-error.ts";

/**
 * Which headers may come as trailers. RFC 9110, section 6.5.1, forbids those that a recipient must know before the
 * body; a recipient that merges trailers into the headers would let them through behind every check.
 */

/** They change where a message ends or goes: whoever sends them here is trying something. */
const refused = new Set(["content-length", "host", "transfer-encoding"]);

/** Hop-by-hop, authentication, request modifiers, response control, and what describes the content. */
const dropped = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "via", "forwarded"],
  ...["authorization", "authentication-info", "cookie", "proxy-authenticate", "proxy-authentication-info"],
  ...["proxy-authorization", "set-cookie", "www-authenticate"],
  ...["cache-control", "expect", "max-forwards", "pragma", "range", "if-match", "if-modified-since", "if-none-match"],
  ...["if-range", "if-unmodified-since", "age", "date", "expires", "location", "retry-after", "vary", "warning"],
  ...["content-encoding", "content-range", "content-type"],
]);

/**
 * The trailers that may be relayed, in their order.
 *
 * @throws {FramingError} on one that would change the framing or the routing of its message.
 */
export function acceptTrailers(trailers: HeaderList): HeaderList {
  const accepted: string[] = [];
  for (let i = 0; i < trailers.length; i += 2) {
    const name = trailers[i] ?? "";
    const lower = name.toLowerCase();
    if (refused.has(lower)) {
      throw new FramingError("forbidden_trailer", "Trailers must not hold Content-Length, Transfer-Encoding or Host");
    }
    if (!dropped.has(lower)) accepted.push(name, trailers[i + 1] ?? "");
  }
  return accepted;
}
