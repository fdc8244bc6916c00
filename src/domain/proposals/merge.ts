/**
 * What the services of a proposal do to those of the vault, step by step. Consequences are told from these steps and the
 * approval carries out the same ones, so what was read is what happens.
 */
import type { Service } from "../services/service.ts";
import { nameOfService, type ProposedService } from "./proposal.ts";

export type Step =
  | { readonly kind: "add"; readonly after: Service }
  | { readonly kind: "replace"; readonly before: Service; readonly after: Service }
  | { readonly kind: "switch"; readonly before: Service; readonly after: Service }
  | { readonly kind: "remove"; readonly before: Service }
  /** The service that should be removed is not there. */
  | { readonly kind: "nothing"; readonly name: string }
  /** The service that should be switched is not there, and nothing says how a new one authenticates. */
  | { readonly kind: "impossible"; readonly name: string };

/** @param proposed names of which each occurs once (see `tieToExisting`). */
export function planMerge(proposed: readonly ProposedService[], existing: readonly Service[]): readonly Step[] {
  const byName = new Map(existing.map((service) => [service.name, service]));
  return proposed.map((entry) => stepFor(entry, byName.get(nameOfService(entry))));
}

function stepFor(entry: ProposedService, before: Service | undefined): Step {
  switch (entry.action) {
    case "set":
      if (before === undefined) return { kind: "add", after: entry.service };
      return { kind: "replace", before, after: replaced(before, entry.service) };
    case "switch":
      if (before === undefined) return { kind: "impossible", name: entry.name };
      return { kind: "switch", before, after: { ...before, enabled: entry.enabled } };
    case "delete":
      return before === undefined ? { kind: "nothing", name: entry.name } : { kind: "remove", before };
  }
}

/** The services of the vault afterwards, in stored order, new ones at the end. */
export function servicesAfter(steps: readonly Step[], existing: readonly Service[]): readonly Service[] {
  const changed = new Map(steps.flatMap((step) => ("before" in step ? [[step.before.name, step] as const] : [])));
  const kept = existing.flatMap((service) => {
    const step = changed.get(service.name);
    if (step === undefined) return [service];
    return step.kind === "remove" ? [] : [step.after];
  });
  return [...kept, ...steps.flatMap((step) => (step.kind === "add" ? [step.after] : []))];
}

/**
 * A full replacement, except that what the proposal does not mention of substitutions and of limits (schemes, methods,
 * scrubbing, headers, cookies) stays: an agent must not widen a service by leaving its limits out.
 */
function replaced(before: Service, after: Service): Service {
  return {
    ...limitsOf(before),
    ...after,
    substitutions: after.substitutions.length > 0 ? after.substitutions : before.substitutions,
  };
}

function limitsOf({ schemes, methods, scrub, stripHeaders, setCookie }: Service) {
  return {
    ...(schemes !== undefined && { schemes }),
    ...(methods !== undefined && { methods }),
    ...(scrub !== undefined && { scrub }),
    ...(stripHeaders !== undefined && { stripHeaders }),
    ...(setCookie !== undefined && { setCookie }),
  };
}
