import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Service, Surface } from "../../../src/domain/services/service.ts";
import { substituteHeaders, substituteTarget } from "../../../src/proxy/substitute/head.ts";
import { Substitutions } from "../../../src/proxy/substitute/substitutions.ts";

function one(value: string, ...surfaces: Surface[]): Substitutions {
  return new Substitutions([{ key: "KEY", placeholder: "__sid__", value, in: surfaces }]);
}

const base64 = (text: string) => Buffer.from(text).toString("base64");

describe("placeholders in a target", () => {
  it.each([
    { value: "abc/def", target: "/a/__sid__/b", sent: "/a/abc%2Fdef/b", because: "a value is one segment" },
    { value: "a&b=c d", target: "/?x=__sid__&y=1", sent: "/?x=a%26b%3Dc+d&y=1", because: "a value is one parameter" },
    { value: "a?b#c;d,e", target: "/__sid__", sent: "/a%3Fb%23c%3Bd%2Ce", because: "a path ends at none of these" },
    { value: "$a&b+c:d=e@f", target: "/__sid__", sent: "/$a&b+c:d=e@f", because: "these mean nothing in a path" },
    { value: "50%", target: "/__sid__?q=__sid__", sent: "/50%25?q=50%25", because: "a percent sign begins an escape" },
    { value: "é", target: "/__sid__", sent: "/%C3%A9", because: "paths are UTF-8" },
    {
      value: "v",
      target: "/__SID__/x__sid__y__sid__",
      sent: "/__SID__/xvyv",
      because: "case counts, and all are replaced",
    },
    { value: "v", target: "/%5F_sid__", sent: "/%5F_sid__", because: "nobody encodes an underscore" },
  ])("$value in $target is sent as $sent: $because", ({ value, target, sent }) => {
    expect(substituteTarget(one(value, "path", "query"), target)).toBe(sent);
  });

  it("are left alone on surfaces that are not declared", () => {
    const target = "/__sid__?q=__sid__";
    expect(substituteTarget(one("v", "path"), target)).toBe("/v?q=__sid__");
    expect(substituteTarget(one("v", "query"), target)).toBe("/__sid__?q=v");
    expect(substituteTarget(one("v", "header", "body", "websocket"), target)).toBe(target);
  });

  it.each(["..", ".", "../admin", "a/../b", "a\\..\\b", "", "a/.", "x\0"])(
    "refuse the value %j, which could change the path's shape",
    (value) => {
      expect(() => substituteTarget(one(value, "path"), "/a/__sid__/b")).toThrow(/KEY would change the shape/);
      expect(substituteTarget(one(value, "path"), "/a/b"), "only when it is used").toBe("/a/b");
    },
  );

  it("refuse to complete a segment of dots", () => {
    const two = new Substitutions([{ key: "KEY", placeholder: "__sid__", value: ".;x", in: ["path"] }]);
    expect(() => substituteTarget(two, "/a/%2e__sid__")).toThrow(/segment of dots/);
    expect(substituteTarget(two, "/a/b__sid__")).toBe("/a/b.%3Bx");
  });

  it("take the longest at each place, and never look at what was put in", () => {
    const substitutions = new Substitutions([
      { key: "A", placeholder: "__a__", value: "__a__b__ __b__", in: ["query"] },
      { key: "AB", placeholder: "__a__b__", value: "__a__", in: ["query"] },
      { key: "B", placeholder: "__b__", value: "~", in: ["query"] },
    ]);
    expect(substituteTarget(substitutions, "/?__a__&__a__b__&__b__")).toBe("/?__a__b__+__b__&__a__&~");
  });

  it("come from the service, with the values that were revealed for it", () => {
    const service: Service = {
      name: "s",
      pattern: { host: "h.test" },
      auth: { type: "passthrough" },
      substitutions: [{ key: "KEY", placeholder: "__sid__", in: ["query"] }],
    };
    const values = new Map([["KEY", "v"]]);
    const substitutions = Substitutions.of(service, values);
    expect(substitutions && substituteTarget(substitutions, "/__sid__?__sid__")).toBe("/__sid__?v");
    expect(Substitutions.of(service, values)).toBe(substitutions);
    expect(Substitutions.of({ ...service, substitutions: [] }, values)).toBeUndefined();
  });

  it("may have their tilde encoded", () => {
    const substitutions = new Substitutions([{ key: "K", placeholder: "~sid~", value: "v", in: ["query"] }]);
    expect(substituteTarget(substitutions, "/?a=~sid~&b=%7Esid%7E&c=%7esid%7e")).toBe("/?a=v&b=v&c=v");
  });

  it("leave the number of segments, parameters and parts as it was, whatever the value", () => {
    const value = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom(..."./\\?#%&;=+ \r\n:@") }),
    );
    const property = fc.property(
      value,
      fc.constantFrom("/__sid__", "/a__sid__/b", "/x/__sid__.json", "/.__sid__"),
      (value, path) => {
        let sent: string;
        try {
          sent = substituteTarget(one(value, "path", "query"), `${path}?k=__sid__&l=1`);
        } catch (error) {
          expect(error).toMatchObject({ code: "credential_unusable", status: 502 });
          return;
        }
        expect(sent).toMatch(/^[\x21-\x7e]+$/);
        const url = new URL(`https://h.test${sent}`);
        expect(url.pathname.split("/")).toHaveLength(path.split("/").length);
        expect(sent.split("?")).toHaveLength(2);
        expect(sent).not.toContain("#");
        expect([...url.searchParams.keys()]).toEqual(["k", "l"]);
        // Lone surrogates have no bytes.
        expect(url.searchParams.get("k")).toBe(Buffer.from(value).toString());
      },
    );
    fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 1000) });
  });
});

describe("placeholders in headers", () => {
  it("are replaced in values of any header but those that route and frame", () => {
    const headers = ["Host", "__sid__", "X-Key", "a __sid__", "Cookie", "k=__sid__; l=__sid__", "Content-Length", "1"];
    expect(substituteHeaders(one("v", "header"), headers)).toEqual([
      ...["Host", "__sid__", "X-Key", "a v", "Cookie", "k=v; l=v", "Content-Length", "1"],
    ]);
  });

  it("leave the list alone when there are none, or the surface is not declared", () => {
    const headers = ["X-Key", "a"];
    expect(substituteHeaders(one("v", "header"), headers)).toBe(headers);
    const other = ["X-Key", "__sid__"];
    expect(substituteHeaders(one("v", "path"), other)).toBe(other);
  });

  it.each([
    { pair: "__sid__:x", sent: "v:x" },
    { pair: "user:__sid__", sent: "user:v" },
    { pair: "__sid__", sent: "v" },
    { pair: "é__sid__:__sid__", sent: "év:v" },
  ])("are replaced inside of Basic credentials: $pair", ({ pair, sent }) => {
    expect(substituteHeaders(one("v", "header"), ["Authorization", `Basic ${base64(pair)}`])).toEqual([
      "Authorization",
      `Basic ${base64(sent)}`,
    ]);
  });

  it("may hold a colon in a password, not in a user name, where it would move the border", () => {
    expect(substituteHeaders(one("a:b", "header"), ["Authorization", `Basic ${base64("u:__sid__")}`])).toEqual([
      "Authorization",
      `Basic ${base64("u:a:b")}`,
    ]);
    expect(() => substituteHeaders(one("a:b", "header"), ["Authorization", `Basic ${base64("__sid__:p")}`])).toThrow(
      /colon/,
    );
  });

  it.each(["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])(
    "refuse the value %j where it is used, and there alone",
    (value) => {
      const substitutions = one(value, "header");
      for (const header of ["a__sid__", `Basic ${base64("u:__sid__")}`]) {
        expect(() => substituteHeaders(substitutions, ["Authorization", header])).toThrow(
          expect.objectContaining({ code: "credential_unusable", status: 502 }) as Error,
        );
      }
      expect(substituteHeaders(substitutions, ["X-A", "b"])).toEqual(["X-A", "b"]);
    },
  );

  it("send what is beyond ASCII as UTF-8", () => {
    expect(substituteHeaders(one("é", "header"), ["X-Key", "__sid__"])).toEqual(["X-Key", "\xc3\xa9"]);
  });

  it("are refused in names", () => {
    expect(() => substituteHeaders(one("v", "header"), ["X-__sid__", "a"])).toThrow(
      expect.objectContaining({ code: "placeholder_in_header_name" }) as Error,
    );
  });
});
