/** Which networks and ports agents may reach, and the way there: the part of the configuration that `net` works with. */
import { parseAuthority, parseIp } from "../net/address.ts";
import type { Egress } from "../net/egress-proxy.ts";
import { defaultDeniedPorts, type PortPolicy, type PortRange, parsePortRanges } from "../net/ports.ts";
import type { Environment } from "../runtime/process.ts";
import { type OwnPorts, readEgress } from "./egress.ts";
import { invalid, type Variables } from "./variables.ts";

export interface NetworkConfig {
  readonly allowPrivateRanges: boolean;
  readonly allowlist: readonly string[];
  /** What the admins of a vault may open for it beyond that. */
  readonly vaultAllowlist: readonly string[];
  readonly ports: PortPolicy;
}

export interface EgressConfig {
  /** Asked for the addresses of upstreams, as `address` or `address:port`; none: the system's resolver. */
  readonly dnsServers: readonly string[];
  /** The proxy that upstreams are reached through; undefined: directly. */
  readonly proxy: Egress | undefined;
}

/** @throws {InvalidInput} `invalid_configuration`, naming the variable. */
export function parseNetwork(env: Variables): NetworkConfig {
  return {
    allowPrivateRanges: env.flag("AGENT_VAULT_ALLOW_PRIVATE_RANGES"),
    allowlist: env.networks("AGENT_VAULT_NETWORK_ALLOWLIST"),
    vaultAllowlist: env.networks("AGENT_VAULT_VAULT_NETWORK_ALLOWLIST"),
    ports: {
      allowed: parsePorts("AGENT_VAULT_ALLOWED_PORTS", env),
      denied: parsePorts("AGENT_VAULT_DENIED_PORTS", env) ?? parsePortRanges(defaultDeniedPorts) ?? [],
    },
  };
}

/** @throws {InvalidInput} `invalid_configuration`, naming the variable. */
export function parseEgress(env: Variables, environment: Environment, own: OwnPorts): EgressConfig {
  return {
    dnsServers: parseServers("AGENT_VAULT_DNS_SERVERS", env),
    proxy: readEgress(environment, env.flag("AGENT_VAULT_UPSTREAM_PROXY_RESOLVES"), own),
  };
}

/** `none` is an empty list; undefined is that nothing is said. */
function parsePorts(name: string, env: Variables): readonly PortRange[] | undefined {
  const value = env.text(name)?.trim();
  if (value === undefined) return undefined;
  const ranges = value.toLowerCase() === "none" ? [] : parsePortRanges(value);
  if (ranges !== undefined) return ranges;
  throw invalid(name, value, "a comma-separated list of ports such as 25,6000-6063, or none");
}

function parseServers(name: string, env: Variables): readonly string[] {
  const entries = (env.text(name) ?? "").split(",").map((entry) => entry.trim());
  const servers = entries.filter((entry) => entry !== "");
  const bad = servers.find((server) => !isServer(server));
  if (bad === undefined) return servers;
  throw invalid(name, bad, "a comma-separated list of addresses such as 10.0.0.2 or [fd00::2]:5353");
}

/** An address, with or without the port of a server on it. */
function isServer(text: string): boolean {
  if (parseIp(text) !== undefined) return true;
  try {
    return parseIp(parseAuthority(text, 53).host) !== undefined;
  } catch {
    return false;
  }
}
