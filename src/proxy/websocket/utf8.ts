import { isUtf8 } from "node:buffer";

/** Checks that a text is UTF-8, however it is cut (RFC 6455, section 8.1). */
export class Utf8Check {
  /** An unfinished character at the end of what was seen. */
  #rest: Buffer = Buffer.alloc(0);

  /** False when the text is no UTF-8 whatever follows. */
  push(chunk: Buffer): boolean {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const end = data.length - unfinishedBytes(data);
    this.#rest = Buffer.from(data.subarray(end));
    return isUtf8(data.subarray(0, end));
  }

  /** Is the text complete? Starts over. */
  end(): boolean {
    const isComplete = this.#rest.length === 0;
    this.#rest = Buffer.alloc(0);
    return isComplete;
  }
}

/** How many bytes at the end begin a character that is longer: at most three. */
function unfinishedBytes(data: Buffer): number {
  for (let count = 1; count <= 3 && count <= data.length; count += 1) {
    const byte = data[data.length - count] ?? 0;
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > count ? count : 0;
  }
  return 0;
}
