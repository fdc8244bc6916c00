import { inspect } from "node:util";
import { expect, it } from "vitest";
import { Secret } from "../../src/crypto/secret.ts";

const secret = new Secret("sk_live_1");

it("gives its value to whoever asks for it by name", () => expect(secret.reveal()).toBe("sk_live_1"));

it.each([
  ["String()", () => String(secret)],
  ["a template", () => `${secret}`],
  ["concatenation", () => ["", secret].join("")],
  ["JSON", () => JSON.stringify({ secret })],
  ["inspection", () => inspect({ secret }, { showHidden: true, depth: 5, showProxy: true })],
  ["an error", () => inspect(new Error("failed", { cause: secret }))],
  ["its own keys", () => JSON.stringify([Object.keys(secret), Object.entries(secret), { ...secret }])],
  ["a copy", () => inspect(Object.assign({}, secret))],
])("does not show it through %s", (_, show) => expect(show()).not.toContain("sk_live_1"));

it("prints as [secret]", () => {
  expect(`${secret}`).toBe("[secret]");
  expect(JSON.stringify({ secret })).toBe('{"secret":"[secret]"}');
  expect(inspect(secret)).toBe("[secret]");
});
