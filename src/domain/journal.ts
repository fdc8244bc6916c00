/**
 * The journal of proxied requests. Entries wait in memory and are written in batches, so that no request waits for the
 * database; what the database cannot take in time is coalesced, counted in the row that stands for it, never just lost.
 */

import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import { DiscoveryTally } from "./discovery-tally.ts";
import type { JournalEntry, JournalSink } from "./journal-entry.ts";
import { type JournalPage, type JournalQuery, listJournal } from "./journal-query.ts";

export interface JournalOptions {
  readonly database: Database;
  readonly log: Logger;
  /** Entries that may wait; about half a kilobyte each. */
  readonly maxWaiting?: number;
  /** How long `close` goes on trying a database that does not answer. */
  readonly closeWithinMs?: number;
}

/** Rows per transaction: each commit writes whole pages, so few large ones cost half of many small ones. */
const batchRows = 500;
const flushAfterMs = 250;
/** 25 MiB or so: at 10,000 requests a second, five seconds of a database that hangs. */
const defaultMaxWaiting = 50_000;
/** Distinct kinds of coalesced entries; everything beyond is counted under the last. */
const maxCoalesced = 1_000;
const retryAfterMs = 1_000;
const maxPathCharacters = 2_048;

/** Written entries are dropped from the front of the queue when there are this many of them. */
const compactAfter = 5_000;

/** `counts` says how many requests each entry stands for; undefined when it is one each. */
interface Batch {
  readonly entries: readonly JournalEntry[];
  readonly counts: readonly number[] | undefined;
}

/** An entry that stands for `count` of its kind. */
interface Coalesced {
  readonly entry: JournalEntry;
  count: number;
}

export class Journal implements JournalSink {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #maxWaiting: number;
  readonly #closeWithinMs: number;
  /** Arrived entries; those before `#taken` are written or being written. */
  #entries: JournalEntry[] = [];
  #taken = 0;
  #coalesced = new Map<string, Coalesced>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  /** Requests of the batch that is being written. */
  #inFlight = 0;
  #isClosed = false;
  #isAbandoned = false;

  constructor(options: JournalOptions) {
    this.#database = options.database;
    this.#log = options.log;
    this.#maxWaiting = options.maxWaiting ?? defaultMaxWaiting;
    this.#closeWithinMs = options.closeWithinMs ?? 5_000;
  }

  record(entry: JournalEntry): void {
    if (this.#entries.length - this.#taken >= this.#maxWaiting) {
      this.#coalesce(entry);
      return;
    }
    const count = this.#entries.push(entry) - this.#taken;
    if (this.#writing !== undefined) return;
    if (count === 1) this.#timer = setTimeout(() => this.#start(), flushAfterMs);
    else if (count === batchRows) this.#start();
  }

  /** What is written so far, which trails the requests by a quarter of a second. */
  list(vaultId: string, query: JournalQuery): Promise<JournalPage> {
    return listJournal(this.#database, vaultId, query);
  }

  /** Everything that was recorded before this call is written when it resolves; for tests and for `close`. */
  async flush(): Promise<void> {
    while (this.#waiting > 0 || this.#coalesced.size > 0 || this.#writing !== undefined) {
      this.#start();
      await this.#writing;
    }
  }

  /** Writes what waits, then stops. What a database that is away cannot take is reported in the log, by number. */
  async close(): Promise<void> {
    this.#isClosed = true;
    let deadline: NodeJS.Timeout | undefined;
    const expired = new Promise<void>((resolve) => {
      deadline = setTimeout(resolve, this.#closeWithinMs);
    });
    await Promise.race([this.flush(), expired]);
    clearTimeout(deadline);
    clearTimeout(this.#timer);
    this.#isAbandoned = true;
    const lost = this.#inFlight + this.#waiting + sumOf(this.#coalesced.values());
    if (lost > 0) this.#log.error("journal entries could not be written before the end", { entries: lost });
    this.#entries = [];
    this.#taken = 0;
    this.#coalesced.clear();
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing !== undefined) return;
    this.#writing = this.#drain().finally(() => {
      this.#writing = undefined;
      // Entries that came while the last batch was being written, too few to have asked for a batch of their own.
      if (this.#waiting > 0 && !this.#isClosed) this.#timer = setTimeout(() => this.#start(), flushAfterMs);
    });
  }

  get #waiting(): number {
    return this.#entries.length - this.#taken;
  }

  /** Writes batch after batch, with the event loop free in between. */
  async #drain(): Promise<void> {
    do {
      await this.#write(this.#take());
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#waiting >= batchRows || this.#coalesced.size > 0 || (this.#isClosed && this.#waiting > 0));
  }

  /** The next entries; once there are none, what was coalesced. */
  #take(): Batch {
    const entries = this.#entries.slice(this.#taken, this.#taken + batchRows);
    this.#taken += entries.length;
    if (this.#taken === this.#entries.length || this.#taken >= compactAfter) {
      this.#entries = this.#entries.slice(this.#taken);
      this.#taken = 0;
    }
    if (entries.length > 0) return { entries, counts: undefined };
    const coalesced = [...this.#coalesced.values()];
    this.#coalesced = new Map();
    return { entries: coalesced.map(({ entry }) => entry), counts: coalesced.map(({ count }) => count) };
  }

  #coalesce(entry: JournalEntry): void {
    const kind = `${entry.vaultId}\n${entry.sessionId}\n${entry.host}\n${entry.matchedService}\n${entry.status}\n${entry.errorCode}`;
    const known = this.#coalesced.get(kind) ?? this.#coalesced.get(otherKinds);
    if (known !== undefined) {
      known.count++;
      return;
    }
    if (this.#coalesced.size === 0) {
      this.#log.warn("the journal cannot keep up: entries of one kind are written as one", {
        waiting: this.#maxWaiting,
      });
    }
    this.#coalesced.set(this.#coalesced.size < maxCoalesced ? kind : otherKinds, { entry, count: 1 });
  }

  async #write(batch: Batch): Promise<void> {
    if (batch.entries.length === 0) return;
    this.#inFlight = batch.counts?.reduce((sum, count) => sum + count, 0) ?? batch.entries.length;
    await this.#store(batch);
    if (!this.#isAbandoned) this.#inFlight = 0;
  }

  /** Returns when the batch is stored or cannot ever be, or when `close` has waited long enough. */
  async #store(batch: Batch): Promise<void> {
    const rows = toRows(batch);
    for (;;) {
      try {
        await this.#database.insertRows("request_log", columns, rows);
        break;
      } catch (error) {
        if (this.#isAbandoned) return;
        this.#log.warn("journal batch failed, trying again", { rows: rows.length, error: messageOf(error) });
        if (await this.#isReachable()) return this.#writeOneByOne(batch, rows);
        await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
      }
    }
    await this.#tally(batch);
  }

  /** The database works and refuses the batch: whichever row it objects to must not take the others along. */
  async #writeOneByOne(batch: Batch, rows: readonly Row[]): Promise<void> {
    for (const [index, row] of rows.entries()) {
      try {
        await this.#database.insertRows("request_log", columns, [row]);
      } catch (error) {
        const requestId = batch.entries[index]?.requestId;
        this.#log.warn("journal entry refused by the database", { requestId, error: messageOf(error) });
      }
    }
    await this.#tally(batch);
  }

  /** Counts that are lost here are still in the rows. */
  async #tally({ entries, counts }: Batch): Promise<void> {
    const tally = new DiscoveryTally();
    for (const [index, entry] of entries.entries()) tally.add(entry, counts?.[index] ?? 1);
    try {
      await tally.store(this.#database);
    } catch (error) {
      this.#log.warn("discovered hosts not updated", { error: messageOf(error) });
    }
  }

  async #isReachable(): Promise<boolean> {
    try {
      await this.#database.ping();
      return true;
    } catch {
      return false;
    }
  }
}

const otherKinds = "";

const columns = [
  "vault_id",
  "request_id",
  "actor_type",
  "actor_id",
  "session_id",
  "ingress",
  "method",
  "scheme",
  "host",
  "path",
  "matched_service",
  "credential_keys",
  "status",
  "error_code",
  "auth_scheme",
  "auth_header",
  "client_ip",
  "bytes_in",
  "bytes_out",
  "latency_ms",
  "upstream_ms",
  "flags",
  "created_at",
] as const satisfies readonly (keyof Schema["request_log"])[];

type Row = readonly (string | number | null)[];

function toRows({ entries, counts }: Batch): readonly Row[] {
  return entries.map((entry, index) => toRow(entry, counts?.[index] ?? 1));
}

function toRow(entry: JournalEntry, count: number): Row {
  return [
    entry.vaultId,
    entry.requestId,
    entry.actorType,
    entry.actorId,
    entry.sessionId,
    "mitm",
    storable(entry.method),
    entry.scheme,
    storable(entry.host),
    storable(entry.path),
    entry.matchedService,
    entry.credentialKeys.length === 0 ? "[]" : JSON.stringify(entry.credentialKeys),
    entry.status,
    entry.errorCode,
    entry.authScheme,
    entry.authHeader,
    entry.clientIp,
    Math.round(entry.bytesIn),
    Math.round(entry.bytesOut),
    Math.round(entry.latencyMs),
    entry.upstreamMs === null ? null : Math.round(entry.upstreamMs),
    count === 1 ? "{}" : JSON.stringify({ coalesced: count }),
    new Date(entry.startedAtMs).toISOString(),
  ];
}

function sumOf(coalesced: Iterable<Coalesced>): number {
  let sum = 0;
  for (const { count } of coalesced) sum += count;
  return sum;
}

/** PostgreSQL has no NUL in texts, and nobody reads more of a path than this. */
function storable(text: string): string {
  const cut = text.length > maxPathCharacters ? text.slice(0, maxPathCharacters) : text;
  return cut.includes("\u0000") ? cut.replaceAll("\u0000", "\ufffd") : cut;
}
