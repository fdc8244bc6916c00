/** Host, port and path patterns: where a service applies. Parsed here, joined again here, compared here. */
import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { InvalidInput } from "../../errors.ts";
import { quote } from "../input.ts";
import { isCanonicalPath } from "./path.ts";
import type { Pattern } from "./service.ts";

export interface PatternOptions {
  /** AGENT_VAULT_DEV_MODE: names of the machine itself and of cloud metadata services are allowed. */
  readonly allowsInternalNames: boolean;
}

const maxPathBytes = 256;

/** RFC 1123 labels and a top-level name that is alphabetic or punycode (RFC 5890), so never the tail of an IP address. */
const hostnamePattern = /^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+([a-z]{2,}|xn--[a-z0-9-]*[a-z0-9])$/;

/** Names that resolve to the machine itself or to its cloud's metadata service. */
const internalNames: ReadonlySet<string> = new Set([
  "localhost",
  "localhost.localdomain",
  "internal",
  "kubernetes",
  "kubernetes.default",
  "metadata.google.internal",
  "metadata.google",
  "instance-data",
]);

/** Suffixes of country registries under which strangers register names: a wildcard there hands the credential to anyone. */
const registrySuffixPattern = /^(ac|co|com|edu|go|gob|gov|gouv|gr|id|mil|ne|net|nom|or|org|sch)\.[a-z]{2}$/;

/**
 * Splits and checks the joined form `host[:port][/path]`, with the path optionally given apart.
 * @throws {InvalidInput} naming the part that is wrong.
 */
export function parsePattern(host: string, path: string, options: PatternOptions): Pattern {
  if (host === "") throw invalid("host is required");
  const { name, port, glob } = split(host, path);
  const checked = parseHost(name, options);
  checkPort(port);
  checkPath(glob);
  return { host: checked, ...(port !== undefined && { port }), ...(glob !== "" && { path: glob }) };
}

/** The joined form, as every answer of the API has it. */
export function formatPattern({ host, port, path }: Pattern): string {
  return `${host}${port === undefined ? "" : `:${port}`}${path ?? ""}`;
}

/** Same host, same port or none, same path or none: one would always hide the other. */
export function isSamePattern(one: Pattern, other: Pattern): boolean {
  return one.host === other.host && one.port === other.port && one.path === other.path;
}

/** Does a host, or the suffix after its first label, equal the pattern's? Port and path are not looked at. */
export function coversHost(pattern: Pattern, host: string): boolean {
  if (!pattern.host.startsWith("*.")) return pattern.host === host;
  const dot = host.indexOf(".");
  return dot > 0 && host.slice(dot) === pattern.host.slice(1);
}

function split(host: string, path: string): { name: string; port: number | undefined; glob: string } {
  const slash = path === "" ? host.indexOf("/") : -1;
  const glob = slash > 0 ? host.slice(slash) : path;
  const authority = slash > 0 ? host.slice(0, slash) : host;
  const port = /^(.*):(\d{1,10})$/s.exec(authority.trim());
  if (port === null) return { name: authority, port: undefined, glob };
  return { name: port[1] ?? "", port: Number(port[2]), glob };
}

function parseHost(input: string, options: PatternOptions): string {
  const name = input.trim().toLowerCase();
  const shown = quote(input);
  if (name === "") throw invalid("host is empty");
  if (name.includes("/")) {
    throw invalid(`host ${shown} must not contain "/": write the path once, after the host or as "path"`);
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const stray = /[@?#\s\u0000-\u001f\u007f]/.exec(name)?.[0];
  if (stray !== undefined) throw invalid(`host ${shown} contains invalid character ${quoteCharacter(stray)}`);
  if (isIP(name) !== 0) throw invalid(`host ${shown} must be a hostname, not an IP address`);
  if (name.startsWith("*")) return parseWildcard(name, shown, options);
  if (internalNames.has(name) && !options.allowsInternalNames) throw internalName(shown);
  if (!hostnamePattern.test(name)) throw notAHostname(name, shown);
  return name;
}

function parseWildcard(name: string, shown: string, options: PatternOptions): string {
  if (name === "*") throw invalid(`host ${shown}: bare wildcard is not allowed`);
  if (!name.startsWith("*.")) throw invalid(`host ${shown}: wildcard must be in the form *.example.com`);
  const suffix = name.slice(2);
  if (!suffix.includes(".")) {
    throw invalid(`host ${shown}: wildcard must have at least two domain levels (e.g. *.example.com)`);
  }
  if (!hostnamePattern.test(suffix)) throw invalid(`host ${shown}: invalid hostname in wildcard pattern`);
  if (registrySuffixPattern.test(suffix)) {
    throw invalid(
      `host ${shown}: anyone can register a name under ${quote(suffix)}; name the domain (e.g. *.example.${suffix})`,
    );
  }
  const coversInternal =
    internalNames.has(suffix) || [...internalNames].some((internal) => coversHost({ host: name }, internal));
  if (coversInternal && !options.allowsInternalNames) throw internalName(shown);
  return name;
}

function notAHostname(name: string, shown: string): InvalidInput {
  const ascii = domainToASCII(name);
  const advice = ascii !== name && hostnamePattern.test(ascii) ? `; write it as ${quote(ascii)}` : "";
  return invalid(`host ${shown} is not a valid hostname${advice}`);
}

function internalName(shown: string): InvalidInput {
  return invalid(
    `host ${shown} is a local/internal name and is not allowed (set AGENT_VAULT_DEV_MODE=true to override)`,
  );
}

function checkPort(port: number | undefined): void {
  if (port !== undefined && (port < 1 || port > 65535)) throw invalid(`port ${port} is out of range (must be 1-65535)`);
}

function checkPath(glob: string): void {
  if (glob === "") return;
  const shown = `path ${quote(glob)}`;
  if (!glob.startsWith("/")) throw invalid(`${shown} must start with "/"`);
  if (Buffer.byteLength(glob) > maxPathBytes) throw invalid(`${shown} is longer than ${maxPathBytes} bytes`);
  if (glob.includes("**")) throw invalid(`${shown} must not contain "**" (segment-bounded globs are not supported)`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const stray = /[ ?#[\]\\|<>"\u0000-\u001f\u007f]/.exec(glob)?.[0];
  if (stray !== undefined) throw invalid(`${shown} must not contain ${quoteCharacter(stray)}`);
  // Requests with dot segments or empty ones are refused where paths decide, so such a service could never be chosen.
  if (!isCanonicalPath(glob.replaceAll("%", "_"))) throw invalid(`${shown} must not contain dot segments or "//"`);
}

function quoteCharacter(character: string): string {
  const escaped = JSON.stringify(character).slice(1, -1);
  return `'${escaped === '\\"' ? '"' : escaped}'`;
}

function invalid(message: string): InvalidInput {
  return new InvalidInput("invalid_service", message);
}
