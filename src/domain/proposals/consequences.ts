/**
 * What an approval would change, for whoever decides: which hosts can be reached with which credential afterwards, what
 * is replaced, and what is removed. Told from the steps that the approval carries out.
 */
import { referencedKeys } from "../services/definition.ts";
import { coversHost, formatPattern } from "../services/pattern.ts";
import type { CredentialKey, Service } from "../services/service.ts";
import { type Step, servicesAfter } from "./merge.ts";
import type { Slot } from "./proposal.ts";

export type ConsequenceKind =
  | "service_added"
  | "service_replaced"
  | "service_enabled"
  | "service_disabled"
  | "service_removed"
  | "service_unchanged"
  | "credential_stored"
  | "credential_replaced"
  | "credential_removed"
  | "credential_reaches_new_host"
  | "covers_many_hosts"
  | "sent_without_tls"
  | "takes_over"
  | "limits_changed"
  | "breaks_service"
  | "cannot_be_applied";

export interface Consequence {
  readonly kind: ConsequenceKind;
  /** `warning` is what a reviewer should stop at. */
  readonly severity: "info" | "warning";
  /** One sentence without a full stop. */
  readonly text: string;
  readonly service?: string;
  readonly host?: string;
  /** Keys that requests to `host` carry, or that are stored or removed. */
  readonly credentials?: readonly CredentialKey[];
}

export interface ConsequencesInput {
  readonly steps: readonly Step[];
  readonly slots: readonly Slot[];
  /** The services and keys of the vault as they are. */
  readonly existing: readonly Service[];
  readonly storedKeys: ReadonlySet<CredentialKey>;
}

/** In the order in which a person wants to read them: the steps, then the credentials, each with its warnings. */
export function consequencesOf(input: ConsequencesInput): readonly Consequence[] {
  const after = servicesAfter(input.steps, input.existing);
  return [
    ...input.steps.flatMap((step) => ofStep(step, input)),
    ...input.slots.flatMap((slot) => ofSlot(slot, input, after)),
  ];
}

function ofStep(step: Step, input: ConsequencesInput): readonly Consequence[] {
  switch (step.kind) {
    case "add":
      return [
        {
          kind: "service_added",
          severity: "info",
          ...placeOf(step.after),
          text: `Adds the service "${step.after.name}": ${carrying(step.after)}${step.after.enabled === false ? "; it is switched off" : ""}`,
        },
        ...warningsAbout(step.after, undefined, input),
      ];
    case "replace":
      return ofReplacement(step.before, step.after, input);
    case "switch":
      return ofSwitch(step.before, step.after);
    case "remove":
      return [
        {
          kind: "service_removed",
          severity: "info",
          ...placeOf(step.before),
          text: `Removes the service "${step.before.name}": requests to ${formatPattern(step.before.pattern)} carry no credential through it any more`,
        },
      ];
    case "nothing":
      return [
        {
          kind: "service_unchanged",
          severity: "info",
          service: step.name,
          text: `Removes nothing: there is no service "${step.name}"`,
        },
      ];
    case "impossible":
      return [
        {
          kind: "cannot_be_applied",
          severity: "warning",
          service: step.name,
          text: `Cannot be applied: there is no service "${step.name}" to switch, and a new one needs an auth`,
        },
      ];
  }
}

function ofReplacement(before: Service, after: Service, input: ConsequencesInput): readonly Consequence[] {
  const isMoved = formatPattern(before.pattern) !== formatPattern(after.pattern);
  const isChanged = isMoved || JSON.stringify(before.auth) !== JSON.stringify(after.auth);
  const consequences: Consequence[] = [
    {
      kind: "service_replaced",
      severity: isChanged ? "warning" : "info",
      ...placeOf(after),
      text: `Replaces the service "${after.name}" (${formatPattern(before.pattern)}, ${authText(before)}): ${carrying(after)}${isMoved ? `; ${formatPattern(before.pattern)} is not covered by it any more` : ""}`,
    },
  ];
  if (before.enabled === false && after.enabled !== false) consequences.push(switched(after, true));
  if (before.enabled !== false && after.enabled === false) consequences.push(switched(after, false));
  const limits = changedLimits(before, after);
  if (limits.length > 0) {
    consequences.push({
      kind: "limits_changed",
      severity: "warning",
      service: after.name,
      text: `Changes what limits the service "${after.name}": ${limits.join(", ")}`,
    });
  }
  return [...consequences, ...warningsAbout(after, before, input)];
}

function ofSwitch(before: Service, after: Service): readonly Consequence[] {
  if ((before.enabled !== false) !== (after.enabled !== false)) return [switched(after, after.enabled !== false)];
  const state = after.enabled === false ? "off" : "on";
  return [
    {
      kind: "service_unchanged",
      severity: "info",
      ...placeOf(after),
      text: `Changes nothing: the service "${after.name}" is switched ${state} already`,
    },
  ];
}

function switched(service: Service, isOn: boolean): Consequence {
  return {
    kind: isOn ? "service_enabled" : "service_disabled",
    // Somebody switched it off for a reason.
    severity: isOn ? "warning" : "info",
    ...placeOf(service),
    text: isOn
      ? `Switches the service "${service.name}" on again: ${carrying(service)}`
      : `Switches the service "${service.name}" off: requests to ${formatPattern(service.pattern)} are refused`,
  };
}

function warningsAbout(after: Service, before: Service | undefined, input: ConsequencesInput): readonly Consequence[] {
  const host = formatPattern(after.pattern);
  const warnings: Consequence[] = [];
  const others = input.existing.filter((service) => service !== before);
  for (const key of referencedKeys(after)) {
    // Also where the proposal sets the key anew: a reviewer may approve the service without its new value.
    if (!input.storedKeys.has(key)) continue;
    const users = input.existing.filter((service) => referencedKeys(service).includes(key));
    if (users.some((service) => reaches(service, after))) continue;
    const known = users.map((service) => formatPattern(service.pattern));
    warnings.push({
      kind: "credential_reaches_new_host",
      severity: "warning",
      service: after.name,
      host,
      credentials: [key],
      text: `Sends ${key}, which is stored already, to ${host}, where it was never sent; ${known.length > 0 ? `so far it goes to ${list(known)}` : "so far no service uses it"}`,
    });
  }
  if (after.pattern.host.startsWith("*.")) {
    warnings.push({
      kind: "covers_many_hosts",
      severity: "warning",
      service: after.name,
      host,
      text: `Covers every host directly below ${after.pattern.host.slice(2)}`,
    });
  }
  if (after.schemes?.includes("http") && referencedKeys(after).length > 0) {
    warnings.push({
      kind: "sent_without_tls",
      severity: "warning",
      service: after.name,
      host,
      credentials: referencedKeys(after),
      text: `Sends ${list(referencedKeys(after))} to ${host} over plain http too, where anybody on the way can read it`,
    });
  }
  const overtaken = others.filter((service) => service.name !== after.name && sharesHost(service, after));
  if (overtaken.length > 0) {
    warnings.push({
      kind: "takes_over",
      severity: "warning",
      service: after.name,
      host,
      text: `May take over requests that go through ${list(overtaken.map(({ name }) => `"${name}"`))} now`,
    });
  }
  return warnings;
}

function ofSlot(slot: Slot, input: ConsequencesInput, after: readonly Service[]): readonly Consequence[] {
  const { key } = slot;
  const isStored = input.storedKeys.has(key);
  const users = after.filter((service) => referencedKeys(service).includes(key)).map(({ name }) => `"${name}"`);
  if (slot.action === "delete") {
    if (!isStored) {
      return [
        {
          kind: "credential_removed",
          severity: "info",
          credentials: [key],
          text: `Deletes nothing: there is no credential ${key}`,
        },
      ];
    }
    const removed: Consequence = {
      kind: "credential_removed",
      severity: "info",
      credentials: [key],
      text: `Deletes the credential ${key}; its value cannot be had back`,
    };
    if (users.length === 0) return [removed];
    return [
      removed,
      {
        kind: "breaks_service",
        severity: "warning",
        credentials: [key],
        text: `Requests through ${list(users)} fail without ${key}`,
      },
    ];
  }
  const source =
    slot.type === "oauth"
      ? "as an OAuth connection, to be made by a person"
      : slot.hasValue
        ? "with the value that the agent supplied"
        : "with a value that the reviewer gives";
  if (!isStored) {
    return [
      {
        kind: "credential_stored",
        severity: "info",
        credentials: [key],
        text: `Stores the credential ${key} ${source}`,
      },
    ];
  }
  return [
    {
      kind: "credential_replaced",
      severity: "warning",
      credentials: [key],
      text: `Replaces the stored value of ${key} ${source}${users.length > 0 ? `, for ${list(users)} too` : ""}; the old value cannot be had back`,
    },
  ];
}

function placeOf(service: Service) {
  return { service: service.name, host: formatPattern(service.pattern), credentials: referencedKeys(service) };
}

function carrying(service: Service): string {
  const host = formatPattern(service.pattern);
  const keys = referencedKeys(service);
  return keys.length === 0
    ? `requests to ${host} go out without a credential`
    : `requests to ${host} carry ${list(keys)} (${service.auth.type})`;
}

function authText(service: Service): string {
  return [service.auth.type, ...referencedKeys(service)].join(" ");
}

/** Does a credential of `service` go to all hosts of `other` already? */
function reaches(service: Service, other: Service): boolean {
  const { host, port } = other.pattern;
  if (service.pattern.port !== undefined && service.pattern.port !== port) return false;
  return service.pattern.host === host || (!host.startsWith("*.") && coversHost(service.pattern, host));
}

function sharesHost(service: Service, other: Service): boolean {
  const [one, two] = [service.pattern, other.pattern];
  if (one.port !== undefined && two.port !== undefined && one.port !== two.port) return false;
  if (one.host === two.host) return true;
  if (one.host.startsWith("*.")) return !two.host.startsWith("*.") && coversHost(one, two.host);
  return coversHost(two, one.host);
}

function changedLimits(before: Service, after: Service): readonly string[] {
  const fields = [
    ["schemes", before.schemes, after.schemes],
    ["methods", before.methods, after.methods],
    ["scrub", before.scrub, after.scrub],
    ["strip_headers", before.stripHeaders, after.stripHeaders],
    ["set_cookie", before.setCookie, after.setCookie],
  ] as const;
  return fields
    .filter(([, one, two]) => JSON.stringify(one) !== JSON.stringify(two))
    .map(([name, one, two]) => `${name} from ${said(one)} to ${said(two)}`);
}

function said(value: readonly string[] | string | undefined): string {
  return value === undefined ? "the default" : Array.isArray(value) ? value.join("/") : String(value);
}

function list(words: readonly string[]): string {
  return words.join(", ");
}
