/**
 * Following the journal of a vault while it is written. A tail keeps nothing but a position: rows are read from the
 * database when the reader asks for more, so a slow reader costs no memory and misses nothing, and one that comes back
 * goes on where it was.
 */
import { RateLimited, Unavailable } from "../errors.ts";
import type { Changes } from "../storage/changes.ts";
import type { Database } from "../storage/database.ts";
import type { Journal } from "./journal.ts";
import { type JournalFilter, type JournalRow, latestJournalId, readJournal } from "./journal-query.ts";

export interface TailRequest {
  readonly vaultId: string;
  readonly filter: JournalFilter;
  /** The last row that the reader has; undefined for "from now on". */
  readonly after: number | undefined;
  /** Whose tail it is, for the limit on tails. */
  readonly reader: string;
  /** May the reader still see this? Asked again and again. */
  readonly isAllowed: () => Promise<boolean>;
}

export type TailEvent =
  | { readonly kind: "rows"; readonly rows: readonly JournalRow[]; readonly position: number }
  /** Nothing new for a while; a reader that goes on from `position` misses nothing. */
  | { readonly kind: "quiet"; readonly position: number }
  | { readonly kind: "end"; readonly reason: TailEnd; readonly position: number };

/** `access_ended`: the token, the role or the vault. `too_slow`: nothing was read for 30 seconds. */
export type TailEnd = "access_ended" | "server_stopping" | "too_slow";

export interface TailsOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly journal: Journal;
  /** A tail with nothing to tell says so this often. */
  readonly quietMs?: number;
}

const maxTails = 100;
const maxTailsPerReader = 8;
const pageRows = 200;
/** Rows that other servers of the same database have written. */
const pollMs = 1_000;
const defaultQuietMs = 15_000;
/** An answer to `isAllowed` is good for this long, unless something changes. */
const allowedForMs = 1_000;
/** A tail that has nothing to read asks at least this often. */
const idleCheckMs = 5_000;

export class JournalTails {
  readonly #options: TailsOptions;
  readonly #tails = new Set<JournalTail>();
  #stopListening: (() => void) | undefined;
  #isClosed = false;

  constructor(options: TailsOptions) {
    this.#options = options;
  }

  /** The caller closes it. @throws {RateLimited} `too_many_tails`. @throws {Unavailable} `server_stopping`. */
  async open(request: TailRequest): Promise<JournalTail> {
    // A reader that was told to come back does so at once, on the connection it has.
    if (this.#isClosed) {
      throw new Unavailable("server_stopping", "The server is being stopped; try again", { retryAfterSeconds: 2 });
    }
    const own = [...this.#tails].filter(({ reader }) => reader === request.reader);
    if (this.#tails.size >= maxTails || own.length >= maxTailsPerReader) {
      throw new RateLimited("too_many_tails", "The journal is followed by too many already; close one first", {
        retryAfterSeconds: 10,
      });
    }
    const { database, quietMs = defaultQuietMs } = this.#options;
    const tail = new JournalTail({ database, quietMs, request, onClose: () => this.#remove(tail) });
    this.#tails.add(tail);
    this.#stopListening ??= this.#listen();
    try {
      await tail.begin();
      return tail;
    } catch (error) {
      tail.close();
      throw error;
    }
  }

  /** Ends all of them and opens no more; for a server that stops. */
  close(): void {
    this.#isClosed = true;
    for (const tail of [...this.#tails]) tail.end("server_stopping");
  }

  #remove(tail: JournalTail): void {
    this.#tails.delete(tail);
    if (this.#tails.size > 0) return;
    this.#stopListening?.();
    this.#stopListening = undefined;
  }

  #listen(): () => void {
    const { journal, changes, database } = this.#options;
    const unwatchJournal = journal.watch((vaultIds) => {
      for (const tail of this.#tails) if (vaultIds.has(tail.vaultId)) tail.wake();
    });
    const unwatchChanges = changes.watch(() => {
      for (const tail of this.#tails) tail.wake({ checksAccess: true });
    });
    const poll = setInterval(() => {
      for (const tail of this.#tails) tail.wake();
    }, pollMs);
    // Nobody else writes the journal of an SQLite file.
    if (database.engine === "sqlite") clearInterval(poll);
    return () => {
      unwatchJournal();
      unwatchChanges();
      clearInterval(poll);
    };
  }
}

interface TailParts {
  readonly database: Database;
  readonly quietMs: number;
  readonly request: TailRequest;
  readonly onClose: () => void;
}

export class JournalTail {
  readonly #parts: TailParts;
  #position = 0;
  #allowedUntilMs = 0;
  /** Raised by `wake`: something may have happened since it was looked at. */
  #wakes = 0;
  #onWake: (() => void) | undefined;
  #ending: TailEnd | undefined;

  constructor(parts: TailParts) {
    this.#parts = parts;
  }

  get vaultId(): string {
    return this.#parts.request.vaultId;
  }

  get reader(): string {
    return this.#parts.request.reader;
  }

  get position(): number {
    return this.#position;
  }

  async begin(): Promise<void> {
    const { database, request } = this.#parts;
    const newest = await latestJournalId(database, request.vaultId);
    // A position that does not exist yet would be silent until it does.
    this.#position = Math.min(request.after ?? newest, newest);
  }

  /** Waits for what is next. Not to be called again before it resolves, nor after an end. */
  async next(): Promise<TailEvent> {
    const quietAtMs = Date.now() + this.#parts.quietMs;
    for (;;) {
      const wakes = this.#wakes;
      if (this.#ending === undefined && !(await this.#isAllowed())) this.#ending = "access_ended";
      if (this.#ending !== undefined) return { kind: "end", reason: this.#ending, position: this.#position };
      const rows = await this.#read();
      if (rows.length > 0) return { kind: "rows", rows, position: this.#position };
      const remainingMs = quietAtMs - Date.now();
      if (remainingMs <= 0) return { kind: "quiet", position: this.#position };
      if (wakes === this.#wakes) await this.#sleep(Math.min(remainingMs, idleCheckMs));
    }
  }

  /** Something happened: rows were written, or what the reader may see has changed. */
  wake(options: { readonly checksAccess?: boolean } = {}): void {
    if (options.checksAccess) this.#allowedUntilMs = 0;
    this.#wakes += 1;
    this.#onWake?.();
  }

  end(reason: TailEnd): void {
    this.#ending ??= reason;
    this.wake();
  }

  close(): void {
    this.end("server_stopping");
    this.#parts.onClose();
  }

  async #isAllowed(): Promise<boolean> {
    if (Date.now() < this.#allowedUntilMs) return true;
    const validUntilMs = Date.now() + allowedForMs;
    const wakes = this.#wakes;
    const isAllowed = await this.#parts.request.isAllowed();
    // A change that came meanwhile may be newer than the answer.
    if (isAllowed && wakes === this.#wakes) this.#allowedUntilMs = validUntilMs;
    return isAllowed;
  }

  async #read(): Promise<readonly JournalRow[]> {
    const { database, request } = this.#parts;
    const newest = await latestJournalId(database, request.vaultId);
    if (newest <= this.#position) return [];
    const from = { after: this.#position, upTo: newest, limit: pageRows };
    const { rows, next } = await readJournal(database, request.vaultId, { ...request.filter, ...from });
    this.#position = next;
    return rows;
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#onWake?.(), milliseconds);
      this.#onWake = () => {
        clearTimeout(timer);
        this.#onWake = undefined;
        resolve();
      };
    });
  }
}
