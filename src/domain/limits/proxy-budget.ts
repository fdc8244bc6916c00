/**
 * What a token may do through the proxy: requests per second, requests at once, streams at once. A token has a budget of
 * its own, so that one busy agent does not starve the others of its person; and all tokens of one actor in one vault share
 * a larger one, so that minting tokens is no way round the limits.
 *
 * Places are taken and given back without a promise; only who finds none waits for one.
 */
import { RateLimited } from "../../errors.ts";
import type { Ephemeral, SharedLevel } from "../../storage/ephemeral.ts";

export interface ProxyBudgetSettings {
  /** The limits are switched off: places are counted and never refused. */
  readonly isOff: boolean;
  /** Requests per second. */
  readonly rate: number;
  readonly burst: number;
  /** Requests at once; and, counted by themselves, WebSockets and event streams. */
  readonly concurrency: number;
  /** How long a request waits for a place. */
  readonly waitMs: number;
}

/** Whom a budget is for. Every scope has all three. */
export interface BudgetKey {
  readonly sessionId: string;
  readonly actorId: string;
  readonly vaultId: string;
}

/** What all tokens of an actor may do together, in budgets of one token. */
export const actorShare = 4;
/** Above this many budgets those that would start anew without a difference are forgotten. */
const sweepAbove = 10_000;

export type ProxyLimit = "rate" | "concurrency" | "streams";

/** A request is above a limit. The journal tells the two kinds apart (spec of the proxy, section 9.2). */
export class ProxyLimited extends RateLimited {
  readonly journalCode: "rate_limit_scope" | "concurrency_scope";

  constructor(which: ProxyLimit, limit: number, retryAfterSeconds: number) {
    super("too_many_requests", explanations[which], { retryAfterSeconds, details: { limit } });
    this.journalCode = which === "rate" ? "rate_limit_scope" : "concurrency_scope";
  }
}

const explanations: Readonly<Record<ProxyLimit, string>> = {
  rate: "This token sends requests faster than it may; try again later",
  concurrency: "This token has too many requests under way; try again when one has ended",
  streams: "This token has too many WebSockets open; try again when one has closed",
};

/** Tokens of a bucket and places taken: of one token, or of all tokens of an actor in a vault. */
class Level implements SharedLevel {
  readonly share: number;
  tokens: number;
  filledAtMs: number;
  requests = 0;
  streams = 0;
  /** Budgets that draw on it. */
  users = 0;
  readonly #unshare: () => void;
  readonly waiting = new Set<Waiter>();

  constructor({ share, burst, nowMs, key, ephemeral }: LevelOptions) {
    this.share = share;
    this.tokens = burst * share;
    this.filledAtMs = nowMs;
    this.#unshare = ephemeral.share(key, this);
  }

  /** Nobody draws on it any more. */
  end(): void {
    this.#unshare();
  }

  refill({ rate, burst }: ProxyBudgetSettings, nowMs: number): void {
    // A clock that was set back must not take tokens away.
    const elapsedSeconds = Math.max(0, nowMs - this.filledAtMs) / 1000;
    this.tokens = Math.min(burst * this.share, this.tokens + elapsedSeconds * rate * this.share);
    this.filledAtMs = nowMs;
  }

  /** Would a new one be just the same? */
  isFresh(settings: ProxyBudgetSettings, nowMs: number): boolean {
    this.refill(settings, nowMs);
    return this.requests + this.streams + this.waiting.size === 0 && this.tokens >= settings.burst * this.share;
  }
}

interface LevelOptions {
  readonly share: number;
  readonly burst: number;
  readonly nowMs: number;
  readonly key: string;
  readonly ephemeral: Pick<Ephemeral, "share">;
}

interface Waiter {
  readonly budget: ProxyBudget;
  readonly resolve: () => void;
}

/** The budgets of one process. Settings change in place: what is taken stays counted. */
export class ProxyBudgets {
  /** Refusals since the start. */
  readonly denials: Record<ProxyLimit, number> = { rate: 0, concurrency: 0, streams: 0 };
  readonly #budgets = new Map<string, ProxyBudget>();
  readonly #shared = new Map<string, Level>();
  readonly #ephemeral: Pick<Ephemeral, "share">;
  #settings: ProxyBudgetSettings;
  #sweepAt = sweepAbove;

  /** @param ephemeral where what is taken here is known to others. */
  constructor(settings: ProxyBudgetSettings, ephemeral: Pick<Ephemeral, "share">) {
    this.#settings = settings;
    this.#ephemeral = ephemeral;
  }

  get settings(): ProxyBudgetSettings {
    return this.#settings;
  }

  set settings(settings: ProxyBudgetSettings) {
    this.#settings = settings;
    // There may be room now for those who wait.
    for (const level of this.#shared.values()) this.wake(level);
  }

  /** To be kept with whatever lives on the key, and asked for again once it `isForgotten`. */
  budgetFor({ sessionId, actorId, vaultId }: BudgetKey, nowMs: number): ProxyBudget {
    const sharedKey = `${actorId}\n${vaultId}`;
    const key = `${sessionId}\n${sharedKey}`;
    const known = this.#budgets.get(key);
    if (known !== undefined) return known;
    if (this.#budgets.size >= this.#sweepAt) this.#sweep(nowMs);
    const { burst } = this.#settings;
    const ephemeral = this.#ephemeral;
    const shared =
      this.#shared.get(sharedKey) ??
      new Level({ share: actorShare, burst, nowMs, key: `actor\n${sharedKey}`, ephemeral });
    this.#shared.set(sharedKey, shared);
    shared.users++;
    const own = new Level({ share: 1, burst, nowMs, key: `token\n${key}`, ephemeral });
    const budget = new ProxyBudget(this, { own, shared, sharedKey });
    this.#budgets.set(key, budget);
    return budget;
  }

  /** Lets in who waits on `level` and has room now, in the order of arrival. */
  wake(level: Level): void {
    for (const waiter of level.waiting) {
      if (!waiter.budget.hasRoom) continue;
      waiter.budget.take();
      waiter.resolve();
    }
  }

  /** Whoever comes back later finds what he would have found: nothing taken and the bucket full. */
  #sweep(nowMs: number): void {
    for (const [key, budget] of this.#budgets) {
      if (!budget.isFresh(nowMs)) continue;
      this.#budgets.delete(key);
      budget.isForgotten = true;
      const { own, shared, sharedKey } = budget.levels;
      own.end();
      shared.users--;
      if (shared.users > 0) continue;
      shared.end();
      this.#shared.delete(sharedKey);
    }
    this.#sweepAt = Math.max(sweepAbove, this.#budgets.size * 2);
  }
}

interface Levels {
  readonly own: Level;
  readonly shared: Level;
  readonly sharedKey: string;
}

export class ProxyBudget {
  isForgotten = false;
  readonly levels: Levels;
  readonly #owner: ProxyBudgets;

  constructor(owner: ProxyBudgets, levels: Levels) {
    this.#owner = owner;
    this.levels = levels;
  }

  /**
   * Counts one more request.
   * @throws {ProxyLimited} when that is one too many for now; it is not counted then.
   */
  count(nowMs: number): void {
    const { settings, denials } = this.#owner;
    if (settings.isOff) return;
    const { own, shared } = this.levels;
    own.refill(settings, nowMs);
    shared.refill(settings, nowMs);
    if (own.tokens < 1 || shared.tokens < 1) {
      denials.rate++;
      const short = own.tokens < 1 ? own : shared;
      const waitSeconds = settings.rate > 0 ? (1 - short.tokens) / (settings.rate * short.share) : 60;
      throw new ProxyLimited("rate", settings.burst * short.share, Math.max(1, Math.ceil(waitSeconds)));
    }
    own.tokens -= 1;
    shared.tokens -= 1;
  }

  get hasRoom(): boolean {
    const { isOff, concurrency } = this.#owner.settings;
    const { own, shared } = this.levels;
    return isOff || (own.requests < concurrency && shared.requests < concurrency * actorShare);
  }

  /** Takes the place of a request, whether or not there is room. */
  take(): void {
    this.levels.own.requests++;
    this.levels.shared.requests++;
  }

  /** Gives back what `take` or `wait` took. */
  leave(): void {
    const { own, shared } = this.levels;
    own.requests--;
    shared.requests--;
    if (shared.waiting.size > 0) this.#owner.wake(shared);
  }

  /**
   * Waits for the place of a request.
   * @param signal ends the waiting.
   * @returns true once a place is taken, false when the signal came first.
   * @throws {ProxyLimited} when none came free in time, or too many wait already.
   */
  async wait(signal: AbortSignal): Promise<boolean> {
    const { settings, denials } = this.#owner;
    const { own, shared } = this.levels;
    // Whoever waits holds a connection and a head in memory: no more of those than of the requests themselves.
    const mayWait = own.waiting.size < settings.concurrency;
    if (mayWait && (await this.#queue(settings.waitMs, signal))) return true;
    if (signal.aborted) return false;
    denials.concurrency++;
    throw new ProxyLimited("concurrency", own.requests < settings.concurrency ? shared.requests : own.requests, 1);
  }

  /** The place of a WebSocket: at once or not at all, for they last. @throws {ProxyLimited} */
  takeStream(): void {
    if (this.#takeStreamIfRoom()) return;
    this.#owner.denials.streams++;
    throw new ProxyLimited("streams", this.#owner.settings.concurrency, 1);
  }

  /**
   * The request turned out to be an event stream: its place is for another one, if there is room among the streams.
   * @returns whether it is a stream now.
   */
  becomeStream(): boolean {
    if (!this.#takeStreamIfRoom()) return false;
    this.leave();
    return true;
  }

  leaveStream(): void {
    this.levels.own.streams--;
    this.levels.shared.streams--;
  }

  isFresh(nowMs: number): boolean {
    const { settings } = this.#owner;
    const { own, shared } = this.levels;
    // The shared level outlives this budget unless it was the last one.
    return own.isFresh(settings, nowMs) && (shared.users > 1 || shared.isFresh(settings, nowMs));
  }

  #takeStreamIfRoom(): boolean {
    const { isOff, concurrency } = this.#owner.settings;
    const { own, shared } = this.levels;
    if (!isOff && (own.streams >= concurrency || shared.streams >= concurrency * actorShare)) return false;
    own.streams++;
    shared.streams++;
    return true;
  }

  #queue(waitMs: number, signal: AbortSignal): Promise<boolean> {
    const { own, shared } = this.levels;
    return new Promise((resolve) => {
      const end = (isLetIn: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        own.waiting.delete(waiter);
        shared.waiting.delete(waiter);
        resolve(isLetIn);
      };
      const onAbort = (): void => end(false);
      const timer = setTimeout(() => end(false), waitMs);
      const waiter: Waiter = { budget: this, resolve: () => end(true) };
      signal.addEventListener("abort", onAbort);
      own.waiting.add(waiter);
      shared.waiting.add(waiter);
    });
  }
}
