/**
 * What limits count: state that matters for minutes, that nobody misses after a restart, and that is asked for far too
 * often for a table. One process keeps it in memory (ephemeral-memory.ts); several could share it in a store of their own.
 * Guesses of passwords and codes are not here: those survive a restart, in the database (domain/actors/failures.ts).
 */

/** What a limit said about one event. */
export interface Verdict {
  readonly isAllowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** When trying again is worthwhile; 0 when allowed, else at least 1. */
  readonly retryAfterSeconds: number;
}

/** At once where the answer is in memory, later where somebody has to be asked. */
export type Soon<T> = T | Promise<T>;

export interface BucketSettings {
  /** Tokens per second. */
  readonly rate: number;
  readonly burst: number;
}

/** A bucket for each key: it starts full at `burst` and refills at `rate`. */
export interface Buckets {
  settings: BucketSettings;
  take(key: string, nowMs: number): Soon<Verdict>;
}

export interface WindowSettings {
  readonly max: number;
  readonly windowMs: number;
}

/** At most `max` events of a key within `windowMs`; events that were refused do not count. */
export interface Windows {
  settings: WindowSettings;
  record(key: string, nowMs: number): Soon<Verdict>;
  /** What `record` would say, without counting. */
  peek(key: string, nowMs: number): Soon<Verdict>;
  forget(key: string): Soon<void>;
}

/** What one process knows of a count that several may share; see `Ephemeral.share`. */
export interface SharedLevel {
  tokens: number;
  readonly requests: number;
  readonly streams: number;
}

export interface Ephemeral {
  /** @param name tells the buckets of one limit from those of another. */
  buckets(name: string, settings: BucketSettings): Buckets;
  windows(name: string, settings: WindowSettings): Windows;
  /**
   * Lets others count on the same level. The caller goes on counting on its own copy, at once and without asking, because
   * requests are decided from it; a store that several processes share takes away what the others took, in the
   * background. @returns what ends that.
   */
  share(key: string, level: SharedLevel): () => void;
}
