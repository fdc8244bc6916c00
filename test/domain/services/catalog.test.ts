import { expect, it } from "vitest";
import { loadCatalog } from "../../../src/domain/services/catalog.ts";
import { Corrupt } from "../../../src/errors.ts";

const template = {
  id: "zed",
  name: "Zed",
  host: "api.zed.dev",
  description: "An editor",
  auth_type: "bearer",
  suggested_credential_key: "ZED_TOKEN",
};
const file = (change: object) => JSON.stringify({ $schema: "./schema.json", ...template, ...change });

it("lists templates by name, whatever their files are called", () => {
  const files = new Map([
    ["catalog/zed.json", file({})],
    ["catalog/ant.json", file({ id: "ant", name: "Ant", prefix: "Token " })],
    ["catalog/schema.json", "{}"],
    ["catalog/README.md", "# not a template"],
  ]);
  expect(loadCatalog(files)).toEqual([{ ...template, id: "ant", name: "Ant", prefix: "Token " }, template]);
});

it.each([
  { content: "{", because: "it is not JSON" },
  { content: "[]", because: "it is a list" },
  { content: file({ host: undefined }), because: "a field is missing" },
])("refuses a file and names it: $because", ({ content }) => {
  const load = () => loadCatalog(new Map([["catalog/bad.json", content]]));
  expect(load).toThrow(Corrupt);
  expect(load).toThrow("bad.json");
});

it("refuses an id that is taken", () => {
  const files = new Map([
    ["a.json", file({})],
    ["b.json", file({})],
  ]);
  expect(() => loadCatalog(files)).toThrow('the id "zed" is taken');
});
