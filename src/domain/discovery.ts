/** What a vault offers to an agent, and what agents looked for in vain. */
import type { Database } from "../storage/database.ts";
import { coversHost } from "./services/pattern.ts";
import type { Services } from "./services/services.ts";

export interface DiscoveredHost {
  readonly host: string;
  readonly requestCount: number;
  readonly lastSeen: string;
  /** How agents tried to authenticate: `bearer`, `basic`, `api-key` or empty; and in which header. */
  readonly authScheme: string;
  readonly authHeader: string;
}

export interface DiscoveredHosts {
  readonly hosts: readonly DiscoveredHost[];
  /** Before the limit. */
  readonly total: number;
}

/** Older ones are neither listed nor kept. */
export const maxDiscoveredHosts = 500;

export class Discovery {
  readonly #database: Database;
  readonly #services: Services;

  constructor(options: { readonly database: Database; readonly services: Services }) {
    this.#database = options.database;
    this.#services = options.services;
  }

  /**
   * Hosts that failed for want of a service and that still none covers, the last seen first.
   * @param limit 0 counts only.
   */
  async hosts(vaultId: string, limit: number): Promise<DiscoveredHosts> {
    const rows = await this.#database.db
      .selectFrom("discovered_hosts")
      .select([
        "host",
        "request_count as requestCount",
        "last_seen as lastSeen",
        "auth_scheme as authScheme",
        "auth_header as authHeader",
      ])
      .where("vault_id", "=", vaultId)
      .orderBy("last_seen", "desc")
      .orderBy("host")
      .limit(maxDiscoveredHosts)
      .execute();
    const patterns = (await this.#services.list(vaultId)).map(({ pattern }) => pattern);
    const uncovered = rows.filter(({ host }) => !patterns.some((pattern) => coversHost(pattern, host)));
    return { hosts: uncovered.slice(0, limit), total: uncovered.length };
  }
}
