import type { HeaderList } from "./fields.ts";
import { RequestHead, ResponseHead } from "./head.ts";
import { serializeRequestHead, serializeResponseHead } from "./serialize.ts";

/**
 * Heads whose headers were changed as strings, as heads in bytes again: written out, checked, and read by the same parser
 * as those that arrive, so that everything behind works on one kind of head. For the few that have to change; it costs
 * what reading a head costs, and a string for each line.
 */

/** @throws {UnwritableHead} when a header would change the structure of the head. */
export function rebuildRequestHead({ method, target, minor }: RequestHead, headers: HeaderList): RequestHead {
  const bytes = Buffer.from(serializeRequestHead(`${method} ${target} HTTP/1.${minor}`, headers), "latin1");
  const head = new RequestHead();
  head.parse(bytes, 0, bytes.length);
  return head;
}

/** @throws {UnwritableHead} as above. */
export function rebuildResponseHead(status: number, reason: string, headers: HeaderList): ResponseHead {
  const bytes = Buffer.from(serializeResponseHead(status, reason, headers), "latin1");
  const head = new ResponseHead();
  head.parse(bytes, 0, bytes.length);
  return head;
}

/** A copy that outlives the event which the head was read in. */
export function copyResponseHead(head: ResponseHead): ResponseHead {
  const { fields, statusStart } = head;
  const bytes = Buffer.from(fields.bytes.subarray(statusStart - "HTTP/1.1 ".length, fields.end + "\r\n".length));
  const copy = new ResponseHead();
  copy.parse(bytes, 0, bytes.length);
  return copy;
}
