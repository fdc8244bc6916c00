import type { HeaderList } from "../http1/fields.ts";
import { DynamicTable, entryOverheadBytes, staticTable } from "./header-table.ts";
import { ErrorCode, Http2ConnectionError } from "./http2-error.ts";
import { decodeHuffman } from "./huffman.ts";

export interface FieldLimits {
  /** Names, values and 32 bytes for each field (RFC 9113, section 6.5.2). */
  readonly maxBytes: number;
  readonly maxFields: number;
}

/** The size of our table until the peer is told another one, which it never is. */
const decoderTableBytes = 4096;

/** Reads header blocks of one peer, in the order in which they came (RFC 7541). */
export class HpackDecoder {
  readonly #table = new DynamicTable(decoderTableBytes);
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  /**
   * The fields of a block, as latin1: one character per byte. Undefined when they are above the limits; the block was
   * read to its end all the same, as the next one builds on it. A field that names an entry of the table costs a
   * reference, so that a block which unfolds a thousandfold takes no memory.
   *
   * @throws {Http2ConnectionError} on a malformed block: nothing that follows could be read.
   */
  decode(block: Buffer, limits: FieldLimits): HeaderList | undefined {
    this.#bytes = block;
    this.#at = 0;
    const fields: string[] = [];
    let bytes = 0;
    let count = 0;
    while (this.#at < block.length) {
      const first = block[this.#at] ?? 0;
      if ((first & 0xe0) === 0x20) {
        if (count > 0) throw badBlock("A header block changes the size of the table behind its first field");
        this.#resize();
        continue;
      }
      const index = (first & 0x80) !== 0 ? this.#integer(7) : 0;
      let name: string;
      let value: string;
      if ((first & 0x80) !== 0) [name, value] = this.#entry(index);
      else {
        const isAdded = (first & 0xc0) === 0x40;
        const nameIndex = this.#integer(isAdded ? 6 : 4);
        name = nameIndex === 0 ? this.#string() : this.#entry(nameIndex)[0];
        value = this.#string();
        if (isAdded) this.#table.add(name, value);
      }
      count += 1;
      bytes += name.length + value.length + entryOverheadBytes;
      if (bytes <= limits.maxBytes && count <= limits.maxFields) fields.push(name, value);
      else fields.length = 0;
    }
    this.#bytes = Buffer.alloc(0);
    return bytes <= limits.maxBytes && count <= limits.maxFields ? fields : undefined;
  }

  #resize(): void {
    const size = this.#integer(5);
    if (size > decoderTableBytes) throw badBlock("A header block makes the table larger than was allowed");
    this.#table.resize(size);
  }

  #entry(index: number): readonly [name: string, value: string] {
    const fixed = staticTable[index - 1];
    if (fixed !== undefined) return fixed;
    const entry = index === 0 ? undefined : this.#table.find(index - 1 - staticTable.length);
    if (entry === undefined) throw badBlock("A header block names an entry that does not exist");
    return [entry.name, entry.value];
  }

  /** RFC 7541, section 5.1. Four more bytes are 2^28 values: nothing honest needs as many. */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw badBlock("A header block holds a number that is too large");
  }

  #string(): string {
    const isCoded = ((this.#bytes[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#bytes.length) throw badBlock("A header block ends in the middle of a string");
    this.#at = end;
    return isCoded ? decodeHuffman(this.#bytes, start, end) : this.#bytes.toString("latin1", start, end);
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw badBlock("A header block ends in the middle of a field");
    this.#at += 1;
    return byte;
  }
}

function badBlock(message: string): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.compressionError, message);
}
