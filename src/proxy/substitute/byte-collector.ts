const empty = Buffer.alloc(0);
const firstBytes = 1024;

/**
 * Collects bytes in one piece of memory that doubles as it fills. A list of the chunks would cost a hundred bytes for
 * each, and whoever sends them decides how small they are.
 */
export class ByteCollector {
  #bytes: Buffer = empty;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(chunk: Buffer): void {
    const needed = this.#length + chunk.length;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2, firstBytes));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    chunk.copy(this.#bytes, this.#length);
    this.#length = needed;
  }

  /** All of it, which is then the caller's; starts over. */
  take(): Buffer {
    const all = this.#bytes.subarray(0, this.#length);
    this.#bytes = empty;
    this.#length = 0;
    return all;
  }
}
