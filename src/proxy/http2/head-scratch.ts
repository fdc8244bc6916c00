import type { HeadSink } from "../headers.ts";

/** Memory that a head is written into, to be read from there at once. */
export class HeadScratch implements HeadSink {
  #bytes = Buffer.allocUnsafeSlow(2048);
  #length = 0;

  text(text: string): void {
    this.#reserve(text.length);
    this.#bytes.write(text, this.#length, "latin1");
    this.#length += text.length;
  }

  copy(from: Buffer, start: number, end: number): void {
    this.#reserve(end - start);
    from.copy(this.#bytes, this.#length, start, end);
    this.#length += end - start;
  }

  /** What was written, good until something else is. Starts over. */
  take(): Buffer {
    const written = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return written;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + count));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
