/**
 * The services of a proposal. Parsed with the parser of all services, tied to the services of the vault by name or by
 * pattern, and formatted back; the stored form is that of the wire.
 */
import { Conflict, InvalidInput, NotFound } from "../../errors.ts";
import { InputObject, quote } from "../input.ts";
import { formatService, parseService, refuseDescriptions } from "../services/definition.ts";
import { formatPattern, isSamePattern, parsePattern } from "../services/pattern.ts";
import type { Pattern, Service } from "../services/service.ts";
import { nameOfService, type ProposedService } from "./proposal.ts";

export interface ParseProposedOptions {
  /** AGENT_VAULT_DEV_MODE. */
  readonly allowsInternalNames: boolean;
  /** The services of the vault, which names and patterns refer to. */
  readonly existing: readonly Service[];
}

export const maxServices = 10;
/** Fields of a service that say nothing without an auth to go with. */
const needAuth = ["schemes", "methods", "scrub", "strip_headers", "set_cookie"] as const;

/**
 * @throws {InvalidInput} `invalid_proposal`, naming the first service that is wrong.
 * @throws {NotFound} `service_not_found`, @throws {Conflict} `ambiguous_service`: a removal by host that fits none, or several.
 */
export function parseProposedServices(
  list: readonly unknown[],
  options: ParseProposedOptions,
): readonly ProposedService[] {
  refuseDescriptions(list);
  if (list.length > maxServices) throw invalid(`too many services (max ${maxServices})`);
  const parsed = list.map((item, index) =>
    at(index, () => parseProposed(new InputObject(item, "invalid_proposal"), options)),
  );
  return tieToExisting(parsed, options.existing);
}

/** @throws when it is not what `formatProposedService` wrote. */
export function readProposedService(stored: unknown): ProposedService {
  // Whether internal names are allowed was decided when it was proposed.
  return parseProposed(new InputObject(stored, "invalid_proposal"), { allowsInternalNames: true, existing: [] });
}

/** The wire form; hosts are joined with port and path. */
export function formatProposedService(proposed: ProposedService): Record<string, unknown> {
  if (proposed.action === "set") return { action: "set", ...formatService(proposed.service) };
  const place = { name: proposed.name, host: formatPattern(proposed.pattern) };
  return proposed.action === "switch"
    ? { action: "set", ...place, enabled: proposed.enabled }
    : { action: "delete", ...place };
}

/**
 * Gives each entry that sets a service under an unknown name the name of the only service with the same host, port and
 * path: so a proposal never adds a second service that the first would hide, and follows one that was renamed since.
 * @throws {InvalidInput} when two entries then mean one service.
 */
export function tieToExisting(
  proposed: readonly ProposedService[],
  existing: readonly Service[],
): readonly ProposedService[] {
  const known = new Set(existing.map(({ name }) => name));
  const tied = proposed.map((entry): ProposedService => {
    if (entry.action === "delete" || known.has(nameOfService(entry))) return entry;
    const pattern = entry.action === "set" ? entry.service.pattern : entry.pattern;
    const name = onlyNameWith(existing, pattern);
    if (name === undefined) return entry;
    return entry.action === "set" ? { ...entry, service: { ...entry.service, name } } : { ...entry, name };
  });
  for (const [index, entry] of tied.entries()) {
    const earlier = tied.findIndex((other) => nameOfService(other) === nameOfService(entry));
    if (earlier < index) {
      throw invalid(`service ${index}: duplicate name ${quote(nameOfService(entry))} (also at service ${earlier})`);
    }
  }
  return tied;
}

function parseProposed(input: InputObject, options: ParseProposedOptions): ProposedService {
  const action = input.string("action") ?? "";
  if (action !== "set" && action !== "delete") {
    throw invalid(`invalid action ${quote(action)} (must be "set" or "delete")`);
  }
  if (action === "delete") return parseRemoval(input, options);
  const adoptName = (pattern: Pattern) => onlyNameWith(options.existing, pattern);
  const read = (auth: unknown): Service =>
    parseService(fieldsOf(input, auth), { allowsInternalNames: options.allowsInternalNames, adoptName });
  const auth = input.value("auth");
  if (input.boolean("raw") === true) {
    throw invalid("raw cannot be proposed: a tunnel that nobody looks into is for a member of the vault to set up");
  }
  if (auth !== undefined) return { action, service: read(auth) };
  // Host and name are judged first, as for every service.
  const { name, pattern } = read({ type: "passthrough" });
  if ((input.list("substitutions") ?? []).length > 0) {
    throw invalid(
      "substitutions require auth — to change substitutions on an existing service, re-supply the auth config",
    );
  }
  const stray = needAuth.find((field) => input.value(field) !== undefined);
  if (stray !== undefined) throw invalid(`${stray} requires auth — re-supply the auth config`);
  const enabled = input.boolean("enabled");
  if (enabled === undefined) throw invalid("set action requires auth or enabled change");
  return { action: "switch", name, pattern, enabled };
}

function parseRemoval(input: InputObject, options: ParseProposedOptions): ProposedService {
  const pattern = parsePattern(input.string("host") ?? "", input.string("path") ?? "", options);
  const given = input.string("name") ?? "";
  const name = given === "" ? nameToRemove(options.existing, pattern) : given;
  // Through the parser of services for the rules about names.
  const service = parseService({ name, host: formatPattern(pattern), auth: { type: "passthrough" } }, options);
  return { action: "delete", name: service.name, pattern };
}

/** Of the services with the same host, those that also have the port and path, where these are given. */
function nameToRemove(existing: readonly Service[], pattern: Pattern): string {
  const candidates = existing.filter(
    ({ pattern: other }) =>
      other.host === pattern.host &&
      (pattern.port === undefined || other.port === pattern.port) &&
      (pattern.path === undefined || other.path === pattern.path),
  );
  const [only, ...others] = candidates;
  const shown = quote(formatPattern(pattern));
  if (only === undefined) {
    throw new NotFound(
      "service_not_found",
      `no service matches host ${shown} — delete target must be addressable by host or service name`,
    );
  }
  if (others.length === 0) return only.name;
  throw new Conflict("ambiguous_service", `multiple services match host ${shown} — retry with a service name`, {
    details: {
      candidates: candidates.map((service) => ({ name: service.name, host: formatPattern(service.pattern) })),
    },
  });
}

function onlyNameWith(existing: readonly Service[], pattern: Pattern): string | undefined {
  const same = existing.filter((service) => isSamePattern(service.pattern, pattern));
  return same.length === 1 ? same[0]?.name : undefined;
}

/** What `parseService` reads, with this auth. */
function fieldsOf(input: InputObject, auth: unknown): Record<string, unknown> {
  const names = ["name", "host", "path", "enabled", "substitutions", ...needAuth];
  return { ...Object.fromEntries(names.map((name) => [name, input.value(name)])), auth };
}

/** Puts the place into the message of what is wrong with one service; other failures name it themselves. */
function at<T>(index: number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof InvalidInput ? invalid(`service ${index}: ${error.message}`) : error;
  }
}

function invalid(message: string): InvalidInput {
  return new InvalidInput("invalid_proposal", message);
}
