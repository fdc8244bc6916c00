/**
 * A queue of lines in a file that outlives the process: appended at the end, taken from the front. It is for what must
 * not be lost while the place where it belongs is away, so everything is written before the call returns. That holds
 * whatever kills the process; a machine that loses power may lose the last seconds.
 *
 * Layout: sixteen digits and a line feed (where the first line begins that was not dealt with), then the lines.
 */
import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";

export interface SpoolOptions {
  readonly path: string;
  /** The file never grows beyond this. */
  readonly maxBytes: number;
}

/** Lines from the front of a spool. */
export interface SpooledLines {
  readonly lines: readonly string[];
  /** For `advance`, once they were dealt with. */
  readonly end: number;
}

const headerBytes = 17;
/** Read at once; a longer line is skipped. */
const readBytes = 1024 * 1024;
const lineFeed = 0x0a;

export class Spool {
  readonly #file: number;
  readonly #maxBytes: number;
  #begin: number;
  #end: number;
  #isClosed = false;

  private constructor(file: number, maxBytes: number) {
    this.#file = file;
    this.#maxBytes = maxBytes;
    this.#end = fstatSync(file).size;
    this.#begin = this.#readBegin();
  }

  /**
   * Opens the file or makes it, readable by its owner alone. @throws {Error} with the `code` of the system when it cannot
   * be written, or is a link to somewhere else.
   */
  static open({ path, maxBytes }: SpoolOptions): Spool {
    const flags = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);
    const file = openSync(path, flags, 0o600);
    try {
      if (process.platform !== "win32") fchmodSync(file, 0o600);
      return new Spool(file, maxBytes);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  get isEmpty(): boolean {
    return this.#begin >= this.#end;
  }

  /** Of lines that were not dealt with. */
  get bytes(): number {
    return this.#end - this.#begin;
  }

  /** @returns false when they do not fit; then none is written. @throws {Error} when the disk does not take them. */
  append(lines: readonly string[]): boolean {
    const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
    if (this.#isClosed || this.#end + bytes.length > this.#maxBytes) return false;
    try {
      this.#write(bytes, this.#end);
    } catch (error) {
      // A full disk takes a part; what follows must not be glued to it.
      ftruncateSync(this.#file, this.#end);
      throw error;
    }
    this.#end += bytes.length;
    return true;
  }

  /** The first lines, at most `max`; none when it is empty. */
  peek(max: number): SpooledLines {
    const buffer = Buffer.alloc(Math.min(readBytes, Math.max(0, this.#end - this.#begin)));
    const length = readSync(this.#file, buffer, 0, buffer.length, this.#begin);
    const lines: string[] = [];
    let from = 0;
    while (lines.length < max) {
      const at = buffer.subarray(0, length).indexOf(lineFeed, from);
      if (at < 0) break;
      lines.push(buffer.toString("utf8", from, at));
      from = at + 1;
    }
    // Nothing that we wrote is as long as that.
    if (lines.length === 0 && length > 0) return { lines: [""], end: this.#begin + length };
    return { lines, end: this.#begin + from };
  }

  /** Removes what a `peek` returned; the file shrinks when nothing is left. */
  advance(end: number): void {
    if (this.#isClosed) return;
    this.#begin = end;
    if (this.isEmpty) this.#reset();
    else this.#writeBegin();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#file);
  }

  #readBegin(): number {
    const header = Buffer.alloc(headerBytes);
    const length = readSync(this.#file, header, 0, headerBytes, 0);
    const match = /^(\d{16})\n$/.exec(header.toString("latin1", 0, length));
    const begin = Number(match?.[1] ?? 0);
    if (begin < headerBytes || begin > this.#end) {
      this.#reset();
      return headerBytes;
    }
    // The process died in the middle of a line: it ends here, and whoever reads it sees that it is broken.
    const last = Buffer.alloc(1);
    if (readSync(this.#file, last, 0, 1, this.#end - 1) === 1 && last[0] !== lineFeed) {
      this.#write(Buffer.from("\n"), this.#end);
      this.#end += 1;
    }
    return begin;
  }

  #reset(): void {
    this.#begin = headerBytes;
    this.#end = headerBytes;
    this.#writeBegin();
    ftruncateSync(this.#file, headerBytes);
  }

  #writeBegin(): void {
    this.#write(Buffer.from(`${String(this.#begin).padStart(16, "0")}\n`), 0);
  }

  #write(bytes: Buffer, at: number): void {
    for (let from = 0; from < bytes.length; ) {
      from += writeSync(this.#file, bytes, from, bytes.length - from, at + from);
    }
  }
}
