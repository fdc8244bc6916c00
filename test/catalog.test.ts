import { describe, expect, it } from "vitest";
import { parseService } from "../src/domain/services/definition.ts";
import { compileMatcher } from "../src/domain/services/match.ts";
import { readAssetText } from "../src/runtime/assets.ts";
import { type CatalogFile, readTemplates, seedService } from "./support/catalog.ts";
import { type JsonSchema, violations } from "./support/json-schema.ts";

type Template = CatalogFile;

const schema = JSON.parse(readAssetText("catalog/schema.json")) as JsonSchema;
const templates = readTemplates();

const stripe: Template & { readonly description: string } = {
  id: "stripe",
  name: "Stripe",
  host: "api.stripe.com",
  category: "payments",
  description: "Payments and customers",
  docs: "https://docs.stripe.com/api/authentication",
  auth_type: "bearer",
  suggested_credential_key: "STRIPE_SECRET_KEY",
};

describe("the catalog", () => {
  it.each(templates)("$file keeps the rules of catalog/schema.json", ({ template }) => {
    expect(violations(schema, template)).toEqual([]);
  });

  it.each(templates)("$file is named after its id", ({ file, template }) => {
    expect(file).toBe(`${template.id}.json`);
  });

  it("never offers two templates under one name", () => {
    const names = templates.map(({ template }) => template.name.toLowerCase());
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  it("never offers two templates for one host: nobody could tell which one to take", () => {
    const hosts = templates.map(({ template }) => template.host);
    expect(hosts.filter((host, index) => hosts.indexOf(host) !== index)).toEqual([]);
  });

  it("has at least twice as many templates as clients knew from the beginning, which were 34", () => {
    expect(templates.length).toBeGreaterThanOrEqual(2 * 34);
  });

  it("uses each suggested key in the template that suggests it", () => {
    const unused = templates.filter(({ template }) => !usesSuggestedKey(template)).map(({ file }) => file);
    // Request signing with two keys is beyond what a template can say.
    expect(unused).toEqual(["aws-s3.json"]);
  });

  it.each([
    { id: "anthropic", auth_type: "api-key", header: "x-api-key", host: "api.anthropic.com" },
    { id: "discord", auth_type: "api-key", header: "Authorization", prefix: "Bot ", host: "discord.com/api/*" },
    { id: "github", auth_type: "bearer", suggested_credential_key: "GITHUB_TOKEN", host: "api.github.com" },
    { id: "gitlab", auth_type: "api-key", header: "PRIVATE-TOKEN", host: "gitlab.com/api/*" },
    { id: "jira", auth_type: "basic", suggested_credential_key: "JIRA_API_TOKEN", host: "*.atlassian.net" },
    { id: "pagerduty", auth_type: "custom", headers: { Authorization: "Token token={{ PAGERDUTY_TOKEN }}" } },
    {
      id: "telegram",
      auth_type: "passthrough",
      substitutions: [{ key: "TELEGRAM_BOT_TOKEN", placeholder: "__TELEGRAM_BOT_TOKEN__", in: ["path"] }],
    },
  ])("says what clients rely on for $id", (facts) => {
    expect(templates.find(({ template }) => template.id === facts.id)?.template).toMatchObject(facts);
  });
});

describe("a service made from a template", () => {
  // Request signing with two keys is beyond what a template can say.
  const usable = templates.filter(({ template }) => template.id !== "aws-s3");

  it.each(usable)("is a valid one: $file", ({ template }) => {
    const service = parseService(seedService(template), { allowsInternalNames: false });
    const { host, path } = service.pattern;
    const outcome = compileMatcher([service]).match({
      scheme: "https",
      host: host.replace("*", "tenant"),
      port: 443,
      path: path?.replace("*", "v1/things") ?? "/",
      method: "GET",
    });
    expect(outcome).toMatchObject({ kind: "service", service: { name: expect.stringContaining(template.id) } });
  });

  it("cannot be made for S3, whose requests are signed", () => {
    const s3 = templates.find(({ template }) => template.id === "aws-s3");
    expect(() => parseService(seedService(s3?.template ?? stripe), { allowsInternalNames: false })).toThrow("headers");
  });
});

describe("the schema of templates", () => {
  it("accepts a plain one", () => {
    expect(violations(schema, stripe)).toEqual([]);
  });

  it.each([
    { change: { id: "Stripe!" }, because: "an id is a slug" },
    { change: { host: "API.stripe.com" }, because: "hosts are in lower case" },
    { change: { host: "https://api.stripe.com" }, because: "a host is no address" },
    { change: { host: "203.0.113.7" }, because: "services are named, not numbered" },
    { change: { host: "*" }, because: "a template for everything is for nothing" },
    { change: { auth_type: "magic" }, because: "there are five auth types" },
    { change: { suggested_credential_key: "stripe-key" }, because: "keys are in capitals" },
    { change: { header: "X-Key" }, because: "a header belongs to api-key" },
    { change: { prefix: "Token " }, because: "a prefix belongs to api-key" },
    { change: { headers: { "X-Key": "{{ KEY }}" } }, because: "headers belong to custom" },
    { change: { auth_type: "api-key" }, because: "api-key has to say which header" },
    { change: { auth_type: "custom", headers: { "X-Key": "literal" } }, because: "a value without a key is no secret" },
    { change: { substitutions: [{ key: "K", placeholder: "__K__", in: ["cookie"] }] }, because: "no such surface" },
    { change: { sugested_key: "K" }, because: "a misspelt field would be lost in silence" },
    { change: { category: "misc" }, because: "a category that nobody looks for hides what is in it" },
    { change: { docs: undefined }, because: "a template says where it was read" },
    { change: { docs: "http://docs.stripe.com" }, because: "people click on it" },
    { change: { suggested_username_key: "ACCOUNT" }, because: "only basic has a user name" },
    { change: { auth_type: "basic" }, because: "basic has to say which credential has the user name" },
    { change: { description: undefined }, because: "a template says what it is for" },
  ])("refuses $change: $because", ({ change }) => {
    const changed = JSON.parse(JSON.stringify({ ...stripe, ...change })) as unknown;
    expect(violations(schema, changed)).not.toEqual([]);
  });
});

function usesSuggestedKey({ auth_type, suggested_credential_key: key, headers = {}, substitutions = [] }: Template) {
  if (["bearer", "basic", "api-key"].includes(auth_type)) return true;
  const templates = Object.values(headers);
  return templates.some((value) => value.includes(`{{ ${key} }}`)) || substitutions.some((entry) => entry.key === key);
}
