/** The egress proxy as the environment names it: with our own variables, else with those that most programs read. */
import { readFileSync } from "node:fs";
import { InvalidInput } from "../errors.ts";
import { Egress, EgressProxy } from "../net/egress-proxy.ts";
import { NoProxy } from "../net/no-proxy.ts";
import type { Environment } from "../runtime/process.ts";

/** Where this server listens: a proxy there would be ourselves. */
export interface OwnPorts {
  readonly host: string;
  readonly ports: readonly number[];
}

const own = "AGENT_VAULT_UPSTREAM_PROXY";
const ownFile = "AGENT_VAULT_UPSTREAM_PROXY_FILE";
const ownExceptions = "AGENT_VAULT_UPSTREAM_NO_PROXY";
const resolves = "AGENT_VAULT_UPSTREAM_PROXY_RESOLVES";

/**
 * Undefined when upstreams are reached directly.
 *
 * @param resolvesNames the operator says that only the proxy can resolve names
 * @throws {InvalidInput} `invalid_configuration`, naming the variable; never with its value, which may hold a password.
 */
export function readEgress(environment: Environment, resolvesNames: boolean, ports: OwnPorts): Egress | undefined {
  const named = proxiesOf(environment);
  for (const { name, proxy } of named) {
    if (proxy?.leadsTo(ports.host, ports.ports)) {
      throw invalid(name, "names this server itself", `name another proxy, or set ${own}=direct to use none`);
    }
  }
  const [https, http] = named.map(({ proxy }) => proxy);
  if (!https && !http) {
    if (resolvesNames) throw invalid(resolves, "is set where no proxy is", `name one with ${own}`);
    return undefined;
  }
  const [exceptName, except] = first(environment, [ownExceptions, "NO_PROXY", "no_proxy"]) ?? [ownExceptions, ""];
  const parsed = NoProxy.parse(except);
  if (typeof parsed === "string") {
    throw invalid(
      exceptName,
      `holds ${JSON.stringify(parsed.slice(0, 60))}, which is not valid`,
      "list names, addresses and networks, such as example.com,10.0.0.0/8",
    );
  }
  return new Egress({ https, http, except: parsed, resolvesNames });
}

interface NamedProxy {
  /** The variable. */
  readonly name: string;
  readonly proxy: EgressProxy | undefined;
}

/** For https, and for http. */
function proxiesOf(environment: Environment): readonly [NamedProxy, NamedProxy] {
  const ours = first(environment, [own]) ?? readSecretFile(environment);
  if (ours) {
    const [name, value] = ours;
    const both = { name, proxy: value.trim().toLowerCase() === "direct" ? undefined : parse(name, value) };
    return [both, both];
  }
  const usual = (scheme: "HTTPS" | "HTTP"): NamedProxy => {
    const name = `${scheme}_PROXY`;
    const found = first(environment, [name, name.toLowerCase(), "ALL_PROXY", "all_proxy"]);
    return found ? { name: found[0], proxy: parse(...found) } : { name, proxy: undefined };
  };
  return [usual("HTTPS"), usual("HTTP")];
}

function readSecretFile(environment: Environment): readonly [string, string] | undefined {
  const file = first(environment, [ownFile]);
  if (!file) return undefined;
  try {
    return [ownFile, readFileSync(file[1], "utf8")];
  } catch (cause) {
    throw new InvalidInput("invalid_configuration", `${ownFile} names a file that cannot be read`, { cause });
  }
}

/** The first of these variables that is set and not empty. */
function first(environment: Environment, names: readonly string[]): readonly [string, string] | undefined {
  for (const name of names) {
    const value = environment[name];
    if (value !== undefined && value.trim() !== "") return [name, value];
  }
  return undefined;
}

function parse(name: string, value: string): EgressProxy {
  const proxy = EgressProxy.parse(value);
  if (proxy) return proxy;
  throw invalid(
    name,
    "is not the address of a proxy",
    "use the form http://user:password@host:3128, with http, https, socks5 or socks5h",
  );
}

function invalid(name: string, problem: string, hint: string): InvalidInput {
  return new InvalidInput("invalid_configuration", `${name} ${problem}`, { hint });
}
