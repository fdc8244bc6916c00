/** The algorithms behind limits: token bucket, sliding window, slots. In memory, keyed, with a bounded number of keys. */

/** What a limit said about one event. */
export interface Verdict {
  readonly isAllowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** When trying again is worthwhile; 0 when allowed, else at least 1. */
  readonly retryAfterSeconds: number;
}

/** A stranger can invent keys; beyond this many the least recently used is forgotten. */
const maxKeys = 10_000;

/** Insertion order of a Map is its order of use: `touch` moves a key to the end. */
class RecentlyUsed<T> {
  readonly #entries = new Map<string, T>();

  touch(key: string, create: () => T): T {
    const known = this.#entries.get(key);
    const entry = known ?? create();
    if (known !== undefined) this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > maxKeys) {
      const oldest = this.#entries.keys().next().value;
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    return entry;
  }

  peek(key: string): T | undefined {
    return this.#entries.get(key);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}

export interface BucketSettings {
  /** Tokens per second. */
  readonly rate: number;
  readonly burst: number;
}

/** Starts full at `burst`, refills at `rate`. */
export class TokenBuckets {
  readonly #buckets = new RecentlyUsed<{ tokens: number; filledAtMs: number }>();
  settings: BucketSettings;

  constructor(settings: BucketSettings) {
    this.settings = settings;
  }

  take(key: string, nowMs: number): Verdict {
    const { rate, burst } = this.settings;
    const bucket = this.#buckets.touch(key, () => ({ tokens: burst, filledAtMs: nowMs }));
    const elapsedSeconds = Math.max(0, nowMs - bucket.filledAtMs) / 1000;
    bucket.tokens = Math.min(burst, bucket.tokens + elapsedSeconds * rate);
    bucket.filledAtMs = nowMs;
    if (bucket.tokens < 1) {
      return denied(burst, rate > 0 ? (1 - bucket.tokens) / rate : 60);
    }
    bucket.tokens -= 1;
    return { isAllowed: true, limit: burst, remaining: Math.floor(bucket.tokens), retryAfterSeconds: 0 };
  }
}

export interface WindowSettings {
  readonly max: number;
  readonly windowMs: number;
}

/** At most `max` events within `windowMs`; events that were refused do not count. */
export class SlidingWindows {
  readonly #events = new RecentlyUsed<number[]>();
  settings: WindowSettings;

  constructor(settings: WindowSettings) {
    this.settings = settings;
  }

  record(key: string, nowMs: number): Verdict {
    const events = this.#events.touch(key, () => []);
    const verdict = this.#judge(events, nowMs);
    if (!verdict.isAllowed) return verdict;
    events.push(nowMs);
    return { ...verdict, remaining: verdict.remaining - 1 };
  }

  /** What `record` would say, without counting. */
  peek(key: string, nowMs: number): Verdict {
    return this.#judge(this.#events.peek(key) ?? [], nowMs);
  }

  forget(key: string): void {
    this.#events.delete(key);
  }

  #judge(events: number[], nowMs: number): Verdict {
    const { max, windowMs } = this.settings;
    const from = nowMs - windowMs;
    while (events[0] !== undefined && events[0] <= from) events.shift();
    if (events.length >= max) return denied(max, ((events[0] ?? nowMs) - from) / 1000);
    return { isAllowed: true, limit: max, remaining: max - events.length, retryAfterSeconds: 0 };
  }
}

export interface SlotSettings {
  readonly concurrency: number;
  /** How long to wait for a slot before giving up. */
  readonly waitMs: number;
}

interface SlotState {
  taken: number;
  readonly waiting: Set<() => void>;
}

/** A counting semaphore per key. */
export class Slots {
  readonly #states = new Map<string, SlotState>();
  settings: SlotSettings;

  constructor(settings: SlotSettings) {
    this.settings = settings;
  }

  /** A slot, to be given back by calling it once; undefined when none came free in time. */
  async enter(key: string): Promise<(() => void) | undefined> {
    const state = this.#states.get(key) ?? { taken: 0, waiting: new Set() };
    this.#states.set(key, state);
    if (state.taken < this.settings.concurrency) {
      state.taken++;
      return this.#release(key, state);
    }
    const isWoken = await new Promise<boolean>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        state.waiting.delete(wake);
        resolve(false);
      }, this.settings.waitMs);
      state.waiting.add(wake);
    });
    return isWoken ? this.#release(key, state) : undefined;
  }

  #release(key: string, state: SlotState): () => void {
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      const next = state.waiting.values().next().value;
      if (next !== undefined) {
        // The slot passes on; it is never free in between.
        state.waiting.delete(next);
        next();
        return;
      }
      state.taken--;
      if (state.taken === 0) this.#states.delete(key);
    };
  }
}

function denied(limit: number, retryAfterSeconds: number): Verdict {
  return { isAllowed: false, limit, remaining: 0, retryAfterSeconds: Math.max(1, Math.ceil(retryAfterSeconds)) };
}
