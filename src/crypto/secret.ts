/**
 * A value that must not be shown: a password, a token, a plaintext credential.
 *
 * It prints, serialises, concatenates and inspects as `[secret]`, so that a log line or an error that picks it up by
 * accident holds nothing. `reveal()` stands on the line that needs the text and nowhere else.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return mask;
  }

  toJSON(): string {
    return mask;
  }

  [Symbol.toPrimitive](): string {
    return mask;
  }

  /** `util.inspect` and `console.log` on Node and Bun. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return mask;
  }

  [Symbol.for("Deno.customInspect")](): string {
    return mask;
  }
}

const mask = "[secret]";
