/** Reading flags and environment variables, one value at a time; a bad one is refused by its name. */
import { isAbsolute, resolve } from "node:path";
import { InvalidInput } from "../errors.ts";
import { parseCidr } from "../net/address.ts";
import type { Environment } from "../runtime/process.ts";

/** Typed access to environment variables; an empty one counts as unset. */
export class Variables {
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  text(name: string): string | undefined {
    const value = this.#environment[name];
    return value === undefined || value.trim() === "" ? undefined : value;
  }

  flag(name: string): boolean {
    const value = this.text(name)?.trim().toLowerCase();
    if (value === undefined || ["0", "f", "false", "no", "off"].includes(value)) return false;
    if (["1", "t", "true", "yes", "on"].includes(value)) return true;
    throw invalid(name, value, "true or false");
  }

  oneOf<T extends string>(name: string, allowed: readonly [T, ...T[]], fallback: T): T {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const found = allowed.find((word) => word === value.trim().toLowerCase());
    if (found === undefined) throw invalid(name, value, allowed.join(", "));
    return found;
  }

  port(name: string, fallback: number): number {
    const value = this.text(name);
    return value === undefined ? fallback : parsePort(name, value.trim(), 1);
  }

  integer(name: string, fallback: number, least: number): number {
    return this.optionalInteger(name, least) ?? fallback;
  }

  optionalInteger(name: string, least: number): number | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : parseInteger(name, value, least);
  }

  optionalNumber(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (/^\d+(\.\d+)?$/.test(value.trim())) return Number(value);
    throw invalid(name, value, "a number of at least 0");
  }

  /** In milliseconds. */
  duration(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const milliseconds = parseDuration(value.trim());
    if (milliseconds === undefined) throw invalid(name, value, "a duration such as 300ms, 5m or 1h30m");
    return milliseconds;
  }

  path(name: string): string | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : isAbsolute(value) ? value : resolve(value);
  }

  baseUrl(name: string): string | undefined {
    const value = this.text(name)?.trim();
    if (value === undefined) return undefined;
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const isPlain = url !== undefined && !url.search && !url.hash && !url.username && !url.password;
    if (!isPlain || (url.protocol !== "http:" && url.protocol !== "https:")) {
      throw invalid(name, value, "an address such as https://vault.example.com");
    }
    return value.replace(/\/+$/, "");
  }

  networks(name: string): readonly string[] {
    const entries = (this.text(name) ?? "").split(",").map((entry) => entry.trim());
    const networks = entries.filter((entry) => entry !== "");
    const bad = networks.find((network) => parseCidr(network) === undefined);
    if (bad === undefined) return networks;
    throw invalid(name, bad, "a comma-separated list of addresses and networks such as 10.0.0.0/8");
  }
}

/** @throws {InvalidInput} naming the flag or variable. */
export function parsePort(name: string, value: string, least: 0 | 1): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  if (port >= least && port <= 65535) return port;
  throw invalid(name, value, `a port from ${least} to 65535`);
}

/** @throws {InvalidInput} naming the flag or variable. */
export function parseInteger(name: string, value: string, least: number): number {
  const number = /^\d{1,15}$/.test(value.trim()) ? Number(value.trim()) : Number.NaN;
  if (number >= least) return number;
  throw invalid(name, value, `a whole number of at least ${least}`);
}

const durationUnits: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration as Go writes it (`300ms`, `5m`, `1h30m`), in milliseconds; undefined when it is none, or negative. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(amount) * (durationUnits[unit ?? ""] ?? Number.NaN);
  }
  return total;
}

/** A value that cannot be used, by the name of its flag or variable; never for secrets. */
export function invalid(name: string, value: string, expected: string): InvalidInput {
  const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  return new InvalidInput("invalid_configuration", `${name} is ${shown}, which is not valid`, {
    hint: `give it ${expected}`,
  });
}
