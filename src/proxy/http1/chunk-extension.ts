import { nameBytes } from "./bytes.ts";
import { FramingError } from "./framing-error.ts";

/** What the extensions of one chunk may measure. Nobody uses them; they are a place to hide bytes in. */
const maxBytes = 256;

const tab = 0x09;
const cr = 0x0d;
const space = 0x20;
const quote = 0x22;
const semicolon = 0x3b;
const equals = 0x3d;
const backslash = 0x5c;

/**
 * Checks the extensions of one chunk, from behind the first `;` (RFC 9112, section 7.1.1), without keeping them:
 * `name`, `name=token` or `name="quoted"`, more of them after `;`. The blanks that the grammar tolerates for the
 * sake of old senders are refused, as llhttp does, and so are bytes of 0x80 and above.
 */
export class ChunkExtension {
  #bytes = 0;
  #expects: "name" | "more-name" | "value" | "token" | "quoted" | "escaped" | "end" = "name";

  /**
   * Takes one byte; false when it was the CR that ends the line.
   *
   * @throws {FramingError} when the extension is malformed or too long.
   */
  push(byte: number): boolean {
    this.#bytes += 1;
    if (this.#bytes > maxBytes) throw badExtension(`must not be longer than ${maxBytes} bytes`);
    switch (this.#expects) {
      case "name":
        if (nameBytes[byte] !== 1) throw badExtension("need a name");
        this.#expects = "more-name";
        return true;
      case "more-name":
        if (nameBytes[byte] === 1) return true;
        if (byte !== equals) return this.#endOrNext(byte);
        this.#expects = "value";
        return true;
      case "value":
        if (byte !== quote && nameBytes[byte] !== 1) throw badExtension("need a value after the equals sign");
        this.#expects = byte === quote ? "quoted" : "token";
        return true;
      case "token":
        return nameBytes[byte] === 1 || this.#endOrNext(byte);
      case "quoted":
        if (byte === quote) this.#expects = "end";
        else if (byte === backslash) this.#expects = "escaped";
        else if (!isText(byte)) throw badExtension("must not hold control bytes");
        return true;
      case "escaped":
        if (!isText(byte)) throw badExtension("must not hold control bytes");
        this.#expects = "quoted";
        return true;
      case "end":
        return this.#endOrNext(byte);
    }
  }

  #endOrNext(byte: number): boolean {
    if (byte === cr) return false;
    if (byte !== semicolon) throw badExtension("must be names with an optional value");
    this.#expects = "name";
    return true;
  }
}

/** `problem` continues the sentence "Chunk extensions …". */
export function badExtension(problem: string): FramingError {
  return new FramingError("bad_chunk_extension", `Chunk extensions ${problem}`);
}

function isText(byte: number): boolean {
  return byte === tab || (byte >= space && byte < 0x7f);
}
