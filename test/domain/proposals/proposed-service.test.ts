import { describe, expect, it } from "vitest";
import { planMerge, servicesAfter } from "../../../src/domain/proposals/merge.ts";
import { nameOfService } from "../../../src/domain/proposals/proposal.ts";
import {
  formatProposedService,
  parseProposedServices,
  readProposedService,
  tieToExisting,
} from "../../../src/domain/proposals/proposed-service.ts";
import { parseService } from "../../../src/domain/services/definition.ts";
import type { Service } from "../../../src/domain/services/service.ts";

const bearer = { type: "bearer", token: "TOK" };
const service = (name: string, host: string, more: object = {}): Service =>
  parseService({ name, host, auth: bearer, ...more }, { allowsInternalNames: false });
const parse = (list: readonly unknown[], existing: readonly Service[] = []) =>
  parseProposedServices(list, { allowsInternalNames: false, existing });
const set = (fields: object = {}) => ({
  action: "set",
  name: "github",
  host: "api.github.com",
  auth: bearer,
  ...fields,
});

describe("proposed services", () => {
  it.each([
    set(),
    set({ host: "api.github.com:8443/v1/*", methods: ["GET"], substitutions: [{ key: "S", placeholder: "__s__" }] }),
    { action: "set", name: "github", host: "api.github.com", enabled: false },
    { action: "delete", name: "github", host: "api.github.com" },
  ])("read back what they wrote: %o", (entry) => {
    const [parsed] = parse([entry]);
    if (!parsed) throw new Error("nothing was parsed");
    expect(readProposedService(JSON.parse(JSON.stringify(formatProposedService(parsed))))).toEqual(parsed);
  });

  it.each([
    { entry: set({ action: "add" }), says: 'service 0: invalid action "add" (must be "set" or "delete")' },
    { entry: { action: "delete", name: "github" }, says: "service 0: host is required" },
    { entry: set({ name: undefined }), says: "service 0: name is required" },
    { entry: set({ host: "localhost" }), says: /service 0: host "localhost" is a local/ },
    { entry: set({ host: "169.254.169.254" }), says: /not an IP address/ },
    { entry: set({ auth: undefined }), says: "service 0: set action requires auth or enabled change" },
    { entry: set({ auth: { type: "bearer" } }), says: /service 0: auth: "token" is required/ },
    { entry: set({ description: "x" }), says: /^services\[0\]: description/ },
    {
      entry: set({ auth: undefined, enabled: true, substitutions: [{ key: "S", placeholder: "__s__" }] }),
      says: /service 0: substitutions require auth/,
    },
    { entry: set({ auth: undefined, enabled: true, schemes: ["http"] }), says: /schemes requires auth/ },
  ])("refuse $entry", ({ entry, says }) => {
    expect(() => parse([entry])).toThrow(says);
  });

  it("take the name of the only service with the same host, port and path", () => {
    const existing = [service("github", "api.github.com"), service("slack", "slack.com/api/*")];
    expect(parse([set({ name: undefined })], existing).map(nameOfService)).toEqual(["github"]);
    expect(parse([set({ name: "other-name" })], existing).map(nameOfService)).toEqual(["github"]);
    expect(parse([set({ name: "other-name", host: "api.github.com:8443" })], existing).map(nameOfService)).toEqual([
      "other-name",
    ]);
  });

  it("follow a service that was renamed since, and refuse two that mean the same then", () => {
    const proposed = parse([set()]);
    expect(tieToExisting(proposed, [service("renamed", "api.github.com")]).map(nameOfService)).toEqual(["renamed"]);
    const both = parse([set(), set({ name: "renamed", host: "b.example.com" })]);
    expect(() => tieToExisting(both, [service("renamed", "api.github.com")])).toThrow(/duplicate name "renamed"/);
  });

  it("find what is to be removed by host, and by port and path where these are given", () => {
    const existing = [service("slack", "slack.com/api/*"), service("slack-two", "slack.com")];
    const remove = (host: string) => parse([{ action: "delete", host }], existing).map(nameOfService);
    expect(remove("slack.com/api/*")).toEqual(["slack"]);
    expect(() => remove("slack.com")).toThrow(/multiple services match/);
    expect(() => remove("ghost.example.com")).toThrow(/no service matches/);
  });
});

describe("the merge of proposed services", () => {
  const merge = (list: readonly unknown[], existing: readonly Service[]) =>
    servicesAfter(planMerge(parse(list, existing), existing), existing);

  it("replaces in place, appends at the end, and leaves the others alone", () => {
    const existing = [
      service("aaa", "a.example.com"),
      service("bbb", "b.example.com"),
      service("ccc", "c.example.com"),
    ];
    const after = merge(
      [
        set({ name: "new", host: "n.example.com" }),
        set({ name: "bbb", host: "b.example.com/v2/*" }),
        { action: "delete", name: "ccc", host: "c.example.com" },
      ],
      existing,
    );
    expect(after.map(({ name, pattern }) => [name, pattern.host, pattern.path])).toEqual([
      ["aaa", "a.example.com", undefined],
      ["bbb", "b.example.com", "/v2/*"],
      ["new", "n.example.com", undefined],
    ]);
  });

  it("cannot ask for a tunnel that nobody looks into", () => {
    const existing = [service("github", "api.github.com", {})];
    expect(() => merge([set({ raw: true, auth: { type: "passthrough" } })], existing)).toThrow(
      "raw cannot be proposed",
    );
  });

  it("keeps substitutions and limits that the proposal does not mention: leaving them out widens nothing", () => {
    const limits = {
      methods: ["GET"],
      schemes: ["https"],
      scrub: "block",
      strip_headers: ["x-api-key"],
      set_cookie: "strip",
      substitutions: [{ key: "S", placeholder: "__s__" }],
    };
    const existing = [service("github", "api.github.com", limits)];
    expect(merge([set()], existing)[0]).toEqual(existing[0]);
    expect(merge([set({ methods: ["POST"] })], existing)[0]?.methods).toEqual(["POST"]);
  });

  it("changes nothing but the switch where no auth is given", () => {
    const existing = [service("github", "api.github.com", { methods: ["GET"] })];
    const entry = { action: "set", name: "github", host: "elsewhere.example.com", enabled: false };
    expect(merge([entry], existing)).toEqual([{ ...existing[0], enabled: false }]);
  });

  it("does not make a service out of a switch", () => {
    const steps = planMerge(parse([{ action: "set", name: "fresh", host: "f.example.com", enabled: true }]), []);
    expect(steps).toEqual([{ kind: "impossible", name: "fresh" }]);
  });
});
