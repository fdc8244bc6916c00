import { expect, it } from "vitest";
import { headerTemplates, parseAuth } from "../../../src/domain/services/auth.ts";

const values: Record<string, string> = { TOK: "t0ken", USR: "ann", PWD: "pä$s", KEY: "k$&1" };

function headers(auth: unknown): Record<string, string> {
  const templates = headerTemplates(parseAuth(auth));
  return Object.fromEntries(templates.map(({ name, render }) => [name, render((key) => values[key] ?? "?")]));
}

it.each([
  { auth: { type: "bearer", token: "TOK" }, sets: { Authorization: "Bearer t0ken" } },
  { auth: { type: "basic", username: "USR" }, sets: { Authorization: `Basic ${btoa("ann:")}` } },
  {
    auth: { type: "basic", username: "USR", password: "PWD" },
    sets: { Authorization: `Basic ${Buffer.from("ann:pä$s", "utf8").toString("base64")}` },
  },
  { auth: { type: "api-key", key: "KEY" }, sets: { Authorization: "k$&1" } },
  { auth: { type: "api-key", key: "KEY", header: "X-Api-Key", prefix: "Token " }, sets: { "X-Api-Key": "Token k$&1" } },
  {
    auth: { type: "custom", headers: { "X-A": "v {{ KEY }}-{{TOK}}", "X-B": "static", "X-C": "{{ KEY-A }}" } },
    sets: { "X-A": "v k$&1-t0ken", "X-B": "static", "X-C": "{{ KEY-A }}" },
  },
  { auth: { type: "passthrough" }, sets: {} },
])("$auth.type sets $sets", ({ auth, sets }) => {
  expect(headers(auth)).toEqual(sets);
});
