import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cleanPath, hasMalformedEscape, parseQuery, splitTarget } from "../../src/http/path.ts";

describe("splitTarget", () => {
  it.each([
    ["/a/../b?x=1", "/a/../b", "x=1"],
    ["/a?x=1?y", "/a", "x=1?y"],
    ["/a?", "/a", ""],
    ["http://host:1/a//b?q", "/a//b", "q"],
    ["http://host", "/", ""],
    ["/a#b?c", "/a", ""],
  ])("reads %s", (target, path, query) => {
    expect(splitTarget(target)).toEqual({ path, query });
  });
});

describe("cleanPath", () => {
  it.each([
    ["/v1//vaults", "/v1/vaults"],
    ["/v1/./vaults", "/v1/vaults"],
    ["/v1/x/../vaults/", "/v1/vaults/"],
    ["/../../etc", "/etc"],
    ["/v1/vaults/..", "/v1/"],
    ["/v1/%2e%2e/x", "/v1/%2e%2e/x"],
    ["//evil.example", "/evil.example"],
    ["/", "/"],
  ])("makes %s into %s", (path, cleaned) => {
    expect(cleanPath(path)).toBe(cleaned);
  });

  it("gives a path that is clean, whatever it was given", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "..", ".", "", "%2e", "b/")), (segments) => {
        const cleaned = cleanPath(`/${segments.join("/")}`);
        expect(cleanPath(cleaned)).toBe(cleaned);
        expect(cleaned.startsWith("//")).toBe(false);
      }),
    );
  });
});

describe("hasMalformedEscape", () => {
  it.each([
    ["/a%zz", true],
    ["/a%2", true],
    ["/a%", true],
    ["/a%2F%ff", false],
    ["/a%00", true],
    ["/a%2500", false],
  ])("says of %s: %s", (path, expected) => {
    expect(hasMalformedEscape(path)).toBe(expected);
  });
});

describe("parseQuery", () => {
  it.each([
    ["a=1&a=2", { a: "1" }, "of a repeated name the first wins"],
    ["a=x+y", { a: "x y" }, "a plus is a blank"],
    ["a=%zz&b=1", { b: "1" }, "a malformed escape drops its pair"],
    ["a=x%00&b=1", { b: "1" }, "so does a NUL"],
    ["a=1;b=2&c=3", { c: "3" }, "a semicolon drops its pair"],
    ["a&b=", { a: "", b: "" }, "a name without value"],
    ["vault=%C3%A9", { vault: "é" }, "UTF-8"],
    ["", {}, "nothing"],
  ])("reads %s: %2$s", (query, expected, _because) => {
    expect(Object.fromEntries(parseQuery(query))).toEqual(expected);
  });
});
