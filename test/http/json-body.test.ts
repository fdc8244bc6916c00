import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidInput, TooLarge } from "../../src/errors.ts";
import { maxBodyBytes, readJson } from "../../src/http/json-body.ts";

function bodyOf(...parts: readonly (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(typeof part === "string" ? encoder.encode(part) : part);
      controller.close();
    },
  });
}

describe("readJson", () => {
  it.each([
    ['{"a":1}', { a: 1 }, "an object"],
    [' \n{"a":1} trailing', { a: 1 }, "what follows the first value is ignored"],
    ['{"a":1}{"b":2}', { a: 1 }, "a second value is ignored"],
    ['{"a":"}\\"{"}x', { a: '}"{' }, "brackets inside strings are text"],
    ["null", null, "null"],
    ["12 13", 12, "a number"],
    ['"x"y', "x", "a string"],
    ['{"a":1,"a":2}', { a: 2 }, "of a repeated name the last wins"],
  ])("reads %s: %2$s", async (text, expected, _because) => {
    expect(await readJson(bodyOf(text))).toEqual(expected);
  });

  it.each([
    ["", "nothing"],
    ["   ", "blanks"],
    ["{", "an open object"],
    ['{"a":}', "a missing value"],
    ["\ufeff{}", "a byte-order mark"],
    ['{"a":"\u0001"}', "a raw control character in a string"],
    ["NaN", "a word that is not JSON"],
    ["{'a':1}", "single quotes"],
    [`${"[".repeat(10_001)}${"]".repeat(10_001)}`, "more than 10,000 levels"],
  ])("refuses %j: %s", async (text, _because) => {
    await expect(readJson(bodyOf(text))).rejects.toBeInstanceOf(InvalidInput);
  });

  it("reads a value that arrives byte by byte, split inside a character", async () => {
    const bytes = new TextEncoder().encode('{"a":"é€😀"}');
    const pieces = [...bytes].map((byte) => Uint8Array.of(byte));
    expect(await readJson(bodyOf(...pieces))).toEqual({ a: "é€😀" });
  });

  it("makes invalid UTF-8 into U+FFFD", async () => {
    expect(await readJson(bodyOf('{"a":"', Uint8Array.of(0xff), '"}'))).toEqual({ a: "\ufffd" });
  });

  it("accepts a value that ends within 1 MiB though padding follows, and refuses one that does not", async () => {
    expect(await readJson(bodyOf("{}", " ".repeat(maxBodyBytes + 10)))).toEqual({});
    await expect(readJson(bodyOf(`{"a":"${"x".repeat(maxBodyBytes)}"}`))).rejects.toBeInstanceOf(TooLarge);
  });

  it("reads every JSON object as JSON.parse does, whatever follows it", async () => {
    await fc.assert(
      fc.asyncProperty(fc.object(), fc.string(), async (value, rest) => {
        const text = JSON.stringify(value);
        expect(await readJson(bodyOf(text, rest))).toEqual(JSON.parse(text));
      }),
    );
  });
});
