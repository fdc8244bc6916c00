/** `Ephemeral` in the memory of one process, with a bounded number of keys. */
import type { BucketSettings, Buckets, Ephemeral, SharedLevel, Verdict, WindowSettings, Windows } from "./ephemeral.ts";

/** A stranger can invent keys; beyond this many of one limit the least recently used is forgotten. */
const maxKeys = 10_000;

export class MemoryEphemeral implements Ephemeral {
  buckets(_name: string, settings: BucketSettings): TokenBuckets {
    return new TokenBuckets(settings);
  }

  windows(_name: string, settings: WindowSettings): SlidingWindows {
    return new SlidingWindows(settings);
  }

  share(_key: string, _level: SharedLevel): () => void {
    return alone;
  }
}

/** There is nobody to share with. */
const alone = (): void => undefined;

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

export class TokenBuckets implements Buckets {
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

export class SlidingWindows implements Windows {
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

function denied(limit: number, retryAfterSeconds: number): Verdict {
  return { isAllowed: false, limit, remaining: 0, retryAfterSeconds: Math.max(1, Math.ceil(retryAfterSeconds)) };
}
