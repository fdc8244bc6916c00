/**
 * Short-lived state that several parts of the program share: counters of a window, values that expire by themselves.
 * In memory for now, so per process; the interface is asynchronous because a shared store will stand behind it.
 *
 * Not on unstorage's memory driver: it neither expires values nor adds to a number in one step.
 */
export interface Ephemeral {
  /**
   * Adds to a counter and returns its new value. The first addition starts the counter's life of `ttlMs`; later ones
   * do not prolong it.
   */
  add(key: string, amount: number, ttlMs: number): Promise<number>;
  /** Replaces the value and starts its life anew. */
  set(key: string, value: string, ttlMs: number): Promise<void>;
  /** The value of `set`, or a counter as text. */
  find(key: string): Promise<string | undefined>;
  /** Finds and removes in one step: of several who ask at the same time, one gets it. */
  take(key: string): Promise<string | undefined>;
  remove(key: string): Promise<void>;
}

interface Entry {
  readonly value: string | number;
  readonly expiresAtMs: number;
}

/** Above this, adding a key first clears what has expired: no timer, and no growth by keys that are never read again. */
const sweepAbove = 10_000;

export class MemoryEphemeral implements Ephemeral {
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  #sweepAt = sweepAbove;

  constructor(clock: { now(): number }) {
    this.#now = () => clock.now();
  }

  async add(key: string, amount: number, ttlMs: number): Promise<number> {
    const entry = this.#live(key);
    const value = Number(entry?.value ?? 0) + amount;
    this.#put(key, { value, expiresAtMs: entry?.expiresAtMs ?? this.#now() + ttlMs });
    return value;
  }

  async set(key: string, value: string, ttlMs: number): Promise<void> {
    this.#put(key, { value, expiresAtMs: this.#now() + ttlMs });
  }

  async find(key: string): Promise<string | undefined> {
    const entry = this.#live(key);
    return entry && String(entry.value);
  }

  async take(key: string): Promise<string | undefined> {
    const entry = this.#live(key);
    this.#entries.delete(key);
    return entry && String(entry.value);
  }

  async remove(key: string): Promise<void> {
    this.#entries.delete(key);
  }

  #live(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (!entry || entry.expiresAtMs > this.#now()) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  #put(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    if (this.#entries.size < this.#sweepAt) return;
    const now = this.#now();
    for (const [other, { expiresAtMs }] of this.#entries) if (expiresAtMs <= now) this.#entries.delete(other);
    // When most are alive, sweeping at every addition would cost more than it frees.
    this.#sweepAt = Math.max(sweepAbove, this.#entries.size * 2);
  }
}
