/** How a client of the package is set up: by options, by the environment, by defaults. */
import type { Fetch, TransportOptions } from "../transport.ts";
import { AgentVaultError, sdkFailures } from "./errors.ts";

export interface ClientConfig {
  /** `AGENT_VAULT_TOKEN` when absent, or its older name `AGENT_VAULT_SESSION_TOKEN`. */
  readonly token?: string | undefined;
  /** Base URL of the server. `AGENT_VAULT_ADDR` when absent, else `http://localhost:14321`. */
  readonly address?: string | undefined;
  /** Go with every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How the server is reached; the runtime's own `fetch` when absent. */
  readonly fetch?: Fetch | undefined;
  /** Milliseconds for one exchange; 30,000 when absent. */
  readonly timeout?: number | undefined;
}

export type AgentVaultConfig = ClientConfig;

export interface VaultClientConfig extends ClientConfig {
  /** Name of the vault. `AGENT_VAULT_VAULT` when absent; a token for one vault needs neither. */
  readonly vault?: string | undefined;
}

/** The package's version; `test/client/sdk.server.test.ts` holds it to package.json. */
export const sdkVersion = "0.1.0";

const defaultAddress = "http://localhost:14321";
const defaultTimeoutMs = 30_000;

/** @throws {AgentVaultError} `missing_token`, `invalid_address`. */
export function resolveConfig(config: ClientConfig): TransportOptions & { readonly token: string } {
  const token = config.token ?? (variable("AGENT_VAULT_TOKEN") || variable("AGENT_VAULT_SESSION_TOKEN"));
  if (!token) {
    throw new AgentVaultError(
      "A token is needed: give the option token, or set the variable AGENT_VAULT_TOKEN",
      "missing_token",
    );
  }
  const address = (config.address ?? (variable("AGENT_VAULT_ADDR") || defaultAddress)).trim().replace(/\/+$/, "");
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new AgentVaultError("The address of the server must begin with http:// or https://", "invalid_address");
  }
  const { fetch: given } = config;
  return {
    token,
    address,
    // Looked up for each call: whoever replaces the global one later means us, too.
    fetch: given ?? ((target, init) => globalThis.fetch(target, init)),
    timeoutMs: config.timeout ?? defaultTimeoutMs,
    headers: { "user-agent": `agent-vault-sdk-typescript/${sdkVersion}`, ...config.headers },
    failures: sdkFailures,
  };
}

/** Browsers have no variables. */
export function variable(name: string): string | undefined {
  const { process } = globalThis as { readonly process?: { readonly env?: Record<string, string | undefined> } };
  try {
    return process?.env?.[name] || undefined;
  } catch {
    return undefined; // Deno, without the permission to read it: then options are all there is
  }
}
