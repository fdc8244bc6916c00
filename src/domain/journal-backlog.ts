/** Entries that wait in memory; those beyond the bound are coalesced, counted in one that stands for their kind. */
import type { JournalEntry } from "./journal-entry.ts";
import type { Counted } from "./journal-rows.ts";

/** Distinct kinds of coalesced entries; everything beyond is counted under the last. */
const maxKinds = 1_000;
const otherKinds = "";
/** Taken entries are dropped from the front of the array when there are this many of them. */
const compactAfter = 5_000;

export class JournalBacklog {
  readonly #maxEntries: number;
  /** Called when entries begin to be coalesced. */
  readonly #onCoalescing: () => void;
  /** Arrived entries; those before `#taken` are somebody else's. */
  #entries: JournalEntry[] = [];
  #taken = 0;
  /** Requests that were counted in the entry of another, since the start. */
  coalesced = 0;
  #coalesced = new Map<string, { readonly entry: JournalEntry; count: number }>();

  constructor(options: { readonly maxEntries: number; readonly onCoalescing: () => void }) {
    this.#maxEntries = options.maxEntries;
    this.#onCoalescing = options.onCoalescing;
  }

  /** Entries that wait one by one. */
  get size(): number {
    return this.#entries.length - this.#taken;
  }

  get isEmpty(): boolean {
    return this.size === 0 && this.#coalesced.size === 0;
  }

  /** @returns how many wait one by one now. */
  push(entry: JournalEntry): number {
    if (this.size >= this.#maxEntries) {
      this.#coalesce(entry);
      return this.size;
    }
    return this.#entries.push(entry) - this.#taken;
  }

  /** The oldest entries; once there are none, what was coalesced. */
  take(max: number): readonly Counted[] {
    const batch: Counted[] = [];
    const end = Math.min(this.#taken + max, this.#entries.length);
    for (const entry of this.#entries.slice(this.#taken, end)) batch.push({ entry, count: 1 });
    this.#taken = end;
    if (this.#taken === this.#entries.length || this.#taken >= compactAfter) {
      this.#entries = this.#entries.slice(this.#taken);
      this.#taken = 0;
    }
    if (batch.length > 0) return batch;
    const coalesced = [...this.#coalesced.values()];
    this.#coalesced = new Map();
    return coalesced;
  }

  /** Undoes a `take` of entries that wait one by one. */
  putBack(batch: readonly Counted[]): void {
    this.#entries = [...batch.map(({ entry }) => entry), ...this.#entries.slice(this.#taken)];
    this.#taken = 0;
  }

  #coalesce(entry: JournalEntry): void {
    const kind = `${entry.vaultId}\n${entry.sessionId}\n${entry.host}\n${entry.matchedService}\n${entry.status}\n${entry.errorCode}\n${entry.scrubbed?.found.join() ?? ""}`;
    const known = this.#coalesced.get(kind) ?? this.#coalesced.get(otherKinds);
    if (known !== undefined) {
      this.coalesced++;
      known.count++;
      return;
    }
    if (this.#coalesced.size === 0) this.#onCoalescing();
    this.#coalesced.set(this.#coalesced.size < maxKinds ? kind : otherKinds, { entry, count: 1 });
  }
}

/** How many requests the entries stand for. */
export function requestsOf(entries: readonly Counted[]): number {
  return entries.reduce((sum, { count }) => sum + count, 0);
}
