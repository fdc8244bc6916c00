/** A server, with the token of an agent or of a person. */
import { Client } from "../client.ts";
import type { Vault as WireVault } from "../wire.ts";
import { Agents } from "./agents.ts";
import { type Camel, camel } from "./camel.ts";
import { type AgentVaultConfig, resolveConfig } from "./config.ts";
import { type NamedVaultClient, VaultClient } from "./vault-client.ts";

export type Vault = Camel<WireVault>;

export class AgentVault {
  readonly agents: Agents;
  /** Every operation of the management API, one method each, with the names that the API has on the wire. */
  readonly api: Client;

  /** @throws {AgentVaultError} `missing_token`, `invalid_address`. */
  constructor(config: AgentVaultConfig = {}) {
    this.api = new Client(resolveConfig(config));
    this.agents = new Agents(this.api);
  }

  /** Base URL of the server. */
  get address(): string {
    return this.api.address;
  }

  /** The caller becomes its administrator. */
  async createVault({ name }: { readonly name: string }): Promise<Vault> {
    return camel(await this.api.createVault({ name }));
  }

  /** Those that the caller has a grant on; for an owner all. */
  async listVaults(): Promise<readonly Vault[]> {
    return camel((await this.api.listVaults()).vaults ?? []);
  }

  async renameVault(name: string, to: string): Promise<void> {
    await this.api.renameVault(name, to);
  }

  /** With everything in it. */
  async deleteVault(name: string): Promise<{ readonly name: string; readonly deleted: boolean }> {
    return await this.api.deleteVault(name);
  }

  /** Asks nothing of the server. */
  vault(name: string): NamedVaultClient {
    // The constructor makes all of it when it gets a name.
    return new VaultClient(this.api, name) as NamedVaultClient;
  }
}
