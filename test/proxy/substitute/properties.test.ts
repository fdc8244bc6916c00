import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AppError } from "../../../src/errors.ts";
import { BodySubstituter } from "../../../src/proxy/substitute/body.ts";
import { Substitutions } from "../../../src/proxy/substitute/substitutions.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 400) };

/** No other text in these tests holds the letters of the value, so that each of them in the output came from it. */
const value = "VALVALVAL";
const substitutions = new Substitutions([
  { key: "ONE", placeholder: "__one__", value, in: ["body"] },
  { key: "TWO", placeholder: "__one__.long", value: `${value}${value}`, in: ["body"] },
]);

const boundary = "b0";
const types = [
  undefined,
  "text/plain",
  "application/json",
  "application/vnd.api+json; charset=utf-8",
  "application/x-ndjson",
  "application/x-www-form-urlencoded",
  "application/xml",
  "image/svg+xml",
  "text/html; charset=iso-8859-1",
  "application/graphql",
  "application/octet-stream",
  "text/plain; charset=utf-16le",
  `multipart/form-data; boundary=${boundary}`,
  `multipart/mixed; boundary="${boundary}"`,
  "multipart/form-data",
];

/** Whole placeholders, beginnings of them, and what bodies of every type are made of. */
const piece = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("__one__", "__one__.long", "__one__.lon", "__on", "one__", "_", "__") },
  fc.constantFrom('{"a":"', '"}', "&a=", "<a>", "</a>", "\r\n", "\n", "%", "\\", '"', "\u0000", "é", "😀"),
  fc.constantFrom(
    `--${boundary}`,
    `--${boundary}--`,
    `\r\n--${boundary}\r\n`,
    `\r\n--${boundary}--\r\n`,
    'Content-Disposition: form-data; name="a"',
    "Content-Type: application/json",
    "Content-Type: image/png",
    "Content-Transfer-Encoding: base64",
    "\r\n\r\n",
  ),
  fc.string({ maxLength: 8 }).filter((text) => !/[VAL]/.test(text)),
);
const body = fc.array(piece, { maxLength: 20 }).map((parts) => Buffer.from(parts.join("")));
const places = fc.array(fc.nat(600), { maxLength: 10 });

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const borders = [0, ...at.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => bytes.subarray(borders[i], end));
}

interface Sent {
  /** What went out, as far as it came. */
  readonly output: string;
  readonly refusal: string | undefined;
}

function send(type: string | undefined, length: number | undefined, chunks: readonly Buffer[]): Sent {
  const parts: Buffer[] = [];
  try {
    const headers = type === undefined ? [] : ["Content-Type", type];
    const substituter = BodySubstituter.for(substitutions, { headers, length });
    for (const chunk of chunks) parts.push(Buffer.from(substituter?.push(chunk) ?? chunk));
    if (substituter !== undefined) parts.push(Buffer.from(substituter.end()));
    return { output: Buffer.concat(parts).toString("latin1"), refusal: undefined };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { output: Buffer.concat(parts).toString("latin1"), refusal: error.code };
  }
}

describe("whatever a body is made of, and however it is cut", () => {
  it("it goes out as it would in one piece, or is refused as it would be", () => {
    const property = fc.property(
      fc.constantFrom(...types),
      body,
      places,
      fc.boolean(),
      (type, bytes, at, isChunked) => {
        const length = isChunked ? undefined : bytes.length;
        const whole = send(type, length, [bytes]);
        const bytewise = Array.from(bytes, (_, place) => place);
        for (const chunks of [cut(bytes, at), cut(bytes, bytewise)]) {
          const inPieces = send(type, length, chunks);
          expect(inPieces.refusal).toBe(whole.refusal);
          if (whole.refusal === undefined) expect(inPieces.output).toBe(whole.output);
        }
      },
    );
    fc.assert(property, runs);
  });

  it("no value goes out but in the place of a placeholder, and no placeholder goes out", () => {
    const property = fc.property(
      fc.constantFrom(...types),
      body,
      places,
      fc.boolean(),
      (type, bytes, at, isChunked) => {
        const sent = send(type, isChunked ? undefined : bytes.length, cut(bytes, at));
        // The longer one counts twice: its value is the other's, two times.
        const text = bytes.toString("latin1");
        const long = text.split("__one__.long").length - 1;
        const places = text.split("__one__").length - 1 + long;
        const values = sent.output.split(value).length - 1;
        expect(values).toBeLessThanOrEqual(places);
        if (sent.refusal !== undefined) return;
        expect(values).toBe(places);
        expect(sent.output).not.toContain("__one__");
        // Putting the placeholders back gives what was sent.
        const restored = sent.output.replaceAll(value.repeat(2), "__one__.long").replaceAll(value, "__one__");
        if (!text.includes("__one____one__")) expect(restored).toBe(text);
      },
    );
    fc.assert(property, runs);
  });
});
