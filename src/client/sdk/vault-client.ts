/** One vault. */
import { Client } from "../client.ts";
import type { Discovery } from "../wire.ts";
import { VaultAgents } from "./agents.ts";
import { type Camel, camel } from "./camel.ts";
import { resolveConfig, type VaultClientConfig, variable } from "./config.ts";
import { Credentials } from "./credentials.ts";
import { Proposals } from "./proposals.ts";
import { Services } from "./services.ts";
import { Sessions } from "./sessions.ts";

export type DiscoverResponse = Camel<Discovery>;

/** A vault whose name is known, so that everything can be asked of it. */
export type NamedVaultClient = VaultClient & {
  readonly name: string;
  readonly sessions: Sessions;
  readonly services: Services;
  readonly agents: VaultAgents;
};

/**
 * With a token for one vault, `new VaultClient()` is all that an agent needs: credentials, proposals and `discover`
 * belong to the token's vault. What needs the name of the vault is undefined without one.
 */
export class VaultClient {
  readonly name: string | undefined;
  readonly credentials: Credentials;
  readonly proposals: Proposals;
  readonly sessions: Sessions | undefined;
  readonly services: Services | undefined;
  readonly agents: VaultAgents | undefined;
  readonly #client: Client;

  /**
   * @param config or a client that exists, then with the name of the vault.
   * @throws {AgentVaultError} `missing_token`, `invalid_address`.
   */
  constructor(config: VaultClientConfig | Client = {}, name?: string) {
    const vault = config instanceof Client ? name : (config.vault ?? variable("AGENT_VAULT_VAULT"));
    const client = config instanceof Client ? config : new Client(resolveConfig(config));
    this.#client = vault === undefined ? client : client.withHeaders({ "x-vault": vault });
    this.name = vault;
    this.credentials = new Credentials(this.#client, vault);
    this.proposals = new Proposals(this.#client, vault);
    this.sessions = vault === undefined ? undefined : new Sessions(this.#client, vault);
    this.services = vault === undefined ? undefined : new Services(this.#client, vault);
    this.agents = vault === undefined ? undefined : new VaultAgents(this.#client, vault);
  }

  /** As an agent: which hosts the vault has services for, and which credentials. */
  async discover(): Promise<DiscoverResponse> {
    return camel(await this.#client.discover(this.name));
  }
}
