import { describe, expect, it } from "vitest";
import { formatManifest, parseManifest as parse } from "../../../src/cli/manifest/manifest.ts";
import { loadServiceRules } from "../../../src/cli/manifest/service-rules.ts";

const rules = await loadServiceRules();
const parseManifest = (text: string, source: string) => parse(text, source, rules);

const whole = `vaults:
  - name: billing
    settings:
      unmatched_host_policy: deny
    services:
      - name: stripe
        host: api.stripe.com/v1/*
        auth:
          type: bearer
          token: STRIPE_KEY
        substitutions:
          - key: ACCOUNT
            placeholder: __account__
            in:
              - path
    users:
      - email: ann@example.com
        role: admin
    agents:
      - name: reporter
        role: proxy
    credentials:
      - ACCOUNT
      - STRIPE_KEY
`;

describe("the file of apply and export", () => {
  it("is written as it was read", () => {
    expect(formatManifest(parseManifest(whole, "x"))).toBe(whole);
  });

  it("means the same however a service is spelt", () => {
    const text = (service: string) => `vaults: [{name: abc, services: [${service}]}]`;
    const plain = parseManifest(text("{name: one, host: 'a.example.com:8443/v1', auth: {type: passthrough}}"), "x");
    const apart = "{name: one, host: A.Example.com, port: 8443, path: /v1, auth: {type: passthrough}}";
    expect(parseManifest(text(apart), "x")).toEqual(plain);
  });

  it("keeps a section that is empty apart from one that is not there", () => {
    const [vault] = parseManifest("vaults:\n  - name: abc\n    services: []\n", "x");
    expect(vault).toEqual({ name: "abc", services: [] });
  });

  it.each([
    { because: "it is empty", text: "", says: "x, line 1: the file is empty" },
    { because: "only comments are in it", text: "# nothing\n", says: "the file is empty" },
    { because: "there are no vaults", text: "vaults: []\n", says: "empty" },
    {
      because: "a list is nothing",
      text: "vaults:\n  - name: abc\n    services:\n",
      says: "line 3: services should be a list",
    },
    {
      because: "the document has another field",
      text: "vault: abc\n",
      says: 'line 1: the document has no field "vault"',
    },
    {
      because: "a vault has another field",
      text: "vaults:\n  - name: abc\n    servces: []\n",
      says: 'line 3: a vault has no field "servces"',
    },
    { because: "a service has", text: whole.replace("host:", "hots:"), says: 'line 7: a service has no field "hots"' },
    { because: "its auth has", text: whole.replace("token:", "tokn:"), says: 'line 10: auth has no field "tokn"' },
    { because: "a substitution has", text: whole.replace("placeholder:", "text:"), says: "line 13" },
    { because: "a user has", text: whole.replace("email:", "mail:"), says: 'line 17: a user has no field "mail"' },
    {
      because: "an agent has a role that there is not",
      text: whole.replace("role: proxy", "role: owner"),
      says: "line 21: role cannot be",
    },
    { because: "a setting is unknown", text: whole.replace("unmatched_host_policy", "policy"), says: "line 4" },
    { because: "a setting has no such value", text: whole.replace("deny", "maybe"), says: "line 4" },
    { because: "a name is missing", text: "vaults:\n  - services: []\n", says: 'the field "name" is missing' },
    { because: "a name is no name", text: "vaults:\n  - name: A B\n", says: "line 2" },
    { because: "a vault is there twice", text: "vaults:\n  - name: abc\n  - name: abc\n", says: "line 3" },
    { because: "a key is there twice", text: "vaults:\n  - name: abc\n    name: abd\n", says: "line 3" },
    { because: "it is not YAML", text: "vaults: [\n  {\n", says: "not valid YAML" },
    {
      because: "a service is not valid",
      text: whole.replace("api.stripe.com/v1/*", "http://x"),
      says: "line 6: this service is not valid",
    },
    { because: "the auth type is unknown", text: whole.replace("type: bearer", "type: magic"), says: "line 6" },
  ])("is refused with its line when $because", ({ text, says }) => {
    expect(() => parseManifest(text, "x")).toThrow(says);
  });

  it("does not repeat what may be a value where a name should be", () => {
    const text = whole.replace("- STRIPE_KEY\n", "- sk_live_secret\n").replace("      - ACCOUNT\n", "");
    const read = () => parseManifest(text, "x");
    expect(read).toThrow("never values");
    expect(read).not.toThrow("sk_live_secret");
  });

  it("is not blown up by a document that refers to itself", () => {
    const bomb = ["a: &a [x, x, x, x, x, x, x, x, x, x]"];
    for (let at = 1; at < 12; at++) {
      const [name, last] = [at, at - 1].map((step) => String.fromCharCode(97 + step));
      bomb.push(`${name}: &${name} [${Array(10).fill(`*${last}`).join(",")}]`);
    }
    expect(() => parseManifest(`${bomb.join("\n")}\n`, "x")).toThrow();
  });
});
