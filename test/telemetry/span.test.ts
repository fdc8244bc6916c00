import { describe, expect, it } from "vitest";
import { parseTraceparent, sample } from "../../src/telemetry/span.ts";

const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
const parent = "00f067aa0ba902b7";

describe("a traceparent", () => {
  it("is read as W3C Trace Context has it", () => {
    expect(parseTraceparent(`00-${trace}-${parent}-01`)).toEqual({
      traceId: trace,
      parentSpanId: parent,
      isSampled: true,
    });
    expect(parseTraceparent(`00-${trace}-${parent}-02`)?.isSampled).toBe(false);
    expect(parseTraceparent(`cc-${trace}-${parent}-01-what-the-future-brings`)?.isSampled).toBe(true);
  });

  it.each([
    ["", "empty"],
    [`00-${trace}-${parent}`, "without flags"],
    [`00-${trace.toUpperCase()}-${parent}-01`, "upper case"],
    [`00-${"0".repeat(32)}-${parent}-01`, "no trace"],
    [`00-${trace}-${"0".repeat(16)}-01`, "no span"],
    [`ff-${trace}-${parent}-01`, "a version that cannot be"],
    [`00-${trace}-${parent}-01-more`, "more than this version has"],
    [`00-${trace}-${parent}-01, 00-${trace}-${parent}-01`, "two of them"],
    [` 00-${trace}-${parent}-01`, "not at the beginning"],
    [`00-${trace}\r\n-${parent}-01`, "a line break"],
  ])("is none: %j (%s)", (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });
});

describe("sampling", () => {
  const follows = (ratio: number) => ({ followsParent: true, ratio });
  const alone = (ratio: number) => ({ followsParent: false, ratio });

  it("goes on with the trace of whoever called", () => {
    expect(sample(follows(0), `00-${trace}-${parent}-01`)).toMatchObject({ traceId: trace, parentSpanId: parent });
    expect(sample(follows(1), `00-${trace}-${parent}-00`)).toBeUndefined();
    expect(sample(alone(1), `00-${trace}-${parent}-00`)).toMatchObject({ traceId: trace, parentSpanId: parent });
    expect(sample(alone(0), `00-${trace}-${parent}-01`)).toBeUndefined();
  });

  it("begins a trace where there is none, or none that can be read", () => {
    for (const header of [undefined, "nonsense"]) {
      const started = sample(follows(1), header);
      expect(started?.traceId).toMatch(/^(?!0+$)[0-9a-f]{32}$/);
      expect(started?.parentSpanId).toBe("");
      expect(sample(follows(0), header)).toBeUndefined();
    }
  });

  it("takes the share of traces that it is told to, the same ones everywhere", () => {
    const low = `${"f".repeat(19)}${"3".padEnd(13, "0")}`;
    const high = `${"0".repeat(19)}${"5".padEnd(13, "0")}`;
    expect(sample(alone(0.25), `00-${low}-${parent}-01`)).toBeDefined();
    expect(sample(alone(0.25), `00-${high}-${parent}-01`)).toBeUndefined();
  });
});
