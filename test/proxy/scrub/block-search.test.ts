import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BlockSearch } from "../../../src/proxy/scrub/block-search.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 1000) };

/** The same by the runtime's own search: the first start, and the longest needle there. */
function expected(needles: readonly Buffer[], data: Buffer, from: number) {
  const starts = needles.map((needle) => data.indexOf(needle, from)).filter((at) => at !== -1);
  if (starts.length === 0) return undefined;
  const start = Math.min(...starts);
  const there = needles.filter((needle) => data.subarray(start, start + needle.length).equals(needle));
  return { start, end: start + Math.max(...there.map(({ length }) => length)) };
}

const needle = (unit: string) =>
  fc.string({ unit: fc.constantFrom(...unit), minLength: 2, maxLength: 9 }).map((text) => Buffer.from(text));

describe("the search for several byte strings", () => {
  it.each([
    { size: 60, because: "in one run" },
    { size: 9000, because: "in both halves at once" },
  ])("finds what Buffer.indexOf finds in $size bytes: $because", ({ size }) => {
    const property = fc.property(
      fc.array(needle("abc"), { minLength: 1, maxLength: 5 }),
      fc.array(fc.tuple(fc.nat(size), needle("abc")), { maxLength: 4 }),
      fc.string({ unit: fc.constantFrom(..."abd.."), maxLength: 60 }),
      fc.nat(80),
      (needles, inserts, text, from) => {
        const data = Buffer.alloc(size, text === "" ? "." : text);
        for (const [at, bytes] of inserts) bytes.copy(data, at);
        const search = new BlockSearch(needles);
        const found = search.find(data, from) ? { start: search.start, end: search.end } : undefined;
        expect(found).toEqual(expected(needles, data, from));
      },
    );
    fc.assert(property, runs);
  });

  it.each([0, 1, 4000, 4095, 4096, 4097, 8000, 8180])("finds a needle at %i, wherever the halves meet", (at) => {
    const needles = ["needle-of-twelve", "another needle"].map((text) => Buffer.from(text));
    for (const needle of needles) {
      const data = Buffer.alloc(8200, "-");
      needle.copy(data, at);
      const search = new BlockSearch(needles);
      expect(search.find(data, 0) && search.start).toBe(at + needle.length <= 8200 ? at : false);
    }
  });
});
