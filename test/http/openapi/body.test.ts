import { describe, expect, it } from "vitest";
import { InvalidInput } from "../../../src/errors.ts";
import {
  body,
  boolean,
  integer,
  needed,
  object,
  objectMap,
  objects,
  resettable,
  string,
  strings,
  texts,
} from "../../../src/http/openapi/body.ts";
import { buildDocument } from "../../../src/http/openapi/document.ts";
import { named, shape, text } from "../../../src/http/openapi/schema.ts";
import { plainRoute } from "../../support/plain-route.ts";

describe("a body", () => {
  const all = body({
    name: needed(string()),
    count: integer(),
    is_on: boolean(),
    list: strings(),
    map: texts(),
    one: object({ inner: needed(string()) }),
    many: objects({ inner: string() }),
    by_name: objectMap({ inner: string() }),
    reset: resettable(string()),
  });

  it("reads what it describes", () => {
    const sent = {
      NAME: "n",
      count: 3,
      is_on: false,
      list: ["a"],
      map: { A: "b" },
      one: {},
      many: [{ inner: "x" }],
      by_name: { Exact: { inner: "y" } },
      reset: null,
      more: "is ignored",
    };
    expect(all.parse(sent)).toEqual({
      name: "n",
      count: 3,
      is_on: false,
      list: ["a"],
      map: { A: "b" },
      one: { inner: "" },
      many: [{ inner: "x" }],
      by_name: new Map([["Exact", { inner: "y" }]]),
      reset: null,
    });
    expect(all.schema).toMatchObject({
      type: "object",
      required: ["name"],
      properties: {
        name: { type: "string" },
        count: { type: "integer" },
        is_on: { type: "boolean" },
        list: { type: "array", items: { type: "string" } },
        map: { type: "object", additionalProperties: { type: "string" } },
        one: { type: "object", properties: { inner: { type: "string" } }, required: ["inner"] },
        many: { type: "array", items: { properties: { inner: { type: "string" } } } },
        by_name: { additionalProperties: { properties: { inner: { type: "string" } } } },
        reset: { type: ["string", "null"] },
      },
    });
  });

  it("tells a text that is missing from one that is null where that differs", () => {
    expect(all.parse({})).toMatchObject({ name: "", count: undefined, reset: undefined });
    expect(all.parse({ name: null, reset: "x" })).toMatchObject({ name: "", reset: "x" });
  });

  it.each([
    [{ name: 1 }],
    [{ count: 1.5 }],
    [{ is_on: "true" }],
    [{ list: [1] }],
    [{ map: { A: 1 } }],
    [{ one: [] }],
    [{ one: { inner: 1 } }],
    [{ many: ["x"] }],
    [{ by_name: { A: 1 } }],
    [{ by_name: [] }],
    [[]],
    ["text"],
  ])("refuses %j", (sent) => {
    expect(() => all.parse(sent)).toThrow(InvalidInput);
  });

  it("does not confuse a field with what objects inherit", () => {
    const hostile = JSON.parse('{"__proto__":{"name":"x"},"by_name":{"__proto__":{"inner":"y"}}}') as unknown;
    const parsed = all.parse(hostile);
    expect(parsed.name).toBe("");
    expect([...(parsed.by_name?.keys() ?? [])]).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype);
  });
});

describe("a document", () => {
  const route = (path: string, operation: string, schema: object) => ({
    ...plainRoute("GET", path, { access: "public", tier: "global" }),
    operation,
    answers: { 200: { description: "Done", content: { "application/json": named("Thing", schema as never) } } },
  });

  it("holds a shape with a name once", () => {
    const document = buildDocument(
      [route("/a", "a", shape({ x: text() })), route("/b", "b", shape({ x: text() }))],
      "1",
    );
    expect(Object.keys(document.components.schemas)).toEqual(["BrokerError", "Error", "Thing"]);
    expect(document.paths["/b"]?.get?.responses["200"]).toMatchObject({
      content: { "application/json": { schema: { $ref: "#/components/schemas/Thing" } } },
    });
  });

  it("is not made of two shapes, or two routes, of one name", () => {
    const one = route("/a", "a", shape({ x: text() }));
    expect(() => buildDocument([one, route("/b", "b", shape({ y: text() }))], "1")).toThrow(
      "Two schemas are called Thing",
    );
    expect(() => buildDocument([one, { ...one, path: "/b" }], "1")).toThrow("Two routes are called a");
  });
});
