/**
 * Request bodies as the specification reads them (section 1.1): the content type is not looked at, and only the first
 * JSON value counts. Its fields are read in fields.ts.
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
export async function readJson(
  body: ReadableStream<Uint8Array> | null,
  options: {
    /** Nothing but blanks may follow the value, and they count too. */
    readonly isAll?: boolean;
  } = {},
): Promise<unknown> {
  const { bytes, isComplete } = await readLimited(body);
  const source = decoder.decode(bytes);
  const end = endOfFirstValue(source);
  if (!isComplete && (end === undefined || options.isAll === true)) {
    throw new TooLarge("body_too_large", "The request body is larger than 1 MiB");
  }
  if (end === undefined) throw malformed();
  if (options.isAll === true && skipBlanks(source, end) < source.length) throw malformed();
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
