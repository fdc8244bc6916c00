/**
 * Request bodies as the specification reads them (section 1.1): the content type is not looked at, only the first JSON
 * value counts, field names match without regard to ASCII case, `null` is absent, types are exact.
 */
import { InvalidInput, TooLarge } from "../errors.ts";

/** Bodies of API requests. A larger one is refused, unless its JSON value ends within the limit. */
export const maxBodyBytes = 1024 * 1024;
const maxDepth = 10_000;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Reads at most `maxBodyBytes` of a body and parses its first JSON value.
 * @throws {InvalidInput} when there is none, or it is malformed or nested deeper than 10,000 levels.
 * @throws {TooLarge} when it does not end within the limit.
 */
export async function readJson(body: ReadableStream<Uint8Array> | null): Promise<unknown> {
  const { bytes, isComplete } = await readLimited(body);
  const source = decoder.decode(bytes);
  const end = endOfFirstValue(source);
  if (end === undefined) {
    if (!isComplete) throw new TooLarge("body_too_large", "The request body is larger than 1 MiB");
    throw malformed();
  }
  try {
    return JSON.parse(source.slice(0, end));
  } catch (error) {
    throw malformed(error);
  }
}

function malformed(cause?: unknown): InvalidInput {
  return new InvalidInput("invalid_body", "Invalid request body", { cause });
}

async function readLimited(body: ReadableStream<Uint8Array> | null) {
  if (body === null) return { bytes: new Uint8Array(), isComplete: true };
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      throw new InvalidInput("incomplete_body", "The request body ended early", { cause: error });
    });
    if (done) return { bytes: Buffer.concat(chunks), isComplete: true };
    const room = maxBodyBytes - length;
    chunks.push(value.byteLength > room ? value.subarray(0, room) : value);
    length += value.byteLength;
    if (length > maxBodyBytes) {
      // Not awaited: a peer that keeps sending would hold the answer back.
      void reader.cancel().catch(() => undefined);
      return { bytes: Buffer.concat(chunks), isComplete: false };
    }
  }
}

/** Where the first JSON value ends: syntax is left to JSON.parse, this only balances brackets and skips strings. */
export function endOfFirstValue(source: string): number | undefined {
  let position = skipBlanks(source, 0);
  const first = source[position];
  if (first === undefined) return undefined;
  if (first !== "{" && first !== "[" && first !== '"') {
    while (position < source.length && !/[\s,\]}[{"]/.test(source[position] ?? "")) position++;
    return position;
  }
  let depth = 0;
  for (; position < source.length; position++) {
    const character = source[position];
    if (character === '"') {
      const close = endOfString(source, position + 1);
      if (close === undefined) return undefined;
      position = close;
    } else if (character === "{" || character === "[") {
      depth++;
      if (depth > maxDepth) throw malformed();
    } else if (character === "}" || character === "]") {
      depth--;
    }
    if (depth === 0) return position + 1;
  }
  return undefined;
}

function skipBlanks(source: string, from: number): number {
  let position = from;
  while (/[ \t\r\n]/.test(source[position] ?? "")) position++;
  return position;
}

/** Index of the closing quote of a string that begins at `from`. */
function endOfString(source: string, from: number): number | undefined {
  for (let position = from; position < source.length; position++) {
    if (source[position] === "\\") position++;
    else if (source[position] === '"') return position;
  }
  return undefined;
}

/** The fields of a JSON object, read one at a time and by exact type. */
export class Fields {
  readonly #values = new Map<string, unknown>();

  /** @throws {InvalidInput} unless `value` is an object; `null` counts as an empty one. */
  constructor(value: unknown) {
    if (value === null || value === undefined) return;
    if (typeof value !== "object" || Array.isArray(value)) throw malformed();
    for (const [name, field] of Object.entries(value)) this.#values.set(name.toLowerCase(), field);
  }

  /** The raw value; `null` and a missing field are both undefined. */
  value(name: string): unknown {
    return this.#values.get(name) ?? undefined;
  }

  has(name: string): boolean {
    return this.value(name) !== undefined;
  }

  /** @throws {InvalidInput} when the field holds something else. */
  string(name: string): string | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "string") return value;
    throw wrongType(name, "a string");
  }

  boolean(name: string): boolean | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "boolean") return value;
    throw wrongType(name, "true or false");
  }

  /** A whole number; a fraction is a wrong type. Values beyond 2^53 lose precision, not magnitude. */
  integer(name: string): number | undefined {
    const value = this.value(name);
    if (value === undefined || (typeof value === "number" && Number.isInteger(value))) return value;
    throw wrongType(name, "a whole number");
  }

  number(name: string): number | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "number") return value;
    throw wrongType(name, "a number");
  }

  list(name: string): readonly unknown[] | undefined {
    const value = this.value(name);
    if (value === undefined || Array.isArray(value)) return value;
    throw wrongType(name, "a list");
  }

  /** A list of objects, each as its own fields. */
  objects(name: string): readonly Fields[] | undefined {
    return this.list(name)?.map((item) => new Fields(item));
  }

  strings(name: string): readonly string[] | undefined {
    return this.list(name)?.map((item) => {
      if (item === null) return "";
      if (typeof item !== "string") throw wrongType(name, "a list of strings");
      return item;
    });
  }

  /** A nested object, as its own fields. */
  object(name: string): Fields | undefined {
    const value = this.value(name);
    return value === undefined ? undefined : new Fields(value);
  }
}

function wrongType(name: string, expected: string): InvalidInput {
  return new InvalidInput("invalid_body", `Invalid request body: "${name}" must be ${expected}`);
}
