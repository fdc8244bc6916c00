import { describe, expect, it } from "vitest";
import { auditForm } from "../../../src/domain/services/audit-form.ts";
import { parseService } from "../../../src/domain/services/definition.ts";

const form = (auth: object) =>
  auditForm(parseService({ name: "svc", host: "api.example.com", auth }, { allowsInternalNames: false }));

describe("a service in the audit log", () => {
  it.each([
    {
      auth: { type: "custom", headers: { "X-Key": "literal-key" } },
      shown: { type: "custom", headers: { "X-Key": "…" } },
      because: "a key that was written into the template is a secret",
    },
    {
      auth: { type: "custom", headers: { Authorization: "Token {{ USR }}:{{PWD}}" } },
      shown: { type: "custom", headers: { Authorization: "… {{ USR }} {{ PWD }}" } },
      because: "which credentials a header carries is the point of it",
    },
    {
      auth: { type: "custom", headers: { "X-Key": "{{ TOK }}" } },
      shown: { type: "custom", headers: { "X-Key": "{{ TOK }}" } },
      because: "nothing is hidden where there is nothing to hide",
    },
    {
      auth: { type: "api-key", key: "TOK", prefix: "half-of-a-key-" },
      shown: { type: "api-key", key: "TOK", prefix: "…" },
      because: "a prefix is free text, too",
    },
    { auth: { type: "bearer", token: "TOK" }, shown: { type: "bearer", token: "TOK" }, because: "names are no secret" },
  ])("shows $auth as $shown: $because", ({ auth, shown }) => {
    expect(form(auth)).toEqual({ name: "svc", host: "api.example.com", auth: shown });
  });
});
