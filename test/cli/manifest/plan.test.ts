import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CurrentVault } from "../../../src/cli/manifest/current.ts";
import type { VaultManifest, WireService } from "../../../src/cli/manifest/manifest.ts";
import { planVault } from "../../../src/cli/manifest/plan.ts";
import { loadServiceRules } from "../../../src/cli/manifest/service-rules.ts";
import { difference } from "../../../src/cli/manifest/show.ts";

const service = (name: string, host = `${name}.example.com`): WireService => ({
  name,
  host,
  auth: { type: "bearer", token: "KEY" },
});

function vault(more: Partial<CurrentVault> = {}): CurrentVault {
  return {
    name: "billing",
    settings: { unmatched_host_policy: "passthrough" },
    services: [],
    users: [],
    agents: [],
    credentials: [],
    servicesTag: '"1"',
    stored: [],
    ...more,
  };
}

const rules = await loadServiceRules();
const leave = { prunes: false, self: undefined, rules };
const prune = { prunes: true, self: undefined, rules };

describe("the plan of apply", () => {
  it("is empty for what is there already", () => {
    const current = vault({ services: [service("one")], users: [{ email: "a@x.org", role: "admin" }] });
    expect(planVault(current, current, prune).changes).toEqual([]);
  });

  it("leaves alone what the file does not mention", () => {
    const current = vault({ services: [service("one")], agents: [{ name: "bot", role: "proxy" }] });
    const plan = planVault({ name: "billing", services: [service("two")] }, current, leave);
    expect(plan.changes.map(({ action, name }) => `${action} ${name}`)).toEqual(["add two"]);
    expect(plan.services?.list.map(({ name }) => name)).toEqual(["one", "two"]);
    expect(plan.kept).toEqual([{ section: "service", name: "one" }]);
  });

  it("prunes only in the sections that the file has", () => {
    const current = vault({ services: [service("one")], agents: [{ name: "bot", role: "proxy" }] });
    const plan = planVault({ name: "billing", services: [] }, current, prune);
    expect(plan.changes.map(({ action, name }) => `${action} ${name}`)).toEqual(["remove one"]);
    expect(plan.services?.list).toEqual([]);
  });

  it("never prunes whoever applies it", () => {
    const users = [
      { email: "me@x.org", role: "admin" },
      { email: "other@x.org", role: "member" },
    ];
    const plan = planVault({ name: "billing", users: [] }, vault({ users }), { ...prune, self: "me@x.org" });
    expect(plan.changes.map(({ name }) => name)).toEqual(["other@x.org"]);
  });

  it("names the credentials that services need and nobody has stored", () => {
    const plan = planVault({ name: "billing", services: [service("one")], credentials: ["MORE"] }, undefined, leave);
    expect(plan.missingCredentials).toEqual(["KEY", "MORE"]);
    expect(plan.changes[0]).toMatchObject({ section: "vault", action: "add" });
  });

  it("carried out, leaves nothing to plan, whatever was there", () => {
    const names = fc.constantFrom("one", "two", "six");
    const services = fc.uniqueArray(
      fc.tuple(names, fc.constantFrom("a.test", "b.test")).map(([name, host]) => service(name, host)),
      { selector: ({ name }) => name },
    );
    const agents = fc.uniqueArray(fc.record({ name: names, role: fc.constantFrom("proxy", "admin") }), {
      selector: ({ name }) => name,
    });
    const state = fc.record({ services, agents });
    fc.assert(
      fc.property(state, state, fc.boolean(), (wanted, before, prunes) => {
        const manifest: VaultManifest = { name: "billing", ...wanted };
        const current = vault(before);
        const plan = planVault(manifest, current, { ...leave, prunes });
        const after = vault({
          services: plan.services?.list ?? current.services,
          agents: grantsAfter(current.agents, plan.changes),
        });
        expect(planVault(manifest, after, { ...leave, prunes }).changes).toEqual([]);
        for (const one of wanted.services) expect(after.services).toContainEqual(one);
      }),
    );
  });
});

function grantsAfter(
  grants: CurrentVault["agents"],
  changes: ReturnType<typeof planVault>["changes"],
): CurrentVault["agents"] {
  const roles = new Map(grants.map(({ name, role }) => [name, role]));
  for (const { section, action, name, after } of changes) {
    if (section !== "agent") continue;
    if (action === "remove") roles.delete(name);
    else roles.set(name, String(after));
  }
  return [...roles].map(([name, role]) => ({ name, role }));
}

describe("the difference of two texts", () => {
  it("shows what goes and what comes, and keeps the rest", () => {
    const lines = difference(["a", "b", "c"], ["a", "x", "c", "d"]);
    expect(lines.map(([mark, text]) => mark + text)).toEqual([" a", "-b", "+x", " c", "+d"]);
  });

  it("holds both texts", () => {
    const texts = fc.array(fc.constantFrom("a", "b", "c"));
    fc.assert(
      fc.property(texts, texts, (before, after) => {
        const lines = difference(before, after);
        const without = (mark: string) => lines.filter(([own]) => own !== mark).map(([, text]) => text);
        expect(without("+")).toEqual(before);
        expect(without("-")).toEqual(after);
      }),
    );
  });
});
