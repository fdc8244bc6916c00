/** What the server as a whole counts: the process, its journal, its limits, its certificates, its tokens. */
import type { Authority } from "../domain/authority.ts";
import type { Domain } from "../domain/domain.ts";
import type { DnsCache } from "../net/dns-cache.ts";
import { buildInfo } from "../runtime/build-info.ts";
import { EventLoopWatch } from "../runtime/event-loop.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { openFileLimit, openFiles } from "../runtime/process.ts";

/** When this process began, in milliseconds since the epoch. */
export function startedAtMs(): number {
  return Date.now() - process.uptime() * 1000;
}

/** @returns what ends the watching. */
export function observeProcess(metrics: Metrics): () => void {
  metrics.add("gauge", "agent_vault_build_info", "1, with the version that runs.", () => [
    { labels: { version: buildInfo.version, commit: buildInfo.commit }, value: 1 },
  ]);
  const startedAtSeconds = Math.round(startedAtMs() / 1000);
  metrics.add("gauge", "process_start_time_seconds", "Since the epoch.", () => startedAtSeconds);
  metrics.add("counter", "process_cpu_seconds_total", "Processor time of all threads.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.add("gauge", "process_resident_memory_bytes", "Memory in use.", () => process.memoryUsage.rss());
  // Where the system does not say, there is no such number.
  const sample = (value: number | undefined) => (value === undefined ? [] : [{ value }]);
  metrics.add("gauge", "process_open_fds", "Files and sockets that are open.", () => sample(openFiles()));
  const most = openFileLimit();
  metrics.add("gauge", "process_max_fds", "How many there may be.", () => sample(most));
  const loop = new EventLoopWatch();
  loop.start();
  metrics.histograms("agent_vault_event_loop_delay_seconds", "How late a timer fires.", () => [
    { labels: {}, histogram: loop.delay },
  ]);
  metrics.add(
    "gauge",
    "agent_vault_event_loop_longest_delay_seconds",
    "The longest of the last one to two minutes.",
    () => loop.longestPause,
  );
  return () => loop.stop();
}

export function observeDomain(metrics: Metrics, { limits, journal, oauthRefresher, scopes, snapshots }: Domain): void {
  metrics.add("counter", "agent_vault_limit_denials_total", "Requests of agents above a limit.", () =>
    Object.entries(limits.proxy.denials).map(([limit, value]) => ({ labels: { limit }, value })),
  );
  const { stats } = journal;
  metrics.add("gauge", "agent_vault_journal_waiting", "Entries not written yet.", () => journal.waiting);
  metrics.add("counter", "agent_vault_journal_written_total", "Entries written to the database.", () => stats.written);
  metrics.add(
    "counter",
    "agent_vault_journal_spilled_total",
    "Entries that went through the file.",
    () => stats.spilled,
  );
  metrics.add("gauge", "agent_vault_journal_spill_bytes", "What is in the file now.", () => journal.spillBytes);
  metrics.add(
    "counter",
    "agent_vault_journal_coalesced_total",
    "Requests that have no row of their own, because nothing took one.",
    () => journal.coalesced,
  );
  metrics.add(
    "counter",
    "agent_vault_journal_dropped_total",
    "Entries that the database refused.",
    () => stats.refused,
  );
  metrics.add("gauge", "agent_vault_journal_database_away", "1 while the database takes no entries.", () =>
    journal.isAway ? 1 : 0,
  );
  metrics.add("counter", "agent_vault_oauth_refreshes_total", "Access tokens asked for at providers.", () =>
    oauthRefresher.results.samples(),
  );
  metrics.add("counter", "agent_vault_scope_lookups_total", "Tokens looked up in the database.", () => scopes.lookups);
  metrics.add("counter", "agent_vault_snapshot_loads_total", "Vaults read from the database.", () => snapshots.loads);
}

export function observeAuthority(metrics: Metrics, authority: Authority): void {
  metrics.add("counter", "agent_vault_leaf_mints_total", "Certificates made.", () => authority.minted);
  metrics.add(
    "gauge",
    "agent_vault_root_certificate_expiry_timestamp_seconds",
    "When the root ends, since the epoch.",
    () => Math.round(authority.expiresAtMs / 1000),
  );
}

export function observeDns(metrics: Metrics, dns: DnsCache): void {
  metrics.add("counter", "agent_vault_dns_lookups_total", "Names asked for, by what came of it.", () =>
    dns.lookups.samples(),
  );
}
