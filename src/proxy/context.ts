import type { Clock } from "../domain/clock.ts";
import type { JournalSink } from "../domain/journal-entry.ts";
import type { SnapshotSource } from "../domain/vaults/snapshot.ts";
import type { Logger } from "../log.ts";
import type { Outbound } from "../net/outbound.ts";
import type { Tracing } from "../telemetry/telemetry.ts";
import type { Admissions } from "./admission.ts";
import type { Authenticator } from "./authenticate.ts";
import type { ConnectionCaps } from "./connection-caps.ts";
import type { Deadlines, ProxyTimeouts } from "./deadlines.ts";
import type { ProxyMetrics } from "./metrics.ts";
import type { OpenConnections } from "./open-connections.ts";
import type { Outboxes } from "./outboxes.ts";
import type { Paces } from "./pace.ts";
import type { Pool } from "./pool.ts";
import type { RefusedTokens } from "./refused-tokens.ts";
import type { SharedPool } from "./shared-pool.ts";

/** What every exchange of a proxy works with. */
export interface ProxyContext {
  readonly authenticator: Authenticator;
  readonly admissions: Admissions;
  readonly open: OpenConnections;
  readonly caps: ConnectionCaps;
  readonly metrics: ProxyMetrics;
  readonly snapshots: SnapshotSource;
  readonly pool: Pool;
  readonly refusedTokens: RefusedTokens;
  /** For requests that came over HTTP/2. */
  readonly streams: SharedPool;
  /** For what is never used again, and so goes past the pool. */
  readonly outbound: Outbound;
  readonly journal: JournalSink;
  /** Undefined where no traces are told. */
  readonly tracing: Tracing | undefined;
  readonly log: Logger;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly timeouts: ProxyTimeouts;
  readonly paces: Paces;
  readonly outboxes: Outboxes;
  /** Where the API is, for the `help` of refusals. */
  readonly baseUrl: string | undefined;
  readonly maxRequestBytes: number;
  /** 0 is unlimited. */
  readonly maxResponseBytes: number;
}
