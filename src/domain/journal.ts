/**
 * The journal of proxied requests. Entries wait in memory and are written in batches, so that no request waits for the
 * database. What the database does not take in time goes through a file beside it, in order, and from there to the
 * database when it is back, be it in another process. Only when the file is full, too, entries are coalesced, counted in
 * the one that stands for them.
 *
 *     record → memory → database
 *                  ╲      ╱
 *                 spill file          while the database is away or slow, and at an end that cannot wait for it
 *
 * Nothing is lost when the server is told to stop. A process that is killed loses what is only in memory: the last 250 ms
 * of requests; while the database is slow or away a second of them, and the batch of 500 that it was given last.
 */

import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Database } from "../storage/database.ts";
import type { Clock } from "./clock.ts";
import { DiscoveryTally } from "./discovery-tally.ts";
import { JournalBacklog, requestsOf } from "./journal-backlog.ts";
import { JournalContexts } from "./journal-contexts.ts";
import type { JournalEntry, JournalSink } from "./journal-entry.ts";
import {
  type JournalPage,
  type JournalQuery,
  type JournalSpan,
  latestJournalId,
  listJournal,
  readJournal,
} from "./journal-query.ts";
import { type Counted, insertEntries, withoutWritten } from "./journal-rows.ts";
import type { JournalSpill } from "./journal-spill.ts";

export interface JournalOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where entries go while the database is away; without it they wait in memory. The journal closes it. */
  readonly spill?: JournalSpill | undefined;
  /** Entries that may wait in memory; about half a kilobyte each. */
  readonly maxWaiting?: number;
  /** How long `close` goes on trying a database that does not answer. */
  readonly closeWithinMs?: number;
  /** After this time a batch without an answer is taken for one whose answer is lost. */
  readonly answerWithinMs?: number;
}

/** Rows per transaction: each commit writes whole pages, so few large ones cost half of many small ones. */
const batchRows = 500;
const flushAfterMs = 250;
/** 25 MiB or so: at 10,000 requests a second, five seconds of a database that hangs. */
const defaultMaxWaiting = 50_000;
/** A batch that takes longer is no reason to keep what comes after it in memory. */
const spillAfterMs = 1_000;
/** This many waiting entries do not wait for that. */
const spillAfterEntries = 5_000;
const retryAfterMs = 1_000;
/** A connection that leads nowhere says so only after a quarter of an hour. */
const defaultAnswerWithinMs = 30_000;

/** Called with the vaults that have new rows. */
export type JournalWatcher = (vaultIds: ReadonlySet<string>) => void;

export class Journal implements JournalSink {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #spill: JournalSpill | undefined;
  readonly #closeWithinMs: number;
  readonly #answerWithinMs: number;
  readonly #backlog: JournalBacklog;
  readonly #contexts: JournalContexts;
  /** Entries since the start: in the database, through the file, refused by the database for what they hold. */
  readonly stats = { written: 0, spilled: 0, refused: 0 };
  readonly #watchers = new Set<JournalWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  /** The batch that the database was given. */
  #inFlight: readonly Counted[] = [];
  /** The database did not take the last batch; until it answers again, nothing is sent to it. */
  #isAway = false;
  #isClosed = false;
  #isAbandoned = false;

  constructor(options: JournalOptions) {
    const maxEntries = options.maxWaiting ?? defaultMaxWaiting;
    this.#database = options.database;
    this.#log = options.log;
    this.#contexts = new JournalContexts(options.clock);
    this.#spill = options.spill;
    this.#closeWithinMs = options.closeWithinMs ?? 5_000;
    this.#answerWithinMs = options.answerWithinMs ?? defaultAnswerWithinMs;
    this.#backlog = new JournalBacklog({
      maxEntries,
      onCoalescing: () =>
        this.#log.warn("the journal cannot keep up: entries of one kind are written as one", { waiting: maxEntries }),
    });
    if (this.#spill?.isEmpty === false) {
      this.#log.info("journal entries of the last run are written now");
      this.#timer = setTimeout(() => this.#start(), 0);
    }
  }

  record(entry: JournalEntry): void {
    const waiting = this.#backlog.push(entry);
    if (this.#isAway || (this.#writing !== undefined && waiting >= spillAfterEntries)) {
      if (waiting % batchRows === 0) this.#spillWaiting(batchRows);
    } else if (waiting >= batchRows) {
      this.#start();
      return;
    }
    if (this.#writing === undefined) this.#wake();
  }

  /** Entries that wait in memory. */
  get waiting(): number {
    return this.#backlog.size;
  }

  /** Bytes that wait in the file. */
  get spillBytes(): number {
    return this.#spill?.bytes ?? 0;
  }

  /** Requests that are counted in the row of another, since the start. */
  get coalesced(): number {
    return this.#backlog.coalesced;
  }

  /** The database did not take the last batch. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** What is written so far, which trails the requests by a quarter of a second. */
  list(vaultId: string, query: JournalQuery): Promise<JournalPage> {
    return listJournal(this.#database, vaultId, query);
  }

  /** The newest row of a vault; 0 when there is none. */
  latestId(vaultId: string): Promise<number> {
    return latestJournalId(this.#database, vaultId);
  }

  /** A page of what came after a row, the oldest first; see `readJournal`. */
  read(vaultId: string, span: JournalSpan): ReturnType<typeof readJournal> {
    return readJournal(this.#database, vaultId, span);
  }

  /** Calls `watcher` after every batch that this process has written. Returns the function that ends it. */
  watch(watcher: JournalWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Everything that was recorded before this call is in the database when it resolves; for tests and for `close`. */
  async flush(): Promise<void> {
    while (!this.#backlog.isEmpty || this.#hasSpilled || this.#writing !== undefined) {
      if (this.#isAbandoned) return;
      this.#start();
      await this.#writing;
      if (this.#isAway) await new Promise((resolve) => setTimeout(resolve, flushAfterMs));
    }
  }

  /**
   * Writes what waits, then stops. What a database that is away or slow does not take goes into the spill file; what that
   * does not take either is reported in the log, by number.
   */
  async close(): Promise<void> {
    this.#isClosed = true;
    let deadline: NodeJS.Timeout | undefined;
    const expired = new Promise<void>((resolve) => {
      deadline = setTimeout(resolve, this.#isAway && this.#spill !== undefined ? 0 : this.#closeWithinMs);
    });
    await Promise.race([this.flush(), expired]);
    clearTimeout(deadline);
    clearTimeout(this.#timer);
    this.#isAbandoned = true;
    // The database may still take it, or have taken it: the next start looks.
    let lost = this.#keep(this.#inFlight, { isUncertain: true });
    let kept = this.#inFlight.length;
    while (!this.#backlog.isEmpty) {
      const batch = this.#backlog.take(batchRows);
      lost += this.#keep(batch, { isUncertain: false });
      kept += batch.length;
    }
    if (lost > 0) this.#log.error("journal entries could not be written before the end", { entries: lost });
    else if (kept > 0) this.#log.warn("journal entries are kept in a file and written at the next start");
    this.#spill?.close();
  }

  get #hasSpilled(): boolean {
    return this.#spill?.isEmpty === false;
  }

  /** @returns how many requests are lost. */
  #keep(entries: readonly Counted[], options: { readonly isUncertain: boolean }): number {
    if (entries.length === 0) return 0;
    if (this.#spill?.append(entries, options)) {
      this.stats.spilled += entries.length;
      return 0;
    }
    return requestsOf(entries);
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing !== undefined || this.#isAbandoned) return;
    this.#writing = this.#drain().finally(() => {
      this.#writing = undefined;
      if ((!this.#backlog.isEmpty || this.#hasSpilled) && !this.#isClosed) this.#wake();
    });
  }

  #wake(): void {
    this.#timer ??= setTimeout(() => this.#start(), this.#isAway ? retryAfterMs : flushAfterMs);
  }

  /** Writes batch after batch, with the event loop free in between; the file first, because it is older. */
  async #drain(): Promise<void> {
    // A batch that does not come back must not keep what follows it in memory.
    const watch = setInterval(() => this.#spillWaiting(Number.POSITIVE_INFINITY), spillAfterMs);
    try {
      if (this.#isAway && !(await this.#isReachable())) return;
      do {
        if (this.#hasSpilled) await this.#replay();
        else await this.#write(this.#backlog.take(batchRows));
        await new Promise((resolve) => setImmediate(resolve));
      } while (!this.#isAway && !this.#isAbandoned && this.#isWorthGoingOn);
    } finally {
      clearInterval(watch);
      if (this.#isAway) this.#spillWaiting(Number.POSITIVE_INFINITY);
    }
  }

  get #isWorthGoingOn(): boolean {
    if (this.#hasSpilled || this.#backlog.size >= batchRows) return true;
    // What was coalesced, or the rest before the end.
    return !this.#backlog.isEmpty && (this.#isClosed || this.#backlog.size === 0);
  }

  async #write(batch: readonly Counted[]): Promise<void> {
    if (batch.length === 0) return;
    this.#inFlight = batch;
    for (;;) {
      const isStored = await this.#store(batch);
      if (this.#isAbandoned) return;
      if (isStored || this.#keep(batch, { isUncertain: true }) === 0) break;
      // No file takes it: it waits here, and the others in memory.
      await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
      if (this.#isAbandoned) return;
    }
    this.#inFlight = [];
  }

  async #replay(): Promise<void> {
    const batch = this.#spill?.next(batchRows);
    if (batch === undefined) return;
    try {
      const entries = batch.isUncertain ? await withoutWritten(this.#database, batch.entries) : batch.entries;
      if (!(await this.#store(entries)) || this.#isAbandoned) return;
    } catch (error) {
      this.#noteAway(error);
      return;
    }
    this.#spill?.done(batch);
  }

  #spillWaiting(max: number): void {
    for (let moved = 0; moved < max && this.#backlog.size > 0 && this.#spill !== undefined; moved += batchRows) {
      const batch = this.#backlog.take(batchRows);
      if (this.#spill.append(batch, { isUncertain: false })) {
        this.stats.spilled += batch.length;
        continue;
      }
      this.#backlog.putBack(batch);
      return;
    }
  }

  /** @returns false when the database could not take the batch, and may another time. */
  async #store(batch: readonly Counted[]): Promise<boolean> {
    if (batch.length === 0) return true;
    try {
      await this.#insert(batch);
    } catch (error) {
      if (!this.#database.isRefusal(error)) {
        this.#noteAway(error);
        return false;
      }
      if (!(await this.#storeOneByOne(batch))) return false;
    }
    if (this.#isAway) this.#log.info("the journal is written to the database again");
    this.#isAway = false;
    this.stats.written += batch.length;
    await this.#tally(batch);
    const vaultIds = this.#watchers.size > 0 ? new Set(batch.map(({ entry }) => entry.vaultId)) : undefined;
    if (vaultIds !== undefined) for (const watcher of this.#watchers) watcher(vaultIds);
    return true;
  }

  /** With a spill file, which keeps a batch that nobody knows about, no longer than the time allows. */
  async #insert(batch: readonly Counted[]): Promise<void> {
    const inserting = insertEntries(this.#database, this.#contexts, batch);
    if (this.#spill === undefined) return inserting;
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("the database does not answer")), this.#answerWithinMs);
    });
    try {
      await Promise.race([inserting, expired]);
    } finally {
      clearTimeout(timer);
      // What comes of it after that is found when the batch is written again.
      inserting.catch(() => undefined);
    }
  }

  /** Whichever row the database objects to must not take the others along. */
  async #storeOneByOne(batch: readonly Counted[]): Promise<boolean> {
    for (const counted of batch) {
      try {
        await insertEntries(this.#database, this.#contexts, [counted]);
      } catch (error) {
        if (!this.#database.isRefusal(error)) {
          this.#noteAway(error);
          return false;
        }
        this.stats.refused++;
        this.stats.written--;
        const { requestId } = counted.entry;
        this.#log.warn("journal entry refused by the database", { requestId, error: messageOf(error) });
      }
    }
    return true;
  }

  /** Counts that are lost here are still in the rows. */
  async #tally(batch: readonly Counted[]): Promise<void> {
    const tally = new DiscoveryTally();
    for (const { entry, count } of batch) tally.add(entry, count);
    try {
      await tally.store(this.#database);
    } catch (error) {
      this.#log.warn("discovered hosts not updated", { error: messageOf(error) });
    }
  }

  #noteAway(error: unknown): void {
    if (!this.#isAway && !this.#isAbandoned) {
      this.#log.warn("the database does not take the journal, trying again", { error: messageOf(error) });
    }
    this.#isAway = true;
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
