/** Below this a chunk is copied: an entry of a list costs more, and it may be a part of something much larger. */
const minOwnBytes = 2048;
const blockBytes = 16 * 1024;

/** Bytes that wait, in their order. However small the chunks are, they take little more memory than their bytes. */
export class ByteQueue {
  readonly #chunks: Buffer[] = [];
  /** How much of the first chunk is gone. */
  #at = 0;
  /** The last chunk, where there is room behind it. */
  #block: Buffer | undefined;
  #blockEnd = 0;
  length = 0;

  push(chunk: Buffer): void {
    this.length += chunk.length;
    if (chunk.length >= minOwnBytes) {
      this.#block = undefined;
      this.#chunks.push(chunk);
      return;
    }
    const block = this.#block;
    if (block !== undefined && this.#blockEnd + chunk.length <= block.length) {
      chunk.copy(block, this.#blockEnd);
      this.#blockEnd += chunk.length;
      this.#chunks[this.#chunks.length - 1] = block.subarray(0, this.#blockEnd);
      return;
    }
    // The first one alone gets what it needs: most queues never hold a second.
    this.#block = Buffer.allocUnsafeSlow(this.#chunks.length === 0 ? Math.max(chunk.length, 256) : blockBytes);
    this.#blockEnd = chunk.length;
    chunk.copy(this.#block, 0);
    this.#chunks.push(this.#block.subarray(0, chunk.length));
  }

  /** The next bytes, at most so many and at least one. Only where `length` is not 0. */
  shift(maxBytes: number): Buffer {
    const first = this.#chunks[0];
    if (first === undefined) throw new RangeError("Nothing is waiting");
    const end = Math.min(first.length, this.#at + maxBytes);
    const bytes = first.subarray(this.#at, end);
    this.length -= bytes.length;
    this.#at = end;
    if (end === first.length) {
      this.#chunks.shift();
      this.#at = 0;
      if (this.#chunks.length === 0) this.#block = undefined;
    }
    return bytes;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#at = 0;
    this.#block = undefined;
    this.length = 0;
  }
}
