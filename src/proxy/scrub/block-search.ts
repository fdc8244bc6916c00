/**
 * Finds any of several byte strings in one pass (Wu and Manber, "A fast algorithm for multi-pattern searching", 1994):
 * a table says for the two bytes under the window's end how far the window may move before a match is possible.
 */
export class BlockSearch {
  /** Of the last match that `find` reported. */
  start = 0;
  end = 0;
  /** Its index among the needles; the longest of those that start there. */
  needle = -1;
  readonly #needles: readonly Buffer[];
  /** Bytes of each needle that the table knows: those of the shortest. */
  readonly #window: number;
  readonly #shifts: Uint8Array;
  /** The first needle for a hash, and the next one with the same, or -1. */
  readonly #heads: Int16Array;
  readonly #nexts: Int16Array;

  /** @param needles two bytes or longer, at most 32,767 of them. */
  constructor(needles: readonly Buffer[]) {
    this.#needles = needles;
    this.#window = Math.min(255, ...needles.map((needle) => needle.length));
    this.#shifts = new Uint8Array(hashes).fill(this.#window - 1);
    this.#heads = new Int16Array(hashes).fill(-1);
    this.#nexts = new Int16Array(needles.length).fill(-1);
    for (const [index, needle] of needles.entries()) {
      for (let last = 1; last < this.#window; last += 1) {
        const hash = hashOf(needle[last - 1] ?? 0, needle[last] ?? 0);
        this.#shifts[hash] = Math.min(this.#shifts[hash] ?? 0, this.#window - 1 - last);
        if (last === this.#window - 1) {
          this.#nexts[index] = this.#heads[hash] ?? -1;
          this.#heads[hash] = index;
        }
      }
    }
  }

  /** Looks for the first match that starts at or behind `from`, and leaves it in `start`, `end` and `needle`. */
  find(data: Buffer, from: number): boolean {
    const size = data.length;
    return this.#findIn(data, size - from < worthHalving ? from : this.#skim(data, from), size);
  }

  /**
   * Runs through both halves at once and returns a place before which nothing starts. The processor waits for one
   * look into the table before the next one of the same run, so that two runs take hardly longer than one.
   */
  #skim(data: Buffer, from: number): number {
    const shifts = this.#shifts;
    const window = this.#window;
    const size = data.length;
    const middle = (from + size) >> 1;
    let low = from + window - 1;
    let high = middle + window - 1;
    while (low < middle + window - 1 && high < size) {
      const lowShift = shifts[hashOf(data[low - 1] ?? 0, data[low] ?? 0)] ?? 0;
      const highShift = shifts[hashOf(data[high - 1] ?? 0, data[high] ?? 0)] ?? 0;
      low += lowShift;
      high += highShift;
      if (lowShift === 0) {
        if (this.#isMatch(data, low)) return low - window + 1;
        low += 1;
      }
      if (highShift === 0) {
        // What is in the lower half comes first.
        if (this.#isMatch(data, high)) return low - window + 1;
        high += 1;
      }
    }
    // Whichever run came to its end, the other one's part is still open.
    if (low < middle + window - 1) return this.#findIn(data, low - window + 1, middle + window - 1) ? this.start : size;
    return high - window + 1;
  }

  /** As `find`, for windows that end before `limit`. */
  #findIn(data: Buffer, from: number, limit: number): boolean {
    const shifts = this.#shifts;
    let last = from + this.#window - 1;
    while (last < limit) {
      const hash = hashOf(data[last - 1] ?? 0, data[last] ?? 0);
      const shift = shifts[hash] ?? 0;
      if (shift !== 0) {
        last += shift;
        continue;
      }
      if (this.#matchAt(data, last - this.#window + 1, this.#heads[hash] ?? -1)) return true;
      last += 1;
    }
    return false;
  }

  #isMatch(data: Buffer, last: number): boolean {
    const hash = hashOf(data[last - 1] ?? 0, data[last] ?? 0);
    return this.#matchAt(data, last - this.#window + 1, this.#heads[hash] ?? -1);
  }

  #matchAt(data: Buffer, start: number, candidates: number): boolean {
    let longest = 0;
    for (let index = candidates; index !== -1; index = this.#nexts[index] ?? -1) {
      const needle = this.#needles[index];
      if (needle === undefined || needle.length <= longest || !startsWith(data, start, needle)) continue;
      longest = needle.length;
      this.needle = index;
    }
    if (longest === 0) return false;
    this.start = start;
    this.end = start + longest;
    return true;
  }
}

const hashes = 1 << 13;
const worthHalving = 4096;

function hashOf(first: number, second: number): number {
  return (first << 5) ^ second;
}

/** Does `needle` stand at `start`, whole? */
function startsWith(data: Buffer, start: number, needle: Buffer): boolean {
  const { length } = needle;
  if (start + length > data.length) return false;
  for (let i = 0; i < length; i += 1) if (data[start + i] !== needle[i]) return false;
  return true;
}
