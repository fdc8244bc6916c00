/** Hosts that agents called without a service, counted as the journal is written (spec of the API, section 9). */
import type { Database } from "../storage/database.ts";
import type { JournalEntry } from "./journal-entry.ts";

interface Seen {
  readonly vaultId: string;
  readonly host: string;
  count: number;
  authScheme: string;
  authHeader: string;
  lastSeen: string;
}

export class DiscoveryTally {
  readonly #seen = new Map<string, Seen>();

  /** @param count how many requests the entry stands for. */
  add(entry: JournalEntry, count: number): void {
    if (!isDiscovery(entry)) return;
    const host = entry.host.replace(/:\d+$/, "").slice(0, maxHostCharacters);
    const key = `${entry.vaultId}\n${host}`;
    const seen = this.#seen.get(key);
    const lastSeen = new Date(entry.startedAtMs).toISOString();
    if (seen === undefined) {
      const { vaultId, authScheme, authHeader } = entry;
      this.#seen.set(key, { vaultId, host, count, authScheme, authHeader, lastSeen });
      return;
    }
    seen.count += count;
    if (lastSeen < seen.lastSeen) return;
    seen.lastSeen = lastSeen;
    seen.authScheme = entry.authScheme;
    seen.authHeader = entry.authHeader;
  }

  /** Adds the counts to the stored ones; the newest request's hints win. */
  async store({ db }: Database): Promise<void> {
    if (this.#seen.size === 0) return;
    const rows = [...this.#seen.values()].map((seen) => ({
      vault_id: seen.vaultId,
      host: seen.host,
      request_count: seen.count,
      auth_scheme: seen.authScheme,
      auth_header: seen.authHeader,
      last_seen: seen.lastSeen,
    }));
    await db
      .insertInto("discovered_hosts")
      .values(rows)
      .onConflict((conflict) =>
        conflict.columns(["vault_id", "host"]).doUpdateSet((row) => ({
          request_count: row("discovered_hosts.request_count", "+", row.ref("excluded.request_count")),
          auth_scheme: row.ref("excluded.auth_scheme"),
          auth_header: row.ref("excluded.auth_header"),
          last_seen: row.ref("excluded.last_seen"),
        })),
      )
      .execute();
  }
}

/** The longest name that DNS has (RFC 1035, section 2.3.4). */
const maxHostCharacters = 255;

/** Of a token that was refused: what somebody without access asked for is no wish of this vault. */
const refusedTokens: ReadonlySet<string> = new Set(["forbidden", "grant_revoked"]);

/** No service covered it, and it did not work. */
function isDiscovery({ matchedService, host, errorCode, status }: JournalEntry): boolean {
  if (refusedTokens.has(errorCode)) return false;
  return matchedService === "" && host !== "" && (errorCode === "no_match" || status === 401 || status === 403);
}
