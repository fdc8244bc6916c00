import { AppError } from "../../errors.ts";
import { nameBytes, valueBytes } from "./bytes.ts";
import type { HeaderList } from "./fields.ts";

/**
 * Heads and chunk framing as latin1 text, to be written with the encoding "latin1".
 *
 * What is written here was parsed, substituted and injected into; a CR or LF that got in on the way would start a
 * header or a message of somebody else's choice. So every part is checked once more, here at the last step. A
 * failure is a bug of ours or a credential that cannot be a header, never the peer's fault.
 */

const lf = 0x0a;
const cr = 0x0d;

/** A part of a head that cannot be written: it would change the head's structure. Holds no part of the value. */
export class UnwritableHead extends AppError {
  override readonly status = 502;

  constructor(message: string) {
    super("unwritable_head", message);
  }
}

/** @throws {UnwritableHead} */
export function serializeRequestHead(line: string, headers: HeaderList): string {
  if (!consistsOf(line, valueBytes)) throw new UnwritableHead("The request line must not hold control bytes");
  return checked(`${line}\r\n${serializeHeaderLines(headers)}\r\n`, headers);
}

/** @throws {UnwritableHead} */
export function serializeResponseHead(status: number, reason: string, headers: HeaderList): string {
  if (!Number.isInteger(status) || status < 100 || status > 999) {
    throw new UnwritableHead("The status must be a number of three digits");
  }
  if (!consistsOf(reason, valueBytes)) throw new UnwritableHead("The reason must not hold control bytes");
  return checked(`HTTP/1.1 ${status} ${reason}\r\n${serializeHeaderLines(headers)}\r\n`, headers);
}

/** What goes before the data of a chunk; `chunkEnd` goes behind it. An empty chunk would end the body. */
export function chunkPrefix(length: number): string {
  if (!Number.isSafeInteger(length) || length <= 0) throw new RangeError("A chunk must have at least one byte");
  return `${length.toString(16)}\r\n`;
}

/** What goes behind the data of every chunk. */
export const chunkEnd = "\r\n";

/**
 * The end of a chunked body: the empty chunk and the trailers.
 *
 * @throws {UnwritableHead}
 */
export function lastChunk(trailers: HeaderList = []): string {
  return trailers.length === 0 ? "0\r\n\r\n" : checked(`0\r\n${serializeHeaderLines(trailers)}\r\n`, trailers);
}

function serializeHeaderLines(headers: HeaderList): string {
  if (headers.length % 2 !== 0) throw new UnwritableHead("A header name has no value");
  let lines = "";
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? "";
    if (name === "" || !consistsOf(name, nameBytes)) throw new UnwritableHead("A header name is not a token");
    lines += `${name}: ${headers[i + 1] ?? ""}\r\n`;
  }
  return lines;
}

/**
 * Checks a whole head at once: it has as many lines as it was given, so no value brought one along. Looking at each
 * value by itself costs twice as much, for each is a piece of another string until it is looked at.
 */
function checked(head: string, headers: HeaderList): string {
  let lines = -headers.length / 2;
  for (let i = 0; i < head.length; i += 1) {
    const byte = head.charCodeAt(i);
    if (valueBytes[byte] === 1) continue;
    if (byte !== cr || head.charCodeAt(i + 1) !== lf) throw unwritableValue(headers);
    i += 1;
    lines += 1;
  }
  if (lines !== 2) throw unwritableValue(headers);
  return head;
}

function unwritableValue(headers: HeaderList): UnwritableHead {
  const bad = headers.findIndex((value, i) => i % 2 === 1 && !consistsOf(value, valueBytes));
  return new UnwritableHead(`The value of header ${headers[bad - 1]} holds a byte that headers must not`);
}

/** Does every character stand in the table? */
export function consistsOf(text: string, allowed: Uint8Array): boolean {
  for (let i = 0; i < text.length; i += 1) {
    if (allowed[text.charCodeAt(i)] !== 1) return false;
  }
  return true;
}
