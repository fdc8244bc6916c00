/** Agents of the instance, and what they may do in one vault. */
import type { Client } from "../client.ts";
import type { Agent as WireAgent, AgentToken as WireAgentToken, VaultAgent as WireVaultAgent } from "../wire.ts";
import { type Camel, camel } from "./camel.ts";

export type InstanceRole = "owner" | "member" | "no-access";
export type VaultRole = "proxy" | "member" | "admin";
export type Agent = Camel<WireAgent>;
export type VaultAgent = Camel<WireVaultAgent>;

export interface CreateAgentOptions {
  readonly name: string;
  /** `no-access` when absent: nothing but its vaults. */
  readonly role?: InstanceRole | undefined;
  readonly vaults?: readonly { readonly name: string; readonly role?: VaultRole | undefined }[] | undefined;
}

/** `token` cannot be shown again. */
export interface AgentCredentials extends Pick<Camel<WireAgentToken>, "name" | "role" | "vaults"> {
  readonly token: string;
}

export class Agents {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async create({ name, role, vaults = [] }: CreateAgentOptions): Promise<AgentCredentials> {
    const grants = vaults.map((vault) => ({ vault_name: vault.name, vault_role: vault.role ?? "proxy" }));
    const body = { name, vaults: grants, ...(role === undefined ? {} : { role }) };
    return withToken(await this.#client.createAgent(body));
  }

  async list(): Promise<readonly Agent[]> {
    return camel((await this.#client.listAgents()).agents ?? []);
  }

  async get(name: string): Promise<Agent> {
    return camel(await this.#client.agent(name));
  }

  /** A new token; the one before ends at once. */
  async rotate(name: string): Promise<AgentCredentials> {
    return withToken(await this.#client.rotateAgent(name));
  }

  async rename(name: string, to: string): Promise<void> {
    await this.#client.renameAgent(name, to);
  }

  async setRole(name: string, role: InstanceRole): Promise<void> {
    await this.#client.setAgentRole(name, role);
  }

  /** Ends its tokens; `rotate` brings it back. */
  async revoke(name: string): Promise<void> {
    await this.#client.revokeAgent(name);
  }

  async delete(name: string): Promise<void> {
    await this.#client.deleteAgent(name);
  }
}

export class VaultAgents {
  readonly #client: Client;
  readonly #vault: string;

  constructor(client: Client, vault: string) {
    this.#client = client;
    this.#vault = vault;
  }

  async list(): Promise<readonly VaultAgent[]> {
    return camel((await this.#client.listVaultAgents(this.#vault)).agents ?? []);
  }

  async add(name: string, role: VaultRole = "proxy"): Promise<void> {
    await this.#client.addVaultAgent(this.#vault, { name, role });
  }

  async setRole(name: string, role: VaultRole): Promise<void> {
    await this.#client.setVaultAgentRole(this.#vault, name, role);
  }

  /** The tokens that the agent made for this vault end with it. */
  async remove(name: string): Promise<void> {
    await this.#client.removeVaultAgent(this.#vault, name);
  }
}

function withToken({ av_agent_token: token, ...rest }: WireAgentToken): AgentCredentials {
  return { ...camel(rest), token };
}
