import { describe, expect, it } from "vitest";
import { parseExposition } from "./exposition.ts";

const good = '# HELP a_total Things.\n# TYPE a_total counter\na_total{x="y"} 1\n';

describe("the reader of metrics that tests use", () => {
  it("reads what is right", () => {
    expect(parseExposition(good).get("a_total")?.samples.get('a_total{x="y"}')).toBe(1);
  });

  it.each([
    [good.slice(0, -1), "no end"],
    [good + good, "twice"],
    [`${good}a_total{x="y"} 2\n`, "comes twice"],
    [`${good}b_total 2\n`, "another family"],
    [`${good}a_total{x="z",x="z"} 2\n`, "a label twice"],
    [`${good}a_total{x="z",} 2\n`, "no sample"],
    [`${good}a_total{x="z\\q"} 2\n`, "no sample"],
    [`${good}a_total{x="z"}  2\n`, "no sample"],
    [`${good}a_total{x="z"} -2\n`, "backwards"],
    [`${good}a_total{x="z"} undefined\n`, "no sample"],
    ["# HELP a Things.\n# TYPE a counter\na 1\n", "_total"],
    ["# HELP a Things.\n# TYPE a histogram\na 1\n", "another family"],
    ['# HELP a Things.\n# TYPE a histogram\na_bucket{le="1"} 2\na_sum 1\na_count 2\n', "\\+Inf"],
    ['# HELP a Things.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n', "order"],
    ['# HELP a Things.\n# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1\na_count 2\n', "count"],
  ])("refuses %j", (text, why) => {
    expect(() => parseExposition(text)).toThrow(new RegExp(why));
  });
});
