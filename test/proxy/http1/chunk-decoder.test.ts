import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BodyReader } from "../../../src/proxy/http1/body.ts";
import { FramingError } from "../../../src/proxy/http1/framing-error.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 2000) };

interface Decoded {
  readonly kind: "complete" | "incomplete" | "refused";
  readonly body: string;
  /** How many bytes belong to it. */
  readonly used: number;
}

/** The grammar of RFC 9112, section 7.1, as one expression per step; without any cutting, and without limits. */
function decodeAtOnce(text: string): Decoded {
  let at = 0;
  let body = "";
  for (;;) {
    const size =
      /^([0-9A-Fa-f]{1,16})((?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+))?)*)\r\n/.exec(
        text.slice(at),
      );
    if (size === null) return { kind: "refused", body, used: at };
    at += size[0].length;
    const length = Number.parseInt(size[1] ?? "", 16);
    if (length === 0) break;
    body += text.slice(at, at + length);
    if (text.length < at + length + 2) return { kind: "incomplete", body, used: text.length };
    if (text.slice(at + length, at + length + 2) !== "\r\n") return { kind: "refused", body, used: at };
    at += length + 2;
  }
  const trailers = /^(?:X-[A-Za-z]+:[ \t]*[!-~]*[ \t]*\r\n)*\r\n/.exec(text.slice(at));
  if (trailers === null) return { kind: "refused", body, used: at };
  return { kind: "complete", body, used: at + trailers[0].length };
}

function decode(chunks: readonly Buffer[]): Decoded {
  let body = "";
  let used = 0;
  const reader = new BodyReader({
    data: (part) => {
      body += part.toString("latin1");
    },
  });
  reader.begin({ kind: "chunked" });
  try {
    for (const chunk of chunks) {
      if (reader.done) break;
      used += reader.push(chunk);
    }
  } catch (error) {
    if (!(error instanceof FramingError)) throw error;
    expect(() => reader.push(Buffer.from("0\r\n\r\n")), "it goes on after an error").toThrow(FramingError);
    return { kind: "refused", body, used };
  }
  return { kind: reader.done ? "complete" : "incomplete", body, used };
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => bytes.subarray(borders[i], end));
}

const chunk = fc
  .tuple(fc.string({ minLength: 1, maxLength: 20 }), fc.constantFrom("", ";a", ";a=b", ";a=b;c"), fc.nat(3))
  .map(([data, extension, zeros]) => {
    const text = Buffer.from(data).toString("latin1");
    return `${"0".repeat(zeros)}${text.length.toString(16)}${extension}\r\n${text}\r\n`;
  });
const trailer = fc.constantFrom("X-Sum: 1\r\n", "X-A:b\r\n", "X-B: \r\n");
const stream = fc
  .tuple(fc.array(chunk, { maxLength: 5 }), fc.array(trailer, { maxLength: 2 }))
  .map(([chunks, trailers]) => `${chunks.join("")}0\r\n${trailers.join("")}\r\n`);
const places = fc.array(fc.nat(300), { maxLength: 8 });

describe("a chunked body", () => {
  it("is what the grammar says, however it is cut, and ends where it ends", () => {
    const property = fc.property(stream, fc.constantFrom("", "GET / HTTP/1.1\r\n"), places, (text, next, at) => {
      const expected = decodeAtOnce(text + next);
      expect(expected.kind).toBe("complete");
      const bytes = Buffer.from(text + next, "latin1");
      expect(decode(cut(bytes, at))).toEqual(expected);
    });
    fc.assert(property, runs);
  });

  it("that is damaged is never complete where the grammar says that it is not, and never with other bytes", () => {
    let complete = 0;
    const edit = fc.record({
      at: fc.nat(300),
      remove: fc.nat(2),
      insert: fc.constantFrom("", "\r", "\n", "\r\n", "0", "5", ";", " ", "+", "-", "x", "\0", ":", "f"),
    });
    const property = fc.property(stream, fc.array(edit, { minLength: 1, maxLength: 3 }), places, (text, edits, at) => {
      const damaged = edits.reduce((all, { at: place, remove, insert }) => {
        const start = place % (all.length + 1);
        return all.slice(0, start) + insert + all.slice(start + remove);
      }, text);
      const expected = decodeAtOnce(damaged);
      const read = decode(cut(Buffer.from(damaged, "latin1"), at));
      // The grammar above takes fewer trailers and extensions than the reader; never the other way round for framing.
      if (expected.kind === "complete") {
        complete++;
        expect(read).toEqual(expected);
      }
      expect(read.body.startsWith(expected.body) || expected.body.startsWith(read.body)).toBe(true);
      if (read.kind === "complete" && expected.kind !== "complete") {
        expect(damaged.slice(0, read.used)).toMatch(/\r\n\r\n$/);
        expect(read.body).toBe(expected.body);
      }
    });
    fc.assert(property, runs);
    expect(complete).toBeGreaterThan(runs.numRuns / 100);
  });
});
