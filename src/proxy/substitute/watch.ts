import type { AppError } from "../../errors.ts";
import type { BodyTransform } from "./stream-replacer.ts";
import type { PlaceholderSet } from "./substitutions.ts";

const empty = Buffer.alloc(0);

/** Lets a stream pass as it is, and ends it when a placeholder is in it: for places where none can be replaced. */
export class PlaceholderWatch implements BodyTransform {
  readonly #texts: readonly Buffer[];
  readonly #longest: number;
  readonly #refuse: () => AppError;
  #tail: Buffer = empty;

  /** @param refuse makes the error; it is thrown before the last byte of a placeholder has passed. */
  constructor(placeholders: PlaceholderSet, refuse: () => AppError) {
    // UTF-16 is the one other encoding that bodies come in.
    this.#texts = placeholders.spellings.flatMap((text) => {
      const wide = Buffer.from(text, "utf16le");
      return [Buffer.from(text, "latin1"), wide, Buffer.from(wide).swap16()];
    });
    this.#longest = Math.max(...this.#texts.map(({ length }) => length));
    this.#refuse = refuse;
  }

  /** @throws what was given, when a placeholder is found. */
  push(chunk: Buffer): Buffer {
    const border = this.#longest - 1;
    // Over the border between two chunks first, then inside of this one.
    const seam = this.#tail.length === 0 ? empty : Buffer.concat([this.#tail, chunk.subarray(0, border)]);
    if (this.#texts.some((text) => seam.includes(text) || chunk.includes(text))) throw this.#refuse();
    const tail = chunk.length >= border ? chunk : Buffer.concat([this.#tail, chunk]);
    this.#tail = Buffer.from(tail.subarray(Math.max(0, tail.length - border)));
    return chunk;
  }

  end(): Buffer {
    return empty;
  }
}
