import { describe, expect, it } from "vitest";
import { scrubHeaders, scrubText } from "../../../src/proxy/scrub/headers.ts";
import { NeedleSet } from "../../../src/proxy/scrub/needles.ts";
import { Scanner } from "../../../src/proxy/scrub/scanner.ts";

const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const set = new NeedleSet([{ key: "KEY", value: secret }]);
const marker = "[redacted]**********************";

describe("headers of an answer", () => {
  it("stay the same list when they hold no value, also when one ends like its beginning", () => {
    const headers = ["Content-Type", "text/plain", "X-Last", "sk_live"];
    expect(scrubHeaders(new Scanner(set, "redact"), headers)).toBe(headers);
  });

  it("lose the values that they hold, whatever the encoding", () => {
    const scanner = new Scanner(set, "redact");
    const headers = [
      "Location",
      `https://a.test/?key=${secret}&x=1`,
      "WWW-Authenticate",
      `Basic ${Buffer.from(`u:${secret}`).toString("base64")}`,
      "Content-Type",
      "a/b",
      `X-${secret}`,
      "y",
    ];
    const scrubbed = scrubHeaders(scanner, headers);
    expect(scrubbed.slice(0, 2)).toEqual(["Location", `https://a.test/?key=${marker}&x=1`]);
    expect(scrubbed[3]).toMatch(/^Basic .{2,3}\[redacted]\*+.?={0,2}$/);
    expect(scrubbed.slice(4), "a header whose name is the value is dropped").toEqual(["Content-Type", "a/b"]);
    expect([...scanner.found]).toEqual(["KEY"]);
    expect(scanner.count).toBe(3);
  });

  it("are only looked at in the mode detect, and end the answer in the mode block", () => {
    const headers = ["X-Echo", secret];
    const scanner = new Scanner(set, "detect");
    expect(scrubHeaders(scanner, headers)).toBe(headers);
    expect(scanner.count).toBe(1);
    expect(() => scrubHeaders(new Scanner(set, "block"), headers)).toThrow(/value of KEY/);
  });

  it("are bytes: what is not ASCII stays as it was", () => {
    expect(scrubText(new Scanner(set, "redact"), `\xe9\xff ${secret}`)).toBe(`\xe9\xff ${marker}`);
  });
});
