/** What a vault offers to an agent, and what agents looked for in vain. */
import type { Database } from "../storage/database.ts";
import { cutPage, keyAfter } from "./page.ts";
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
  /** For the next page; undefined on the last one. */
  readonly next: readonly string[] | undefined;
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
   * @param after the key of the page before. @throws {InvalidInput} `invalid_cursor`.
   */
  async hosts(vaultId: string, limit: number, after?: readonly string[]): Promise<DiscoveredHosts> {
    const [lastSeen = "", lastHost = ""] = keyAfter({ limit, after }, "time", "text") ?? [];
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
    // Open pages ask again and again; most vaults have nothing to show, and a thousand services to read.
    if (rows.length === 0) return { hosts: [], total: 0, next: undefined };
    const patterns = (await this.#services.list(vaultId)).map(({ pattern }) => pattern);
    const uncovered = rows.filter(({ host }) => !patterns.some((pattern) => coversHost(pattern, host)));
    // As they are ordered: what comes behind the key, whether or not its host is still there.
    const rest =
      after === undefined
        ? uncovered
        : uncovered.filter((seen) => seen.lastSeen < lastSeen || (seen.lastSeen === lastSeen && seen.host > lastHost));
    const { items, next } = cutPage(rest, { limit, after }, (seen) => [seen.lastSeen, seen.host]);
    return { hosts: items, total: uncovered.length, next: limit === 0 ? undefined : next };
  }
}
