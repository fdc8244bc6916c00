/** What has to change on the server so that it is as a manifest says. */
import { isDeepStrictEqual } from "node:util";
import type { CurrentVault } from "./current.ts";
import type { VaultManifest, WireService } from "./manifest.ts";
import type { ServiceRules } from "./service-rules.ts";

export type Action = "add" | "change" | "remove";
export type Section = "vault" | "setting" | "service" | "user" | "agent";

export interface Change {
  readonly section: Section;
  readonly action: Action;
  readonly name: string;
  readonly before?: WireService | string;
  readonly after?: WireService | string;
}

export interface VaultPlan {
  readonly vault: string;
  readonly changes: readonly Change[];
  /** All services after the change, and the state they replace; undefined when they stay. */
  readonly services?: { readonly list: readonly WireService[]; readonly replaces: string | undefined };
  /** What the server has and the file does not, left alone without `--prune`. */
  readonly kept: readonly { readonly section: Section; readonly name: string }[];
  /** Credentials that the services need or the file names, and that are not stored. */
  readonly missingCredentials: readonly string[];
}

export interface PlanOptions {
  /** Removes what is not in a section that the file has. */
  readonly prunes: boolean;
  /** The caller, whom pruning never locks out. */
  readonly self: string | undefined;
  readonly rules: ServiceRules;
}

/** @param current undefined for a vault that is not there yet. */
export function planVault(wanted: VaultManifest, current: CurrentVault | undefined, options: PlanOptions): VaultPlan {
  const services = planServices(wanted, current, options);
  const users = planGrants(
    "user",
    wanted.users?.map(({ email, role }) => ({ name: email, role })),
    {
      current: (current?.users ?? usersOfNew(options)).map(({ email, role }) => ({ name: email, role })),
      options,
    },
  );
  const agents = planGrants("agent", wanted.agents, { current: current?.agents ?? [], options });
  const changes: readonly Change[] = [
    ...(current ? [] : [{ section: "vault", action: "add", name: wanted.name } as const]),
    ...planSettings(wanted, current),
    ...services.changes,
    ...users.changes,
    ...agents.changes,
  ];
  const list = services.list;
  const needed = new Set([...(wanted.credentials ?? []), ...options.rules.neededKeys(list ?? current?.services ?? [])]);
  return {
    vault: wanted.name,
    changes,
    ...(list && services.changes.length > 0 ? { services: { list, replaces: current?.servicesTag } } : {}),
    kept: [...services.kept, ...users.kept, ...agents.kept],
    missingCredentials: [...needed].filter((key) => !current?.stored.includes(key)).sort(),
  };
}

/** Whoever makes a vault is its admin from the start. */
function usersOfNew({ self }: PlanOptions): CurrentVault["users"] {
  return self === undefined ? [] : [{ email: self, role: "admin" }];
}

function planSettings({ settings = {} }: VaultManifest, current: CurrentVault | undefined): readonly Change[] {
  return Object.entries(settings)
    .filter(([name, value]) => current?.settings[name] !== value)
    .map(([name, value]) => {
      const before = current?.settings[name];
      const from = before === undefined ? {} : { before };
      return { section: "setting", action: before === undefined ? "add" : "change", name, after: value, ...from };
    });
}

interface ServicePlan {
  readonly changes: readonly Change[];
  readonly kept: VaultPlan["kept"];
  readonly list?: readonly WireService[];
}

/** Those of the file in its order, then those that only the server has, in theirs. */
function planServices(
  { services: wanted }: VaultManifest,
  current: CurrentVault | undefined,
  { prunes }: PlanOptions,
): ServicePlan {
  if (!wanted) return { changes: [], kept: [] };
  const existing = current?.services ?? [];
  const findIn = (list: readonly WireService[], name: string) => list.find((service) => service.name === name);
  const changes = wanted.flatMap((after): Change[] => {
    const before = findIn(existing, after.name);
    if (!before) return [{ section: "service", action: "add", name: after.name, after }];
    if (isDeepStrictEqual(before, after)) return [];
    return [{ section: "service", action: "change", name: after.name, before, after }];
  });
  const extra = existing.filter(({ name }) => !findIn(wanted, name));
  if (!prunes) {
    const kept = extra.map(({ name }) => ({ section: "service" as const, name }));
    const list = [...existing.map((service) => findIn(wanted, service.name) ?? service)];
    return { changes, kept, list: [...list, ...wanted.filter(({ name }) => !findIn(existing, name))] };
  }
  const removals = extra.map((before): Change => ({ section: "service", action: "remove", name: before.name, before }));
  return { changes: [...changes, ...removals], kept: [], list: wanted };
}

interface Grant {
  readonly name: string;
  readonly role: string;
}

function planGrants(
  section: "user" | "agent",
  wanted: readonly Grant[] | undefined,
  { current, options }: { readonly current: readonly Grant[]; readonly options: PlanOptions },
): { readonly changes: readonly Change[]; readonly kept: VaultPlan["kept"] } {
  if (!wanted) return { changes: [], kept: [] };
  const changes = wanted.flatMap(({ name, role }): Change[] => {
    const before = current.find((grant) => grant.name === name)?.role;
    if (before === role) return [];
    if (before === undefined) return [{ section, action: "add", name, after: role }];
    return [{ section, action: "change", name, before, after: role }];
  });
  const extra = current.filter(({ name }) => !wanted.some((grant) => grant.name === name));
  const others = extra.filter(({ name }) => section !== "user" || name !== options.self);
  if (!options.prunes) return { changes, kept: others.map(({ name }) => ({ section, name })) };
  const removals = others.map(({ name, role }): Change => ({ section, action: "remove", name, before: role }));
  return { changes: [...changes, ...removals], kept: [] };
}
