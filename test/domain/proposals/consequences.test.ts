import { describe, expect, it } from "vitest";
import { consequencesOf } from "../../../src/domain/proposals/consequences.ts";
import { planMerge } from "../../../src/domain/proposals/merge.ts";
import { parseProposedServices } from "../../../src/domain/proposals/proposed-service.ts";
import { parseSlots } from "../../../src/domain/proposals/slot.ts";
import { parseService } from "../../../src/domain/services/definition.ts";
import type { Service } from "../../../src/domain/services/service.ts";

const service = (name: string, host: string, token = "TOK", more: object = {}): Service =>
  parseService({ name, host, auth: { type: "bearer", token }, ...more }, { allowsInternalNames: false });

interface Asked {
  readonly services?: readonly unknown[];
  readonly slots?: readonly unknown[];
  readonly existing?: readonly Service[];
  readonly stored?: readonly string[];
}

function told({ services = [], slots = [], existing = [], stored = [] }: Asked) {
  const proposed = parseProposedServices(services, { allowsInternalNames: false, existing });
  const steps = planMerge(proposed, existing);
  return consequencesOf({ steps, slots: parseSlots(slots).slots, existing, storedKeys: new Set(stored) });
}

const set = (host: string, token = "TOK", more: object = {}) => ({
  action: "set",
  name: "svc",
  host,
  auth: { type: "bearer", token },
  ...more,
});

describe("the consequences of a proposal", () => {
  it("name host and credential of a new service, and where its value comes from", () => {
    const all = told({ services: [set("api.github.com")], slots: [{ action: "set", key: "TOK", value: "v" }] });
    expect(all).toEqual([
      {
        kind: "service_added",
        severity: "info",
        service: "svc",
        host: "api.github.com",
        credentials: ["TOK"],
        text: 'Adds the service "svc": requests to api.github.com carry TOK (bearer)',
      },
      {
        kind: "credential_stored",
        severity: "info",
        credentials: ["TOK"],
        text: "Stores the credential TOK with the value that the agent supplied",
      },
    ]);
  });

  it.each<{ because: string; asked: Asked; warns: string[] }>([
    {
      because: "an agent that sends a stored key to a host of its choice steals it",
      asked: {
        services: [set("evil.example.com", "STRIPE_KEY")],
        existing: [service("stripe", "api.stripe.com", "STRIPE_KEY")],
        stored: ["STRIPE_KEY"],
      },
      warns: ["credential_reaches_new_host"],
    },
    {
      because: "the existing service may be moved instead",
      asked: {
        services: [{ ...set("evil.example.com", "STRIPE_KEY"), name: "stripe" }],
        existing: [service("stripe", "api.stripe.com", "STRIPE_KEY")],
        stored: ["STRIPE_KEY"],
      },
      warns: ["service_replaced", "credential_reaches_new_host"],
    },
    {
      because: "a stored key that nothing uses is as good a prey",
      asked: { services: [set("evil.example.com", "SPARE")], stored: ["SPARE"] },
      warns: ["credential_reaches_new_host"],
    },
    {
      because: "another port is another server",
      asked: {
        services: [set("api.stripe.com:8443", "STRIPE_KEY")],
        existing: [service("stripe", "api.stripe.com:443", "STRIPE_KEY")],
        stored: ["STRIPE_KEY"],
      },
      warns: ["credential_reaches_new_host"],
    },
    {
      because: "a wildcard reaches hosts that the exact name did not",
      asked: {
        services: [set("*.stripe.com", "STRIPE_KEY")],
        existing: [service("stripe", "api.stripe.com", "STRIPE_KEY")],
        stored: ["STRIPE_KEY"],
      },
      warns: ["credential_reaches_new_host", "covers_many_hosts", "takes_over"],
    },
    {
      because: "the same key at the same host under another path goes nowhere new",
      asked: {
        services: [set("api.stripe.com/v2/*", "STRIPE_KEY")],
        existing: [service("stripe", "api.stripe.com", "STRIPE_KEY")],
        stored: ["STRIPE_KEY"],
      },
      warns: ["takes_over"],
    },
    {
      because: "the service may be approved without the new value that came along as a cover",
      asked: {
        services: [set("evil.example.com", "STRIPE_KEY")],
        slots: [{ action: "set", key: "STRIPE_KEY", value: "harmless" }],
        existing: [service("stripe", "api.stripe.com", "STRIPE_KEY")],
        stored: ["STRIPE_KEY"],
      },
      warns: ["credential_reaches_new_host", "credential_replaced"],
    },
    {
      because: "a value that comes with the proposal is not the stored one",
      asked: { services: [set("new.example.com", "TOK")], slots: [{ action: "set", key: "TOK" }] },
      warns: [],
    },
    {
      because: "over http anybody on the way reads along",
      asked: {
        services: [set("a.example.com", "TOK", { schemes: ["https", "http"] })],
        slots: [{ action: "set", key: "TOK" }],
      },
      warns: ["sent_without_tls"],
    },
    {
      because: "a switched off service was switched off for a reason",
      asked: {
        services: [set("a.example.com")],
        existing: [service("svc", "a.example.com", "TOK", { enabled: false })],
        stored: ["TOK"],
      },
      warns: ["service_enabled"],
    },
    {
      because: "limits are lifted in passing",
      asked: {
        services: [set("a.example.com", "TOK", { methods: ["GET", "DELETE"], scrub: "off" })],
        existing: [service("svc", "a.example.com", "TOK", { methods: ["GET"] })],
        stored: ["TOK"],
      },
      warns: ["limits_changed"],
    },
    {
      because: "an overwritten value is gone",
      asked: { slots: [{ action: "set", key: "TOK" }], existing: [service("svc", "a.example.com")], stored: ["TOK"] },
      warns: ["credential_replaced"],
    },
    {
      because: "services fail without their credential",
      asked: {
        slots: [{ action: "delete", key: "TOK" }],
        existing: [service("svc", "a.example.com")],
        stored: ["TOK"],
      },
      warns: ["breaks_service"],
    },
    {
      because: "unless the same proposal removes the service, too",
      asked: {
        services: [{ action: "delete", name: "svc", host: "a.example.com" }],
        slots: [{ action: "delete", key: "TOK" }],
        existing: [service("svc", "a.example.com")],
        stored: ["TOK"],
      },
      warns: [],
    },
    {
      because: "a switch of a service that is not there cannot be applied",
      asked: { services: [{ action: "set", name: "fresh", host: "f.example.com", enabled: true }] },
      warns: ["cannot_be_applied"],
    },
  ])("warn of $warns: $because", ({ asked, warns }) => {
    expect(
      told(asked)
        .filter(({ severity }) => severity === "warning")
        .map(({ kind }) => kind),
    ).toEqual(warns);
  });

  it("say what is removed, replaced and unchanged", () => {
    const existing = [service("one", "a.example.com"), service("two", "b.example.com")];
    const services = [
      { action: "delete", name: "one", host: "a.example.com" },
      { ...set("b.example.com/v2/*"), name: "two" },
      { action: "delete", name: "nobody", host: "n.example.com" },
    ];
    expect(told({ services, existing, stored: ["TOK"] }).map(({ text }) => text)).toEqual([
      'Removes the service "one": requests to a.example.com carry no credential through it any more',
      'Replaces the service "two" (b.example.com, bearer TOK): requests to b.example.com/v2/* carry TOK (bearer); b.example.com is not covered by it any more',
      'Removes nothing: there is no service "nobody"',
    ]);
  });
});
