import type { ValueEncoder } from "./encode.ts";
import { bodyKindOf } from "./media-type.ts";
import { RefusedSubstitution, valueUnusable } from "./refused-substitution.ts";
import type { BodyTransform } from "./stream-replacer.ts";
import type { PlaceholderSet } from "./substitutions.ts";
import { PlaceholderWatch } from "./watch.ts";

const maxPartHeadBytes = 16 * 1024;
/** Blanks may follow a delimiter before its line ends (RFC 2046, section 5.1.1), but not many. */
const maxPaddingBytes = 256;
const empty = Buffer.alloc(0);
const lineEnd = Buffer.from("\r\n");
const headEnd = Buffer.from("\r\n\r\n");

type State = "outside" | "delimiter" | "head" | "body";

/**
 * Replaces placeholders in the text parts of a multipart body (RFC 2046, section 5.1; RFC 7578) as it streams by, each
 * part by its own media type. In other parts, in the heads of parts and around the parts a placeholder is refused.
 * Everything else passes byte for byte.
 */
export class MultipartReplacer implements BodyTransform {
  readonly #placeholders: PlaceholderSet;
  readonly #delimiter: Buffer;
  #state: State = "outside";
  #part: BodyTransform;
  /** Starts with the line end that the first delimiter may lack. */
  #pending: Buffer = lineEnd;
  #isAtStart = true;

  constructor(placeholders: PlaceholderSet, boundary: string) {
    this.#placeholders = placeholders;
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
    this.#part = this.#outside();
  }

  /**
   * @throws {RefusedSubstitution} `placeholder_in_binary_part`, `placeholder_in_part_head`, `multipart_malformed`.
   * @throws {UpstreamFailed} `credential_unusable`.
   */
  push(chunk: Buffer): Buffer {
    let data = Buffer.concat([this.#pending, chunk]);
    const passed: Buffer[] = [];
    for (;;) {
      const used = this.#step(data, passed);
      if (used === -1) break;
      data = data.subarray(used);
    }
    this.#pending = Buffer.from(data);
    return this.#withoutLead(passed);
  }

  end(): Buffer {
    const passed = [this.#part.push(this.#pending), this.#part.end()];
    this.#pending = empty;
    return this.#withoutLead(passed);
  }

  /** Passes on what it can, and returns how many bytes that were; -1 when it needs more. */
  #step(data: Buffer, passed: Buffer[]): number {
    switch (this.#state) {
      case "outside":
      case "body":
        return this.#content(data, passed);
      case "delimiter":
        return this.#delimiterLine(data, passed);
      case "head":
        return this.#head(data, passed);
    }
  }

  #content(data: Buffer, passed: Buffer[]): number {
    const at = data.indexOf(this.#delimiter);
    if (at !== -1) {
      passed.push(this.#part.push(data.subarray(0, at)), this.#part.end(), this.#delimiter);
      this.#state = "delimiter";
      return at + this.#delimiter.length;
    }
    const safe = beginningOf(this.#delimiter, data);
    if (safe === 0) return -1;
    passed.push(this.#part.push(data.subarray(0, safe)));
    return safe;
  }

  /** The rest of the line of a delimiter: `--` after the last part, else nothing but blanks. */
  #delimiterLine(data: Buffer, passed: Buffer[]): number {
    if (data.length < 2) return -1;
    if (data[0] === 0x2d && data[1] === 0x2d) {
      this.#part = this.#outside();
      this.#state = "outside";
      passed.push(data.subarray(0, 2));
      return 2;
    }
    const end = data.indexOf(lineEnd);
    if (!/^[ \t]*\r?$/.test(data.toString("latin1", 0, end === -1 ? data.length : end))) throw malformed();
    if (end === -1) {
      if (data.length > maxPaddingBytes) throw malformed();
      return -1;
    }
    passed.push(data.subarray(0, end));
    this.#state = "head";
    // The line end stays: it begins the head, which may be empty.
    return end;
  }

  #head(data: Buffer, passed: Buffer[]): number {
    const end = data.indexOf(headEnd);
    if ((end === -1 ? data.length : end) > maxPartHeadBytes) throw malformed();
    if (end === -1) return -1;
    const head = data.toString("latin1", 0, end);
    if (this.#placeholders.occursIn(head)) {
      throw new RefusedSubstitution(
        400,
        "placeholder_in_part_head",
        "A placeholder stands in the head of a part of the body, where no value can be put",
      );
    }
    this.#part = this.#partFor(head);
    this.#state = "body";
    // The last line end may begin the next delimiter: a part can be empty.
    passed.push(data.subarray(0, end + 2));
    return end + 2;
  }

  #partFor(head: string): BodyTransform {
    const field = (name: string) => new RegExp(`\\r\\n${name}[ \\t]*:[ \\t]*([^\\r\\n]*)`, "i").exec(head)?.[1];
    const encoding = field("content-transfer-encoding")?.trim() ?? "";
    const type = field("content-type");
    const isFile = /;\s*filename\*?=/i.test(field("content-disposition") ?? "");
    const kind = bodyKindOf(type);
    const isPlain = /^(?:7bit|8bit|binary|)$/i.test(encoding);
    if (!isPlain || kind.kind !== "text" || (isFile && type === undefined)) return this.#binary();
    return this.#placeholders.replacer(this.#guarded(kind.encode));
  }

  /** A value with the delimiter in it would end the part and begin another. */
  #guarded(encode: ValueEncoder): ValueEncoder {
    const delimiter = this.#delimiter.toString("latin1", 2);
    return (value, key) => {
      const encoded = encode(value, key);
      if (encoded.includes(delimiter)) throw valueUnusable(key, "holds the delimiter of the multipart body");
      return encoded;
    };
  }

  #binary(): BodyTransform {
    return new PlaceholderWatch(
      this.#placeholders,
      () =>
        new RefusedSubstitution(
          415,
          "placeholder_in_binary_part",
          "A placeholder stands in a part of the body that is no plain text, where no value can be put",
          "Give the part a Content-Type of text or JSON, and no transfer encoding",
        ),
    );
  }

  #outside(): BodyTransform {
    return new PlaceholderWatch(this.#placeholders, malformed);
  }

  #withoutLead(passed: readonly Buffer[]): Buffer {
    const joined = Buffer.concat(passed);
    if (!this.#isAtStart || joined.length === 0) return joined;
    this.#isAtStart = false;
    return joined.subarray(lineEnd.length);
  }
}

/** Where the end of the data may begin the delimiter; its length when nowhere. */
function beginningOf(delimiter: Buffer, data: Buffer): number {
  for (let at = Math.max(0, data.length - delimiter.length + 1); at < data.length; at += 1) {
    if (delimiter.subarray(0, data.length - at).equals(data.subarray(at))) return at;
  }
  return data.length;
}

function malformed(): RefusedSubstitution {
  return new RefusedSubstitution(
    400,
    "multipart_malformed",
    "The body is not multipart as its Content-Type says, and has a placeholder where no part can be told",
    "End every line of the delimiters and part heads with CRLF",
  );
}
