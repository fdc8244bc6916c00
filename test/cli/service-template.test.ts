import { describe, expect, it } from "vitest";
import { type ServiceFlagValues, serviceFlags } from "../../src/cli/service-flags.ts";
import { injectionOf, keysOf, serviceFromTemplate } from "../../src/cli/service-template.ts";
import type { Template } from "../../src/client/wire.ts";
import { readTemplate, readTemplates, seedService } from "../support/catalog.ts";

// What the parser makes of a command line without flags.
const none = Object.fromEntries(
  Object.entries(serviceFlags).map(([name, flag]) => [
    name,
    "repeatable" in flag ? [] : "default" in flag ? flag.default : undefined,
  ]),
);
const make = (template: Template, flags: Record<string, string | string[]> = {}) =>
  serviceFromTemplate(template, { ...none, ...flags } as unknown as ServiceFlagValues, new Set(Object.keys(flags)));

describe("a service from a template of the catalog", () => {
  const usable = readTemplates().filter(({ template }) => template.id !== "aws-s3");

  it.each(usable)("is what $file says, at the host that the person names", ({ template }) => {
    const host = template.host.replace(/^\*/, "yours");
    const { name: _, ...seeded } = JSON.parse(JSON.stringify(seedService({ ...template, host }))) as { name: string };
    const made = make(template as Template, template.host.startsWith("*.") ? { host } : {});
    expect(JSON.parse(JSON.stringify(made))).toEqual(seeded);
  });

  it.each([
    { id: "stripe", flags: { "token-key": "MINE" }, auth: { type: "bearer", token: "MINE" } },
    {
      id: "twilio",
      flags: { "username-key": "SID", "password-key": "PW" },
      auth: { type: "basic", username: "SID", password: "PW" },
    },
    {
      id: "discord",
      flags: { "api-key-key": "BOT", "api-key-header": "X-Bot", "api-key-prefix": "B " },
      auth: { type: "api-key", key: "BOT", header: "X-Bot", prefix: "B " },
    },
  ])("takes what the flags change: $id", ({ id, flags, auth }) => {
    expect(make(readTemplate(id), flags as Record<string, string>).auth).toEqual(auth);
  });

  it("keeps its placeholders beside those of the flags", () => {
    const { substitutions } = make(readTemplate("telegram"), { substitute: ["__chat__=CHAT_ID@body"] });
    expect(substitutions).toEqual([
      { key: "TELEGRAM_BOT_TOKEN", placeholder: "__TELEGRAM_BOT_TOKEN__", in: ["path"] },
      { key: "CHAT_ID", placeholder: "__chat__", in: ["body"] },
    ]);
  });

  it("is never made for a host under which strangers have names, unless the person says so", () => {
    expect(() => make(readTemplate("zendesk"))).toThrow("is for *.zendesk.com: say which host is yours");
    expect(make(readTemplate("zendesk"), { host: "*.zendesk.com" }).host).toBe("*.zendesk.com");
  });

  it.each([
    { id: "stripe", flags: { "auth-type": "basic" }, says: "exclude each other", because: "the template has a type" },
    { id: "stripe", flags: { "password-key": "P" }, says: "does not go with", because: "it would be named in vain" },
    { id: "pagerduty", flags: { "custom-header": ["A={{ B }}"] }, says: "has its headers", because: "as would this" },
    { id: "aws-s3", flags: {}, says: "No auth type can express", because: "S3 wants signatures" },
  ])("is refused for $id: $because", ({ id, flags, says }) => {
    expect(() => make(readTemplate(id), flags as Record<string, string>)).toThrow(says);
  });

  it("is refused for an auth type of a newer server", () => {
    expect(() => make({ ...readTemplate("stripe"), auth_type: "sigv4" })).toThrow("does not know how");
  });
});

describe("what a template sends, in words", () => {
  it.each([
    { id: "stripe", lines: ["Authorization: Bearer {{ STRIPE_SECRET_KEY }}"], keys: ["STRIPE_SECRET_KEY"] },
    {
      id: "twilio",
      lines: ["Authorization: Basic, of {{ TWILIO_ACCOUNT_SID }} and {{ TWILIO_AUTH_TOKEN }}"],
      keys: ["TWILIO_AUTH_TOKEN", "TWILIO_ACCOUNT_SID"],
    },
    { id: "discord", lines: ["Authorization: Bot {{ DISCORD_BOT_TOKEN }}"], keys: ["DISCORD_BOT_TOKEN"] },
    {
      id: "twitch",
      lines: ["Authorization: Bearer {{ TWITCH }}", "Client-Id: {{ TWITCH_CLIENT_ID }}"],
      keys: ["TWITCH", "TWITCH_CLIENT_ID"],
    },
    {
      id: "telegram",
      lines: ["__TELEGRAM_BOT_TOKEN__ in the path: {{ TELEGRAM_BOT_TOKEN }}"],
      keys: ["TELEGRAM_BOT_TOKEN"],
    },
    { id: "aws-s3", lines: [], keys: ["AWS_SECRET_ACCESS_KEY"] },
  ])("$id", ({ id, lines, keys }) => {
    expect(injectionOf(readTemplate(id))).toEqual(lines);
    expect(keysOf(readTemplate(id))).toEqual(keys);
  });
});
