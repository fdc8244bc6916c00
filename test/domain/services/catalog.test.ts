import { expect, it } from "vitest";
import { type CatalogTemplate, loadCatalog, TemplateFinder } from "../../../src/domain/services/catalog.ts";

const template = (id: string, host: string): CatalogTemplate => ({
  ...{ id, host, name: id, description: "What it is for" },
  ...{ auth_type: "bearer", suggested_credential_key: "KEY" },
});
const finder = new TemplateFinder([
  template("wild", "*.example.com"),
  template("drive", "www.example.com/drive/*"),
  template("calendar", "www.example.com/calendar/*"),
  template("port", "api.example.org:8443"),
]);

it.each([
  { host: "www.example.com", ids: ["drive", "calendar", "wild"], because: "those that name it come first" },
  { host: "a.example.com", ids: ["wild"], because: "a wildcard stands for one label" },
  { host: "b.a.example.com", ids: [], because: "and for no more than one" },
  { host: "example.com", ids: [], because: "nor for none" },
  { host: "evil-example.com", ids: [], because: "a label is not its end" },
  { host: "api.example.org", ids: ["port"], because: "hosts that agents called are counted without their port" },
  { host: "other.example.org", ids: [], because: "nobody knows it" },
])("finds $ids for $host: $because", ({ host, ids }) => {
  expect(finder.idsFor(host)).toEqual(ids);
});

it("refuses a file that is no template, by name", () => {
  const broken = (text: string) => () => loadCatalog(new Map([["catalog/bad.json", text]]));
  expect(broken("{")).toThrow("bad.json cannot be used: it is not JSON");
  expect(broken('{"id": "bad"}')).toThrow('"name" is missing');
});
