import { describe, expect, it } from "vitest";
import { parseEnvFile } from "../../src/cli/env-file.ts";
import { formatTime, printTable, reportError } from "../../src/cli/output.ts";
import { deriveName, formatServiceFile, parseServiceFile } from "../../src/cli/service-file.ts";
import { authFromFlags, parseSubstitution } from "../../src/cli/service-flags.ts";
import { InvalidInput } from "../../src/errors.ts";

describe("a file of KEY=VALUE lines", () => {
  it.each([
    { text: "A=b", value: "b", because: "plain" },
    { text: "export A=b", value: "b", because: "a shell's export" },
    { text: "A=b=c", value: "b=c", because: "only the first = separates" },
    { text: "A= b # why", value: "b", because: "spaces around, and a comment behind" },
    { text: "A=b#c", value: "b#c", because: "a # inside a word is part of it" },
    { text: "A='b # $c\\n'", value: "b # $c\\n", because: "single quotes take everything as it is" },
    { text: 'A="b\\nc\\"d"', value: 'b\nc"d', because: "double quotes know escapes" },
    { text: 'A="-----BEGIN\nx\n-----END"', value: "-----BEGIN\nx\n-----END", because: "a quoted value spans lines" },
    { text: "\uFEFFA=b\r\n", value: "b", because: "what Windows editors leave" },
    { text: "A=", value: "", because: "empty is a value" },
  ])("gives $value for $text: $because", ({ text, value }) => {
    expect(parseEnvFile(text, ".env")).toEqual([["A", value]]);
  });

  it.each(["A", "A B=c", 'A="b', "# nothing"])("is refused without repeating its content: %s", (text) => {
    expect(() => parseEnvFile(`${text}`, ".env")).toThrow(InvalidInput);
    try {
      parseEnvFile("sk_live_value", ".env");
    } catch (error) {
      expect(String(error)).not.toContain("sk_live");
    }
  });
});

describe("a service document", () => {
  it("reads back what it prints", () => {
    const services = [{ name: "a", host: "a.example.com:8443/v1/*", auth: { type: "bearer", token: "A_KEY" } }];
    expect(parseServiceFile(formatServiceFile("default", services), "x")).toEqual(services);
  });

  it("folds a separate port and path into the host", () => {
    const text = "services: [{name: a, host: a.example.com, port: 8443, path: /v1/*, auth: {type: passthrough}}]";
    expect(parseServiceFile(text, "x")[0]).toMatchObject({ host: "a.example.com:8443/v1/*" });
  });

  it.each([
    { text: "", says: 'no list "services" in the file', because: "an empty file would erase everything" },
    { text: "vault: a", says: 'no list "services" in the file', because: "so would one without services" },
    {
      text: "services: [{nmae: a}]",
      says: 'the file, line 1: a service has no field "nmae"',
      because: "the server would drop it silently",
    },
    { text: "service: []\nservices: []", says: 'the document has no field "service"', because: "likewise" },
    {
      text: "services:\n- name: a\n  auth:\n    type: bearer\n    tokn: A",
      says: 'line 5: auth has no field "tokn"',
      because: "it would be dropped, too",
    },
    { text: "services:", says: "line 1: services should be a list", because: "nothing is not an empty list" },
    { text: "services: [a]", says: "a service should be a mapping", because: "a name alone is no service" },
    { text: "services: [{host: 'a:1', port: 2}]", says: "names the port 1", because: "they contradict each other" },
    { text: "a: [1", says: "the file, line 1: not valid YAML", because: "it is not YAML" },
  ])("is refused: $says ($because)", ({ text, says }) => {
    expect(() => parseServiceFile(text, "the file")).toThrow(says);
  });

  it("derives a name from the host, with a number when it is taken", () => {
    expect(deriveName("api.stripe.com/v1/*", new Set())).toBe("api-stripe-com-v1");
    expect(deriveName("api.stripe.com", new Set(["api-stripe-com", "api-stripe-com-2"]))).toBe("api-stripe-com-3");
  });

  it("reads a substitution flag", () => {
    expect(parseSubstitution("__acc__=ACC@path,query")).toEqual({
      key: "ACC",
      placeholder: "__acc__",
      in: ["path", "query"],
    });
    expect(() => parseSubstitution("nonsense")).toThrow("--substitute");
  });
});

describe("the auth flags of service add", () => {
  const none = {
    "auth-type": undefined,
    "token-key": undefined,
    "username-key": undefined,
    "password-key": undefined,
    "api-key-key": undefined,
    "api-key-header": "Authorization",
    "api-key-prefix": undefined,
    "custom-header": [],
  };
  const auth = (flags: Record<string, string | string[]>) =>
    authFromFlags({ ...none, ...flags } as typeof none, new Set(Object.keys(flags)));

  it.each([
    { flags: { "auth-type": "bearer", "token-key": "T" }, makes: { type: "bearer", token: "T" } },
    { flags: { "auth-type": "basic", "username-key": "U" }, makes: { type: "basic", username: "U" } },
    {
      flags: { "auth-type": "api-key", "api-key-key": "K" },
      makes: { type: "api-key", key: "K", header: "Authorization" },
    },
    {
      flags: { "auth-type": "custom", "custom-header": ["X-A={{ K }}"] },
      makes: { type: "custom", headers: { "X-A": "{{ K }}" } },
    },
    { flags: { "auth-type": "passthrough" }, makes: { type: "passthrough" } },
  ])("make $makes.type", ({ flags, makes }) => {
    expect(auth(flags as unknown as Record<string, string>)).toEqual(makes);
  });

  it.each([
    { flags: {}, says: "needs --auth-type" },
    { flags: { "auth-type": "bearer" }, says: "needs --token-key" },
    { flags: { "auth-type": "passthrough", "token-key": "T" }, says: "does not go with" },
    { flags: { "auth-type": "custom", "custom-header": ["nonsense"] }, says: "NAME=TEMPLATE" },
  ])("are refused: $says", ({ flags, says }) => {
    expect(() => auth(flags as unknown as Record<string, string>)).toThrow(says);
  });
});

describe("output", () => {
  function screen(hasColor: boolean) {
    const parts: string[] = [];
    const out = (part: string) => void parts.push(part);
    return { terminal: { hasColor, out } as never, text: () => parts.join("") };
  }

  it("draws a table, with bold headings only where there are colours", () => {
    const plain = screen(false);
    printTable(plain.terminal, { head: ["KEY"], rows: [["a\nb"]], empty: "None." });
    expect(plain.text()).toBe("┌──────┐\n│ KEY  │\n├──────┤\n│ a\\nb │\n└──────┘\n");
    const bold = screen(true);
    printTable(bold.terminal, { head: ["KEY"], rows: [["a"]], empty: "None." });
    expect(bold.text()).toContain("\u001b[1mKEY\u001b[22m");
  });

  it("says a sentence instead of an empty table", () => {
    const plain = screen(false);
    printTable(plain.terminal, { head: ["KEY"], rows: [], empty: "None." });
    expect(plain.text()).toBe("None.\n");
  });

  it("lets no value of a server move the cursor", () => {
    const plain = screen(false);
    printTable(plain.terminal, { head: ["KEY"], rows: [["\u001b[2J"]], empty: "" });
    expect(plain.text()).not.toContain("\u001b");
  });

  it("shows times in local time, and what is none as it came", () => {
    expect(formatTime("2026-11-23T20:15:00Z")).toMatch(/^2026-11-2[34] \d\d:15$/);
    expect(formatTime(undefined)).toBe("-");
    expect(formatTime("soon")).toBe("soon");
  });

  it("prints a known error once with its hint, and a bug with a request to report it", () => {
    const parts: string[] = [];
    const write = (part: string) => void parts.push(part);
    expect(reportError(new InvalidInput("x", "It broke", { hint: "do this" }), { write, isDebug: false })).toBe(1);
    expect(parts.splice(0).join("")).toBe("error: It broke\ntry:   do this\n");
    expect(reportError(new TypeError("x is undefined"), { write, isDebug: false })).toBe(1);
    expect(parts.join("")).toContain("please report it: x is undefined");
    expect(parts.join("")).not.toContain("    at ");
  });
});
