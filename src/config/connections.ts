/** How many connections the proxy takes, how it ends them, and who may read the metrics. */
import { Secret } from "../crypto/secret.ts";
import { InvalidInput } from "../errors.ts";

/** What is read with the rest of the configuration's variables. */
interface Variables {
  text(name: string): string | undefined;
  integer(name: string, fallback: number, least: number): number;
  duration(name: string): number | undefined;
}

export interface ConnectionConfig {
  /** At the proxy's port, tunnels included; 0 for as many as the system has descriptors for. */
  readonly max: number;
  /** From one client address, or one /64 of IPv6; 0 is unlimited. Loopback is exempt: containers come from there. */
  readonly maxPerAddress: number;
  /** That one token was shown on, tunnels and others; 0 is unlimited. */
  readonly maxPerToken: number;
  /** Bytes per second that bodies have to move at least; 0 is without a limit. */
  readonly minBodyRate: number;
  /** How long requests under way may take to end when the server is told to stop. */
  readonly drainMs: number;
}

/** @throws {InvalidInput} `invalid_configuration`, naming the variable. */
export function parseConnections(env: Variables): ConnectionConfig {
  return {
    max: env.integer("AGENT_VAULT_MAX_CONNECTIONS", 16_384, 0),
    maxPerAddress: env.integer("AGENT_VAULT_MAX_CONNECTIONS_PER_ADDRESS", 4_096, 0),
    maxPerToken: env.integer("AGENT_VAULT_MAX_TUNNELS_PER_TOKEN", 4_096, 0),
    minBodyRate: env.integer("AGENT_VAULT_MIN_BODY_RATE", 16, 0),
    drainMs: env.duration("AGENT_VAULT_DRAIN_TIMEOUT") ?? 5_000,
  };
}

/** A token that can be tried out in an afternoon protects nothing. */
const leastTokenLength = 16;

/** AGENT_VAULT_METRICS_TOKEN. @throws {InvalidInput} `invalid_configuration`, without the value. */
export function parseMetricsToken(env: Variables): Secret | undefined {
  const token = env.text("AGENT_VAULT_METRICS_TOKEN")?.trim();
  if (token === undefined) return undefined;
  if (token.length >= leastTokenLength && /^[\x21-\x7e]+$/.test(token)) return new Secret(token);
  throw new InvalidInput("invalid_configuration", "AGENT_VAULT_METRICS_TOKEN cannot be used as a token", {
    hint: `give it at least ${leastTokenLength} visible ASCII characters, such as from: openssl rand -hex 32`,
  });
}
