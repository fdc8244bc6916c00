/**
 * Finds the service for a request (spec of the API, section 2.4). Services are sorted once per change by precedence:
 * exact host over wildcard, own port over any, longer literal path, earlier in the list; the first that applies wins.
 */
import type { MatchOutcome, Target } from "../vaults/snapshot.ts";
import { decodePath, withoutParameters } from "./path.ts";
import type { Scheme, Service } from "./service.ts";

export interface Matcher {
  match(target: Target): MatchOutcome;
  /**
   * The raw service that a tunnel to this authority belongs to. A path is not known at that point: where any other
   * service of the authority comes first for some path, the tunnel is not raw.
   */
  rawServiceFor(host: string, port: number): Service | undefined;
}

interface Candidate {
  readonly service: Service;
  readonly port: number | undefined;
  /** Undefined when every path matches. */
  readonly glob: PathGlob | undefined;
  readonly schemes: readonly Scheme[];
  readonly literalBytes: number;
  readonly position: number;
  /** Built once: a match allocates nothing. */
  readonly chosen: MatchOutcome;
}

const none: MatchOutcome = { kind: "none" };
const ambiguousPath: MatchOutcome = { kind: "ambiguous_path" };
const noCandidates: readonly Candidate[] = [];

/** @param services in stored order; disabled ones take part and refuse when they win. */
export function compileMatcher(services: readonly Service[]): Matcher {
  const exact = new Map<string, Candidate[]>();
  const bySuffix = new Map<string, Candidate[]>();
  for (const [position, service] of services.entries()) {
    const { host } = service.pattern;
    const isWildcard = host.startsWith("*.");
    const index = isWildcard ? bySuffix : exact;
    const key = isWildcard ? host.slice(1) : host;
    const list = index.get(key) ?? [];
    list.push(newCandidate(service, position));
    index.set(key, list);
  }
  for (const list of [...exact.values(), ...bySuffix.values()]) list.sort(byPrecedence);
  const hasRaw = services.some(({ raw }) => raw === true);
  const wildcardsFor = (host: string): readonly Candidate[] => {
    const dot = bySuffix.size === 0 ? -1 : host.indexOf(".");
    return (dot > 0 ? bySuffix.get(host.slice(dot)) : undefined) ?? noCandidates;
  };
  return {
    rawServiceFor: (host, port) => {
      if (!hasRaw) return undefined;
      for (const list of [exact.get(host) ?? noCandidates, wildcardsFor(host)]) {
        const first = list.find((candidate) => candidate.port === undefined || candidate.port === port);
        if (first) return first.service.raw === true && first.service.enabled !== false ? first.service : undefined;
      }
      return undefined;
    },
    match: (target) => {
      return choose(exact.get(target.host) ?? noCandidates, wildcardsFor(target.host), target);
    },
  };
}

function choose(exact: readonly Candidate[], wildcard: readonly Candidate[], target: Target): MatchOutcome {
  let path: string | undefined;
  let bare: string | undefined;
  let refusal: MatchOutcome | undefined;
  // One pass decides whether paths matter at all; where they do, a path with several readings must not choose.
  for (const list of [exact, wildcard]) {
    for (const candidate of list) {
      if (candidate.glob === undefined || !appliesToPort(candidate, target)) continue;
      path ??= decodePath(target.path === "" ? "/" : target.path);
      if (path === undefined) return ambiguousPath;
      bare ??= withoutParameters(path);
      if (bare === undefined) return ambiguousPath;
      if (bare !== path && matchesGlob(candidate.glob, bare) !== matchesGlob(candidate.glob, path))
        return ambiguousPath;
    }
  }
  for (const list of [exact, wildcard]) {
    for (const candidate of list) {
      if (!appliesToPort(candidate, target)) continue;
      if (candidate.glob !== undefined && (path === undefined || !matchesGlob(candidate.glob, path))) continue;
      const objection = objectionTo(candidate, target);
      if (objection === undefined) return candidate.chosen;
      // The precedence of refusals is the services'; a wrong method says more than a wrong scheme.
      if (refusal === undefined || (refusal.kind === "scheme_not_allowed" && objection === "method_not_allowed")) {
        refusal = { kind: objection, service: candidate.service };
      }
    }
  }
  return refusal ?? none;
}

function appliesToPort(candidate: Candidate, target: Target): boolean {
  return candidate.port === undefined || candidate.port === target.port;
}

function objectionTo(candidate: Candidate, target: Target): "scheme_not_allowed" | "method_not_allowed" | undefined {
  const { service } = candidate;
  // Where a credential may go says nothing about what was switched off: a disabled service refuses every scheme.
  if (service.enabled !== false && !candidate.schemes.includes(target.scheme)) return "scheme_not_allowed";
  if (service.methods !== undefined && !service.methods.includes(target.method)) return "method_not_allowed";
  return undefined;
}

const onlyHttps: readonly Scheme[] = ["https"];
const bothSchemes: readonly Scheme[] = ["https", "http"];

function newCandidate(service: Service, position: number): Candidate {
  const { port, path } = service.pattern;
  const star = path?.indexOf("*") ?? -1;
  return {
    service,
    port,
    glob: path === undefined || path === "/*" ? undefined : compileGlob(path),
    schemes: service.schemes ?? (injectsNothing(service) ? bothSchemes : onlyHttps),
    literalBytes: path === undefined ? 0 : Buffer.byteLength(star < 0 ? path : path.slice(0, star)),
    position,
    chosen: Object.freeze({ kind: service.enabled === false ? "disabled" : "service", service }),
  };
}

function injectsNothing(service: Service): boolean {
  return service.auth.type === "passthrough" && service.substitutions.length === 0;
}

function byPrecedence(one: Candidate, other: Candidate): number {
  const byPort = Number(other.port !== undefined) - Number(one.port !== undefined);
  return byPort || other.literalBytes - one.literalBytes || one.position - other.position;
}

/** A glob as the literal pieces between its stars. */
interface PathGlob {
  readonly first: string;
  readonly middle: readonly string[];
  /** Undefined without a star: then `first` is the whole path. */
  readonly last: string | undefined;
}

function compileGlob(path: string): PathGlob {
  const [first = "", ...others] = path.split("*");
  return { first, middle: others.slice(0, -1), last: others.at(-1) };
}

/** Linear in the path: the first piece is anchored at the start, the last at the end, the others go leftmost. */
function matchesGlob(glob: PathGlob, path: string): boolean {
  if (glob.last === undefined) return path === glob.first;
  if (!path.startsWith(glob.first)) return false;
  let from = glob.first.length;
  for (const piece of glob.middle) {
    const at = path.indexOf(piece, from);
    if (at < 0) return false;
    from = at + piece.length;
  }
  return path.length - glob.last.length >= from && path.endsWith(glob.last);
}
