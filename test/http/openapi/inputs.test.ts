/** The shapes that are written down beside a parser of the domain name what that parser asks for, and nothing else. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { InputObject } from "../../../src/domain/input.ts";
import { parseProposedServices } from "../../../src/domain/proposals/proposed-service.ts";
import { parseSlots } from "../../../src/domain/proposals/slot.ts";
import { parseService } from "../../../src/domain/services/definition.ts";
import { sentProposedService, sentService, sentSlot } from "../../../src/http/contracts/service-shapes.ts";
import type { Schema } from "../../../src/http/openapi/schema.ts";

const asked = new Set<string>();
const value = InputObject.prototype.value;
beforeEach(() => {
  asked.clear();
  vi.spyOn(InputObject.prototype, "value").mockImplementation(function (this: InputObject, name) {
    asked.add(name);
    return value.call(this, name);
  });
});
afterEach(() => vi.restoreAllMocks());

/** Every name in a shape, at whatever depth. */
function namesIn(schema: Schema): ReadonlySet<string> {
  const nested = [schema.items, ...((schema.oneOf ?? []) as readonly Schema[])].filter((one) => one !== undefined);
  const members = Object.entries((schema.properties ?? {}) as Readonly<Record<string, Schema>>);
  const inner = [...nested, ...members.map(([, member]) => member)].flatMap((one) => [...namesIn(one as Schema)]);
  return new Set([...members.map(([name]) => name), ...inner]);
}

const place = { name: "one-service", host: "api.example.com" };
const auths = [
  { type: "bearer", token: "KEY" },
  { type: "basic", username: "KEY" },
  { type: "api-key", key: "KEY", header: "X-Key", prefix: "Key " },
  { type: "custom", headers: { "X-Key": "{{ KEY }}" } },
  { type: "passthrough" },
];
const substitutions = [{ key: "KEY", placeholder: "__key__" }];
const options = { allowsInternalNames: false };

it("names the fields of a service", () => {
  for (const auth of auths) parseService({ ...place, auth, substitutions }, options);
  expect([...asked].sort()).toEqual([...namesIn(sentService)].sort());
});

it("names the fields of a proposed service", () => {
  const existing = { ...options, existing: [] };
  for (const auth of auths) parseProposedServices([{ ...place, action: "set", auth, substitutions }], existing);
  parseProposedServices([{ ...place, action: "set", enabled: false }], existing);
  parseProposedServices([{ ...place, action: "delete" }], existing);
  expect([...asked].sort()).toEqual([...namesIn(sentProposedService)].sort());
});

it("names the fields of a credential slot", () => {
  parseSlots([
    { action: "set", key: "ONE", type: "oauth", oauth: { token_url: "https://idp.example.com/token" } },
    { action: "set", key: "TWO", value: "v" },
    { action: "delete", key: "THREE" },
  ]);
  expect([...asked].sort()).toEqual([...namesIn(sentSlot)].sort());
});
