import { describe, expect, it } from "vitest";
import { InvalidInput } from "../../src/errors.ts";
import { Fields } from "../../src/http/fields.ts";

describe("Fields", () => {
  it("matches names without regard to case and takes null as absent", () => {
    const fields = new Fields({ Email: "a", TTL_Seconds: 5, gone: null });
    expect(fields.string("email")).toBe("a");
    expect(fields.integer("ttl_seconds")).toBe(5);
    expect(fields.has("gone")).toBe(false);
    expect(fields.string("gone")).toBeUndefined();
  });

  it.each([
    ["string", (fields: Fields) => fields.string("x"), 1],
    ["string", (fields: Fields) => fields.string("x"), "a\u0000b"],
    ["string", (fields: Fields) => fields.string("x"), "a\ud800b"],
    ["boolean", (fields: Fields) => fields.boolean("x"), "true"],
    ["integer", (fields: Fields) => fields.integer("x"), 1.5],
    ["integer", (fields: Fields) => fields.integer("x"), "1"],
    ["number", (fields: Fields) => fields.number("x"), "1"],
    ["list", (fields: Fields) => fields.list("x"), {}],
    ["strings", (fields: Fields) => fields.strings("x"), [1]],
    ["strings", (fields: Fields) => fields.strings("x"), ["a", "b\u0000"]],
    ["strings", (fields: Fields) => fields.strings("x"), ["\ud800"]],
    ["objects", (fields: Fields) => fields.objects("x"), ["a"]],
    ["object", (fields: Fields) => fields.object("x"), []],
  ])("refuses a wrong type where a %s belongs", (_, read, value) => {
    expect(() => read(new Fields({ x: value }))).toThrow(InvalidInput);
  });

  it.each([[[]], ["text"], [1], [true]])("refuses %j where an object belongs", (value) => {
    expect(() => new Fields(value)).toThrow(InvalidInput);
  });

  it("does not confuse a field with what objects inherit", () => {
    expect(new Fields({}).has("constructor")).toBe(false);
    expect(new Fields(JSON.parse('{"__proto__":{"admin":true}}')).has("admin")).toBe(false);
  });
});
