/**
 * The wire form of a service: parsed from API bodies, YAML files, proposals and the catalog by this one parser, and
 * formatted back. The stored form is the same.
 */
import { InvalidInput } from "../../errors.ts";
import { InputObject, quote } from "../input.ts";
import { slugProblem } from "../slug.ts";
import { authKeys, formatAuth, parseAuth } from "./auth.ts";
import { formatPattern, type PatternOptions, parsePattern } from "./pattern.ts";
import { parseSubstitutions } from "./placeholder.ts";
import { type CredentialKey, type Pattern, type Scheme, type ScrubMode, type Service, scrubModes } from "./service.ts";

export interface ParseServiceOptions extends PatternOptions {
  /** The name for an entry that has none: that of the one stored service with the same pattern. */
  readonly adoptName?: (pattern: Pattern) => string | undefined;
}

const maxListed = 32;

/** @throws {InvalidInput} `invalid_service`, naming the first field that is wrong and what it should be. */
export function parseService(value: unknown, options: ParseServiceOptions): Service {
  const input = new InputObject(value, "invalid_service");
  const pattern = parsePattern(input.string("host") ?? "", input.string("path") ?? "", options);
  const name = parseName(input.string("name") || options.adoptName?.(pattern) || "");
  const auth = within("auth", () => parseAuth(input.value("auth")));
  const enabled = input.boolean("enabled");
  const schemes = parseSchemes(input.strings("schemes"));
  const methods = parseMethods(input.strings("methods"));
  const scrub = parseChoice(input.string("scrub"), "scrub", scrubModes);
  const stripHeaders = parseStripHeaders(input.strings("strip_headers"));
  const setCookie = parseChoice(input.string("set_cookie"), "set_cookie", ["strip", "pass"] as const);
  const service: Service = {
    name,
    pattern,
    ...(enabled !== undefined && { enabled }),
    auth,
    substitutions: parseSubstitutions(input.list("substitutions") ?? []),
    ...(schemes !== undefined && { schemes }),
    ...(methods !== undefined && { methods }),
    ...(scrub !== undefined && { scrub }),
    ...(stripHeaders !== undefined && { stripHeaders }),
    ...(setCookie !== undefined && { setCookie }),
    ...(input.boolean("raw") === true && { raw: true }),
  };
  if (service.raw) refuseWithRaw(service);
  return service;
}

/** Inside of a raw tunnel nothing can be done, so whatever asks for something to be done there is a mistake. */
function refuseWithRaw(service: Service): void {
  if (service.auth.type !== "passthrough") {
    throw invalid(
      `raw: a tunnel that is left alone carries no credential, so auth must be passthrough, not ${service.auth.type}`,
    );
  }
  if (service.pattern.path !== undefined) throw invalid("raw: a tunnel has no path, so host must not name one");
  const { substitutions, schemes, methods, scrub, stripHeaders, setCookie } = service;
  const idle = {
    substitutions: substitutions[0],
    schemes,
    methods,
    scrub,
    strip_headers: stripHeaders,
    set_cookie: setCookie,
  };
  const name = Object.entries(idle).find(([, value]) => value !== undefined)?.[0];
  if (name !== undefined) throw invalid(`raw: ${name} says nothing about a tunnel that is left alone`);
}

/**
 * A whole list, whose names differ.
 * @throws {InvalidInput} whose message begins with `service <i>: `, or `services[<i>]: ` for the removed `description`.
 */
export function parseServices(list: readonly unknown[], options: ParseServiceOptions): readonly Service[] {
  refuseDescriptions(list);
  const parsed: Service[] = [];
  for (const [index, item] of list.entries()) {
    const service = within(`service ${index}`, () => parseService(item, options));
    const earlier = parsed.findIndex((other) => other.name === service.name);
    if (earlier >= 0) {
      throw invalid(`service ${index}: duplicate name ${quote(service.name)} (also at service ${earlier})`);
    }
    parsed.push(service);
  }
  return parsed;
}

/** @throws {InvalidInput} for the first entry that still carries the field `description`. */
export function refuseDescriptions(list: readonly unknown[]): void {
  const index = list.findIndex((item) => typeof item === "object" && item !== null && "description" in item);
  if (index < 0) return;
  throw new InvalidInput(
    "description_not_supported",
    `services[${index}]: description is no longer supported; rename via the service name field instead`,
  );
}

/** The wire form, in the order people read it; what was never set stays out. */
export function formatService(service: Service): Record<string, unknown> {
  return {
    name: service.name,
    host: formatPattern(service.pattern),
    ...(service.enabled !== undefined && { enabled: service.enabled }),
    auth: formatAuth(service.auth),
    ...(service.substitutions.length > 0 && { substitutions: service.substitutions }),
    ...(service.schemes !== undefined && { schemes: service.schemes }),
    ...(service.methods !== undefined && { methods: service.methods }),
    ...(service.scrub !== undefined && { scrub: service.scrub }),
    ...(service.stripHeaders !== undefined && { strip_headers: service.stripHeaders }),
    ...(service.setCookie !== undefined && { set_cookie: service.setCookie }),
    ...(service.raw && { raw: true }),
  };
}

/** The credentials that a service refers to: those of its auth, then those of its substitutions, each once. */
export function referencedKeys(service: Service): readonly CredentialKey[] {
  return [...new Set([...authKeys(service.auth), ...service.substitutions.map((substitution) => substitution.key)])];
}

function parseName(name: string): string {
  if (name === "") throw invalid("name is required");
  const problem = slugProblem(name);
  if (problem !== undefined) throw invalid(`name ${quote(name)} ${problem}`);
  return name;
}

function parseSchemes(names: readonly string[] | undefined): readonly Scheme[] | undefined {
  return parseEach(names, "schemes", (name) => {
    if (name === "https" || name === "http") return name;
    throw invalid(`schemes: ${quote(name)} must be https or http`);
  });
}

function parseMethods(names: readonly string[] | undefined): readonly string[] | undefined {
  return parseEach(names, "methods", (name) => {
    const method = name.toUpperCase();
    if (!/^[A-Z][A-Z-]{0,31}$/.test(method)) throw invalid(`methods: ${quote(name)} is not a method name (e.g. GET)`);
    // The broker refuses both for every service (RFC 9110, sections 9.3.6 and 9.3.8).
    if (method === "CONNECT" || method === "TRACE") throw invalid(`methods: ${method} is never forwarded`);
    return method;
  });
}

function parseStripHeaders(names: readonly string[] | undefined): readonly string[] | undefined {
  return parseEach(names, "strip_headers", (name) => {
    if (/^[A-Za-z0-9_-]+$/.test(name)) return name.toLowerCase();
    throw invalid(`strip_headers: ${quote(name)} is not a header name (only letters, digits, "-" and "_")`);
  });
}

/** A list that says something: not empty, not endless, nothing twice. */
function parseEach<T extends string>(
  names: readonly string[] | undefined,
  field: string,
  parse: (name: string) => T,
): readonly T[] | undefined {
  if (names === undefined) return undefined;
  if (names.length === 0) throw invalid(`${field} must not be empty; leave it out for the default`);
  if (names.length > maxListed) throw invalid(`${field} must not list more than ${maxListed} names`);
  const parsed = names.map(parse);
  const repeated = parsed.find((name, index) => parsed.indexOf(name) !== index);
  if (repeated !== undefined) throw invalid(`${field}: ${quote(repeated)} is listed more than once`);
  return parsed;
}

function parseChoice<T extends ScrubMode | "strip" | "pass">(
  text: string | undefined,
  field: string,
  choices: readonly T[],
): T | undefined {
  if (text === undefined) return undefined;
  const choice = choices.find((known) => known === text);
  if (choice === undefined) throw invalid(`${field} ${quote(text)} must be one of ${choices.join(", ")}`);
  return choice;
}

function within<T>(place: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof InvalidInput ? invalid(`${place}: ${error.message}`) : error;
  }
}

function invalid(message: string): InvalidInput {
  return new InvalidInput("invalid_service", message);
}
