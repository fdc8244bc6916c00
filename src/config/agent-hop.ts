/** How agents reach the proxy besides its plain port: TLS in front of it, and a Unix socket. */
import { InvalidInput } from "../errors.ts";
import { invalid } from "./variables.ts";

/** What is read with the rest of the configuration's variables. */
interface Variables {
  text(name: string): string | undefined;
  flag(name: string): boolean;
  path(name: string): string | undefined;
}

/** Where the certificate of the port comes from: PEM files, or the broker's own root, which agents trust already. */
export type HopTls =
  | { readonly kind: "files"; readonly certificateFile: string; readonly keyFile: string }
  | { readonly kind: "own" };

export interface AgentHopConfig {
  /** Undefined: the port takes plain connections. */
  readonly tls: HopTls | undefined;
  readonly socket: { readonly path: string; readonly mode: number } | undefined;
}

const certificateName = "AGENT_VAULT_PROXY_TLS_CERT_FILE";
const keyName = "AGENT_VAULT_PROXY_TLS_KEY_FILE";

/** @throws {InvalidInput} `invalid_configuration`, naming the variable. */
export function parseAgentHop(env: Variables): AgentHopConfig {
  return { tls: parseTls(env), socket: parseSocket(env) };
}

/** Half of the pair would mean a listener without TLS where its operator asked for it. */
function parseTls(env: Variables): AgentHopConfig["tls"] {
  const certificateFile = env.path(certificateName);
  const keyFile = env.path(keyName);
  const isOn = env.flag("AGENT_VAULT_PROXY_TLS");
  if (certificateFile !== undefined && keyFile !== undefined) return { kind: "files", certificateFile, keyFile };
  if (certificateFile === undefined && keyFile === undefined) return isOn ? { kind: "own" } : undefined;
  const [given, missing] = certificateFile === undefined ? [keyName, certificateName] : [certificateName, keyName];
  throw new InvalidInput("invalid_configuration", `${given} is set and ${missing} is not`, {
    hint: "give both for TLS towards agents, or neither",
  });
}

function parseSocket(env: Variables): AgentHopConfig["socket"] {
  const path = env.path("AGENT_VAULT_PROXY_SOCKET");
  return path === undefined ? undefined : { path, mode: parseMode(env.text("AGENT_VAULT_PROXY_SOCKET_MODE")) };
}

function parseMode(text: string | undefined): number {
  if (text === undefined) return 0o600;
  if (/^0?[0-7]{3}$/.test(text.trim())) return Number.parseInt(text.trim(), 8);
  throw invalid("AGENT_VAULT_PROXY_SOCKET_MODE", text, "a mode such as 0600, 0660 or 0666");
}
