import { describe, expect, it } from "vitest";
import { NeedleSet, needlesFor } from "../../../src/proxy/scrub/needles.ts";
import { Scanner } from "../../../src/proxy/scrub/scanner.ts";
import { encodings } from "./encodings.ts";

const secret = "sk_live_51H/abc+d.ef=gh\"i&j%k<l>é\\m n'o😀p";
const plainSecret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const values = [{ key: "STRIPE_KEY", value: plainSecret }];

function scan(set: NeedleSet, mode: "detect" | "redact" | "block", ...chunks: (string | Buffer)[]) {
  const scanner = new Scanner(set, mode);
  const passed = chunks.map((chunk) => scanner.push(Buffer.from(chunk)).toString());
  return { text: passed.join("") + scanner.end().toString(), passed, scanner };
}

describe("an injected value", () => {
  const set = new NeedleSet([
    { key: "PLAIN", value: plainSecret },
    { key: "ODD", value: secret },
  ]);

  it.each(encodings)("is found and redacted: $name", ({ encode }) => {
    for (const [key, value] of [
      ["PLAIN", plainSecret],
      ["ODD", secret],
    ] as const) {
      const echoed = encode(value);
      const { text, scanner } = scan(set, "redact", `before ${echoed} after`);
      expect([...scanner.found], echoed).toEqual([key]);
      expect(text).toContain("[redacted]");
      expect(text).toMatch(/^before .* after$/);
      expect(text).not.toContain(echoed);
    }
  });

  it.each(encodings)("is found byte by byte: $name", ({ encode }) => {
    for (const value of [plainSecret, secret]) {
      const bytes = Buffer.from(`<${encode(value)}>`);
      const { text, scanner } = scan(set, "redact", ...[...bytes].map((byte) => Buffer.of(byte)));
      expect(scanner.found.size).toBe(1);
      expect(text).toBe(scan(set, "redact", bytes).text);
    }
  });

  it("leaves a marker of its own length, so that a declared length stays true", () => {
    const { text } = scan(new NeedleSet(values), "redact", `{"key":"${plainSecret}"}`);
    expect(text).toBe(`{"key":"[redacted]**********************"}`);
    expect(new NeedleSet(values).keepsLength).toBe(true);
  });

  it("becomes its placeholder again, so that links in answers work for the agent", () => {
    const set = new NeedleSet([{ key: "SID", value: "AC0123456789abcdef", placeholder: "__sid__" }]);
    expect(set.keepsLength).toBe(false);
    expect(scan(set, "redact", '{"uri":"/Accounts/AC0123456789abcdef/Messages"}').text).toBe(
      '{"uri":"/Accounts/__sid__/Messages"}',
    );
    expect(scan(set, "redact", Buffer.from("AC0123456789abcdef").toString("base64")).text).toMatch(/^\[redacted]\*+$/);
  });

  it("is only reported in the mode detect, with nothing held back", () => {
    const { passed, scanner } = scan(new NeedleSet(values), "detect", "a sk_live_", plainSecret.slice(8), " b");
    expect(passed).toEqual(["a sk_live_", plainSecret.slice(8), " b"]);
    expect([...scanner.found]).toEqual(["STRIPE_KEY"]);
    expect(scanner.count).toBe(1);
  });

  it("ends the answer in the mode block, with a message that does not hold it", () => {
    const scanner = new Scanner(new NeedleSet(values), "block");
    expect(scanner.push(Buffer.from("fine sk_liv")).toString()).toBe("fine ");
    let failure: unknown;
    try {
      scanner.push(Buffer.from("e_4eC39HqLyjWDarjtT1zdp7dc"));
    } catch (error) {
      failure = error;
    }
    expect(failure).toMatchObject({ code: "credential_in_answer", details: { credential_keys: ["STRIPE_KEY"] } });
    expect(JSON.stringify(failure)).not.toContain(plainSecret);
  });

  it.each([
    { first: "abcdefgh", second: "efghijkl", stream: "-abcdefghijkl-", because: "they overlap" },
    { first: "secretkey1", second: "secretkey123", stream: "-secretkey123-", because: "one begins the other" },
    { first: "ccdddddd", second: "aabbccddddddee", stream: "-aabbccddddddee-", because: "one is inside the other" },
    { first: "abcdabcd", second: "abcdabcd", stream: "-abcdabcdabcd-", because: "it overlaps with itself" },
  ])("is redacted whole when there are two and $because", ({ first, second, stream }) => {
    const set = new NeedleSet([
      { key: "A", value: first },
      { key: "B", value: second },
    ]);
    for (let at = 0; at <= stream.length; at += 1) {
      const { text } = scan(set, "redact", stream.slice(0, at), stream.slice(at));
      expect(text.replace("[redacted]", "**********"), `cut at ${at}`).toMatch(/^-\*+-$/);
    }
    const bytewise = scan(set, "redact", ...stream).text;
    expect(bytewise.replace("[redacted]", "**********")).toMatch(/^-\*+-$/);
    expect(bytewise).toHaveLength(stream.length);
  });

  it("of several kilobytes is found in pieces", () => {
    const long = Array.from({ length: 5000 }, (_, at) => String.fromCharCode(65 + ((at * 7 + (at >> 5)) % 26))).join(
      "",
    );
    const { text, scanner } = scan(new NeedleSet([{ key: "PEM", value: long }]), "redact", `<${long}>`);
    expect(text).toMatch(/^<(\[redacted]\*+)+>$/);
    expect(text).toHaveLength(long.length + 2);
    expect([...scanner.found]).toEqual(["PEM"]);
  });
});

describe("what is no injected value", () => {
  const set = new NeedleSet(values);

  it("passes on as the very same buffer", () => {
    const scanner = new Scanner(set, "redact");
    for (const text of ['{"a":"b\\n%20&amp; c"}\n', "data: x\n\n", "", "AAAA"]) {
      const chunk = Buffer.from(text);
      expect(scanner.push(chunk)).toBe(chunk);
    }
  });

  it.each([
    { end: "\n\n", held: 0, because: "the end of an event begins no value" },
    { end: "sk_live", held: 7, because: "the value begins so" },
    { end: "sk_lixe", held: 0, because: "the value does not go on so" },
    { end: "sk_live_\\u0034", held: 14, because: "so it does, escaped" },
    { end: "100%", held: 1, because: "an escape may follow" },
    { end: "a&xy", held: 0, because: "no character is called that" },
    { end: "%41", held: 0, because: "the value does not begin with an A" },
    { end: "%73", held: 3, because: "it begins with an s" },
  ])("is held back only while it may become one: $end, for $because", ({ end, held }) => {
    const scanner = new Scanner(set, "redact");
    const text = `some text ${end}`;
    expect(scanner.push(Buffer.from(text)).toString()).toBe(text.slice(0, text.length - held));
    expect(scanner.heldBytes).toBe(held);
    expect(scanner.end().toString()).toBe(text.slice(text.length - held));
  });

  it.each(["1234567", "00000000000", "abcabcabcabc"])("includes %s, which would turn up by itself", (value) => {
    const set = new NeedleSet([{ key: "PIN", value }]);
    expect(set.isEmpty).toBe(true);
    expect(set.notSearched).toEqual(["PIN"]);
    expect(scan(set, "redact", `PIN ${value}`).text).toBe(`PIN ${value}`);
  });

  it("includes escaped forms of a value of many percent signs and backslashes, not the value itself", () => {
    const value = "a\\b\\c%d%e%f%g&h&i&j";
    const set = new NeedleSet([{ key: "KEY", value }]);
    expect(scan(set, "redact", value).scanner.count).toBe(1);
    expect(scan(set, "redact", Buffer.from(value).toString("base64")).scanner.count).toBe(1);
    expect(scan(set, "redact", JSON.stringify(value)).scanner.count).toBe(0);
  });
});

describe("an answer made to be searched for ever", () => {
  const set = new NeedleSet([{ key: "KEY", value: `${"\\".repeat(8)}abcd` }]);
  const answer = "\\".repeat(32 * 1024);

  it("does not pass, for nobody can tell what is in there", () => {
    const refused = expect.objectContaining({ code: "answer_not_scannable", status: 502 }) as Error;
    expect(() => scan(set, "redact", answer)).toThrow(refused);
    expect(() => scan(set, "block", answer)).toThrow(refused);
  });

  it("passes in the mode detect", () => {
    expect(scan(set, "detect", answer).passed).toEqual([answer]);
  });

  it("is another matter where values are not made of backslashes", () => {
    expect(scan(new NeedleSet(values), "redact", answer).text).toBe(answer);
  });
});

describe("the needles of a list of values", () => {
  it("are compiled once", () => {
    expect(needlesFor(values)).toBe(needlesFor(values));
    expect(needlesFor([...values])).not.toBe(needlesFor(values));
  });
});
