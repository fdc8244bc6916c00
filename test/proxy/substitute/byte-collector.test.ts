import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteCollector } from "../../../src/proxy/substitute/byte-collector.ts";

describe("collected bytes", () => {
  it("are those that were pushed, and the caller's once they are taken", () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 12 });
    const property = fc.property(chunks, chunks, (first, second) => {
      const collector = new ByteCollector();
      const taken = [first, second].map((list) => {
        for (const bytes of list) collector.push(Buffer.from(bytes));
        expect(collector.length).toBe(list.reduce((sum, { length }) => sum + length, 0));
        return collector.take();
      });
      expect(taken).toEqual([Buffer.concat(first), Buffer.concat(second)]);
      expect(collector.length).toBe(0);
    });
    fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 200) });
  });
});
