/** A transformation of a body, chunk by chunk. */
export interface BodyTransform {
  /** What may go on, maybe nothing; the same buffer when nothing changes. */
  push(chunk: Buffer): Buffer;
  /** The last of it. */
  end(): Buffer;
}

const empty = Buffer.alloc(0);

/** Replaces texts in a stream, however it is cut. Holds back no more than the longest text less one byte. */
export class StreamReplacer implements BodyTransform {
  readonly #texts: readonly string[];
  readonly #pattern: string;
  readonly #replace: (text: string) => string;
  readonly #longest: number;
  #pending: Buffer = empty;

  /**
   * @param texts the longest first, of ASCII.
   * @param pattern matches any of them, preferring the longest.
   * @param replace one character per byte.
   */
  constructor(texts: readonly string[], pattern: string, replace: (text: string) => string) {
    this.#texts = texts;
    this.#pattern = pattern;
    this.#replace = replace;
    this.#longest = texts[0]?.length ?? 0;
  }

  get heldBytes(): number {
    return this.#pending.length;
  }

  push(chunk: Buffer): Buffer {
    const data = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    return this.#pass(data, false);
  }

  end(): Buffer {
    const data = this.#pending;
    return data.length === 0 ? data : this.#pass(data, true);
  }

  #pass(data: Buffer, isLast: boolean): Buffer {
    this.#pending = empty;
    const holds = this.#texts.some((text) => data.includes(text, 0, "latin1"));
    if (!holds) {
      const heldFrom = isLast ? data.length : this.#unfinishedStart(data, 0);
      return this.#hold(data, heldFrom) ? data.subarray(0, heldFrom) : data;
    }
    const text = data.toString("latin1");
    const pattern = new RegExp(this.#pattern, "g");
    let replaced = "";
    let at = 0;
    for (;;) {
      pattern.lastIndex = at;
      const match = pattern.exec(text);
      const heldFrom = isLast ? data.length : this.#unfinishedStart(data, at);
      // What begins first is replaced first, so whatever may still become a text there comes before this match.
      if (match === null || match.index >= heldFrom) {
        replaced += text.slice(at, heldFrom);
        this.#hold(data, heldFrom);
        return Buffer.from(replaced, "latin1");
      }
      replaced += text.slice(at, match.index) + this.#replace(match[0]);
      at = match.index + match[0].length;
    }
  }

  /** Where the end of the data may begin one of the texts, at or behind `from`; the length of the data when nowhere. */
  #unfinishedStart(data: Buffer, from: number): number {
    for (let at = Math.max(from, data.length - this.#longest + 1); at < data.length; at += 1) {
      const rest = data.length - at;
      if (this.#texts.some((text) => text.length > rest && isAt(data, at, text, rest))) return at;
    }
    return data.length;
  }

  #hold(data: Buffer, from: number): boolean {
    if (from === data.length) return false;
    // A copy: the chunk's memory belongs to the socket that it came from.
    this.#pending = Buffer.from(data.subarray(from));
    return true;
  }
}

function isAt(data: Buffer, at: number, text: string, length: number): boolean {
  for (let i = 0; i < length; i += 1) if (data[at + i] !== text.charCodeAt(i)) return false;
  return true;
}
