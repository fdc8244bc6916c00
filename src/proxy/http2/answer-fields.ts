import { type AnswerOptions, writeAnswerHead } from "../headers.ts";
import type { HeaderList } from "../http1/fields.ts";
import { type Framing, responseFraming } from "../http1/framing.ts";
import { ResponseHead } from "../http1/head.ts";
import { checkField } from "./field-rules.ts";
import { HeadScratch } from "./head-scratch.ts";
import { malformed } from "./http2-error.ts";
import { pushFields } from "./request-fields.ts";

/** Answers between their two forms, as `request-fields` has it for requests. */

export interface ReadAnswer {
  readonly head: ResponseHead;
  readonly framing: Framing;
}

/**
 * The head of an answer (RFC 9113, section 8.3.2), 1xx included.
 *
 * @param fields undefined when they are larger than allowed.
 * @throws {Http2StreamError | FramingError} on a malformed answer.
 */
export function readAnswer(fields: HeaderList | undefined, method: string, endsStream: boolean): ReadAnswer {
  if (fields === undefined) throw malformed("The head of the answer is too large");
  const status = fields[1] ?? "";
  if (fields[0] !== ":status" || !/^[1-9][0-9]{2}$/.test(status))
    throw malformed("An answer does not begin with a status");
  if (status === "101") throw malformed("HTTP/2 does not switch protocols");
  let text = `HTTP/1.1 ${status} \r\n`;
  for (let at = 2; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    if (name.startsWith(":")) throw malformed("A pseudo-header is not one of an answer");
    checkField(name, value);
    text += `${name}: ${value}\r\n`;
  }
  const bytes = Buffer.from(`${text}\r\n`, "latin1");
  const head = new ResponseHead();
  head.parse(bytes, 0, bytes.length);
  const framing = responseFraming(head, method);
  if (framing.kind === "none") return { head, framing };
  if (!endsStream) return { head, framing: framing.kind === "close" ? { kind: "chunked" } : framing };
  if (framing.kind === "length" && framing.length > 0) throw malformed("The body is shorter than its content-length");
  return { head, framing: { kind: "none" } };
}

const scratch = new HeadScratch();
const outgoing = new ResponseHead();

/** An answer on its way to an agent: what `writeAnswerHead` makes of it, as fields. */
export function answerFields(
  head: ResponseHead,
  options: Pick<AnswerOptions, "stripsCookies" | "dropsLength">,
): string[] {
  // As if it were chunked: trailers may follow, so `Trailer` may stay.
  writeAnswerHead(scratch, head, { ...options, isChunked: true, connection: undefined });
  return fieldsOf(scratch.take());
}

/** The fields of a whole head that the broker wrote itself. */
export function fieldsOf(bytes: Buffer): string[] {
  outgoing.parse(bytes, 0, bytes.length);
  const list = [":status", String(outgoing.status)];
  pushFields(list, outgoing.fields);
  outgoing.fields.release();
  return list;
}
