import { Field } from "./field-names.ts";
import { FramingError } from "./framing-error.ts";
import type { RequestHead } from "./head.ts";

/** `uri-host [":" port]` by its bytes only, less the comma, which would join two of them. */
const hostBytes = /^[A-Za-z0-9._~!$&'()*+;=%:[\]-]*$/;

/**
 * The `Host` of a request (RFC 9112, section 3.2): exactly one for HTTP/1.1, at most one for HTTP/1.0. It may be
 * empty. What it names, and whether it matters (it does not for CONNECT and absolute-form), is the caller's to say.
 *
 * @throws {FramingError} when it is missing, repeated, or no host by its bytes.
 */
export function hostOf({ fields, minor }: RequestHead): string | undefined {
  if (!fields.has(Field.host)) {
    if (minor === 0) return undefined;
    throw new FramingError("host_missing", "An HTTP/1.1 request must have a Host header");
  }
  if (fields.isRepeated(Field.host)) {
    throw new FramingError("host_repeated", "A request must not have more than one Host header");
  }
  const host = fields.valueOf(Field.host);
  if (host === undefined || !hostBytes.test(host))
    throw new FramingError("bad_host", "The Host header must be one host and an optional port");
  return host;
}
