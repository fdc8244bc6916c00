import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NeedleSet } from "../../../src/proxy/scrub/needles.ts";
import { Scanner } from "../../../src/proxy/scrub/scanner.ts";
import { encodings } from "./encodings.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 500) };

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => bytes.subarray(borders[i], end));
}

/** Markers of parts of overlapping values differ with the cuts; what they cover does not. */
const covered = (text: string) => text.replaceAll("[redacted]", "**********");

const places = fc.array(fc.nat(2000), { maxLength: 10 });
/** Values of the characters that escaping is about, repetitive enough to overlap with themselves. */
const anyValue = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."abAB01_-/+="), minLength: 8, maxLength: 24 }),
  fc.string({ unit: fc.constantFrom(..."ab%&\\\"'<>;/ 2é😀"), minLength: 8, maxLength: 16 }),
  fc.string({ unit: "grapheme", minLength: 8, maxLength: 12 }),
);
/** Those that are looked for, escaped as well. */
const value = anyValue.filter((text) => new Set(Buffer.from(text)).size >= 4 && text.split(/[%&\\]/).length <= 9);
const encoding = fc.constantFrom(...encodings);
const noise = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.constantFrom("%", "%2", "%25", "\\", "\\\\", "\\u00", "\\u006", "&", "&am", "&amp;", "&#x", "\n\n", "a", "b", "="),
);

interface Piece {
  readonly noise: string;
  readonly encode: ((text: string) => string) | undefined;
  readonly length: number;
}

/** Noise, and the values whole or broken off. */
const piece = fc.record<Piece>({
  noise,
  encode: fc.option(
    encoding.map(({ encode }) => encode),
    { nil: undefined },
  ),
  length: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.nat(30)),
});

function streamOf(values: readonly string[], pieces: readonly Piece[]): Buffer {
  const texts = pieces.map(({ noise, encode, length }, at) =>
    encode === undefined ? noise : noise + encode(values[at % values.length] ?? "").slice(0, length),
  );
  return Buffer.from(texts.join(""));
}

const setOf = (values: readonly string[]) => new NeedleSet(values.map((value, at) => ({ key: `KEY_${at}`, value })));

function scan(set: NeedleSet, chunks: readonly Buffer[]) {
  const scanner = new Scanner(set, "redact");
  const passed = chunks.map((chunk) => {
    const out = scanner.push(chunk);
    expect(scanner.heldBytes).toBeLessThanOrEqual(set.maxHeldBytes);
    return out;
  });
  return { output: Buffer.concat([...passed, scanner.end()]), scanner };
}

describe("however a stream is cut", () => {
  it("the same bytes of it are covered", () => {
    const property = fc.property(
      fc.array(value, { minLength: 1, maxLength: 3 }),
      fc.array(piece, { maxLength: 8 }),
      places,
      (values, pieces, at) => {
        const set = setOf(values);
        const stream = streamOf(values, pieces);
        const whole = scan(set, [stream]);
        const inPieces = scan(set, cut(stream, at));
        expect(covered(inPieces.output.toString("latin1"))).toBe(covered(whole.output.toString("latin1")));
        expect(inPieces.output).toHaveLength(stream.length);
        const bytewise = scan(
          set,
          cut(
            stream,
            Array.from(stream, (_, index) => index),
          ),
        );
        expect(covered(bytewise.output.toString("latin1"))).toBe(covered(whole.output.toString("latin1")));
      },
    );
    fc.assert(property, runs);
  });

  it("no form of a value gets through", () => {
    const property = fc.property(
      value,
      encoding,
      noise,
      noise,
      places,
      (secret, { encode, name }, before, after, at) => {
        // A percent sign of the noise would be a part of the next escape.
        const [left, right] = [before, after].map((text) => text.replaceAll(/[%&\\]/g, "."));
        const echoed = encode(secret);
        const { output, scanner } = scan(setOf([secret]), cut(Buffer.from(`${left}<${echoed}>${right}`), at));
        expect(scanner.count, name).toBeGreaterThan(0);
        expect(output.toString()).not.toContain(echoed);
        expect(output.toString()).not.toContain(secret);
      },
    );
    fc.assert(property, runs);
  });

  it("what holds no value stays as it is", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 400 }), noise, places, (bytes, text, at) => {
      const stream = Buffer.concat([bytes, Buffer.from(text), bytes]);
      const set = setOf(["Zq7-Kx2_Vb9~Lm4.Pw8"]);
      const { output, scanner } = scan(set, cut(stream, at));
      expect(output.equals(stream)).toBe(true);
      expect(scanner.count).toBe(0);
    });
    fc.assert(property, runs);
  });

  it("what is held back could still become a value", () => {
    const property = fc.property(value, fc.array(piece, { maxLength: 4 }), (secret, pieces) => {
      const set = setOf([secret]);
      const stream = streamOf([secret], pieces);
      const scanner = new Scanner(set, "redact");
      scanner.push(stream);
      const held = stream.subarray(stream.length - scanner.heldBytes);
      // Behind a value that was redacted, what is held back is the rest of another one that overlaps with it.
      if (held.length === 0 || scanner.count > 0) return;
      // Whatever cannot begin a value passes at once, so that its first byte is held back means it begins one.
      const alone = new Scanner(set, "redact");
      alone.push(held);
      expect(alone.heldBytes).toBe(held.length);
      const open = held.toString("latin1");
      const begins = set.needles.some(({ bytes }) => bytes[0] === held[0]);
      expect(begins || /^[%&\\]/.test(open)).toBe(true);
    });
    fc.assert(property, runs);
  });

  it("detecting changes nothing and finds as much", () => {
    const property = fc.property(value, fc.array(piece, { maxLength: 6 }), places, (secret, pieces, at) => {
      const set = setOf([secret]);
      const stream = streamOf([secret], pieces);
      const scanner = new Scanner(set, "detect");
      for (const chunk of cut(stream, at)) expect(scanner.push(chunk)).toBe(chunk);
      expect(scanner.end()).toHaveLength(0);
      expect(scanner.count > 0).toBe(scan(set, [stream]).scanner.count > 0);
    });
    fc.assert(property, runs);
  });
});
