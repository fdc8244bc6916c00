import { describe, expect, it } from "vitest";
import { parseEmail } from "../../../src/domain/actors/email.ts";
import { cleanLabel } from "../../../src/domain/actors/label.ts";
import { parseTokenRequest } from "../../../src/domain/actors/scoped-token.ts";
import { isSlug } from "../../../src/domain/slug.ts";
import { InvalidInput } from "../../../src/errors.ts";

describe("an email address", () => {
  it.each([
    ["ada@example.com", "ada@example.com"],
    ["  Ada@Example.COM ", "ada@example.com"],
    ["a@x", "a@x"],
    ["ada+tag@sub.example.com", "ada+tag@sub.example.com"],
    ["é@exämple.de", "é@exämple.de"],
  ])("%j is stored as %s", (text, stored) => {
    expect(parseEmail(text)).toBe(stored);
  });

  it.each([
    ["", "nothing"],
    ["zzz", "no at sign"],
    ["Al <al@example.com>", "a display name"],
    ["a@b@c", "two at signs"],
    ["a@.com", "an empty label"],
    ["a@example.com\r\nBcc: x@y", "a second header"],
    ["a\u202eb@example.com", "letters that turn the rest around"],
    ["a\u200bb@example.com", "a letter that nobody sees"],
    ["\ud800@example.com", "half a character"],
    [`${"a".repeat(65)}@example.com`, "a local part over 64 characters (RFC 5321)"],
    [`a@${"b".repeat(254)}.com`, "more than 254 characters (RFC 5321)"],
  ])("%j is refused: %s", (text, _because) => {
    expect(() => parseEmail(text)).toThrow(InvalidInput);
  });
});

describe("a name", () => {
  it.each([
    ["abc", true],
    ["a-b-c", true],
    ["a".repeat(64), true],
    ["ab", false],
    ["a".repeat(65), false],
    ["Upper", false],
    ["a_b", false],
    ["-abc", false],
    ["abc-", false],
    ["a--b", false],
    ["abc\n", false],
    ["ünï", false],
  ])("%j is a slug: %s", (text, expected) => {
    expect(isSlug(text)).toBe(expected);
  });
});

describe("a scoped token's request", () => {
  it("gets a day and the role proxy unless it asks for less", () => {
    expect(parseTokenRequest({ vaultRole: undefined, ttlSeconds: undefined, label: "  a\u0001\nb " })).toEqual({
      ttlSeconds: 86_400,
      label: "ab",
    });
  });

  it.each([
    [{ vaultRole: "member", ttlSeconds: undefined, label: undefined }],
    [{ vaultRole: undefined, ttlSeconds: 299, label: undefined }],
    [{ vaultRole: undefined, ttlSeconds: 604_801, label: undefined }],
    [{ vaultRole: undefined, ttlSeconds: 18446744674, label: undefined }],
    [{ vaultRole: undefined, ttlSeconds: 0, label: undefined }],
    [{ vaultRole: undefined, ttlSeconds: undefined, label: "é".repeat(101) }],
  ])("is refused for %j", (request) => {
    expect(() => parseTokenRequest(request)).toThrow(InvalidInput);
  });

  it("counts the characters of a label, not its bytes", () => {
    expect(cleanLabel("😀".repeat(100))).toHaveLength(100);
  });
});
