import { CounterSet } from "../runtime/metrics.ts";
import type { ResolveName } from "./dns.ts";

/** Addresses of names, remembered for as long as they hold. Whoever uses one checks it anew: nothing here is a permission. */

export interface DnsCacheOptions {
  readonly resolve: ResolveName;
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  /** Bounds of the time to live that an answer brings. */
  readonly leastMs?: number;
  readonly mostMs?: number;
  /** For answers that bring none. */
  readonly unknownMs?: number;
  /** For names without an address. */
  readonly negativeMs?: number;
  readonly maxNames?: number;
}

interface Known {
  readonly addresses: readonly string[];
  readonly goodUntilMs: number;
}

export class DnsCache {
  readonly #resolve: ResolveName;
  readonly #now: () => number;
  readonly #leastMs: number;
  readonly #mostMs: number;
  readonly #unknownMs: number;
  readonly #negativeMs: number;
  readonly #maxNames: number;
  readonly #known = new Map<string, Known>();
  /** What came of asking, since the start; names that were remembered are not asked for. */
  readonly lookups = new CounterSet("result");
  readonly #flights = new Map<string, Promise<readonly string[]>>();

  constructor(options: DnsCacheOptions) {
    this.#resolve = options.resolve;
    this.#now = options.now ?? (() => performance.now());
    // A time to live of zero would make every new connection of a burst a query.
    this.#leastMs = options.leastMs ?? 1_000;
    // Whoever moves a service has changed its address within minutes, whatever its record says.
    this.#mostMs = options.mostMs ?? 5 * 60_000;
    this.#unknownMs = options.unknownMs ?? 10_000;
    this.#negativeMs = options.negativeMs ?? 2_000;
    this.#maxNames = options.maxNames ?? 4_096;
  }

  /**
   * The addresses of a name, at once while they are known, else asked for once for all who wait; empty when there is
   * none. An answer is never given after its time. Rejects when nobody could say, and remembers nothing of that.
   */
  lookup(host: string): readonly string[] | Promise<readonly string[]> {
    const known = this.#known.get(host);
    if (known !== undefined && this.#now() < known.goodUntilMs) return known.addresses;
    const running = this.#flights.get(host);
    if (running !== undefined) return running;
    const flight = this.#ask(host);
    this.#flights.set(host, flight);
    const over = () => {
      if (this.#flights.get(host) === flight) this.#flights.delete(host);
    };
    flight.then(over, over);
    return flight;
  }

  /** None of the addresses worked: the next one who wants to know asks again, and joins nobody who asked before. */
  forget(host: string): void {
    this.#known.delete(host);
    this.#flights.delete(host);
  }

  async #ask(host: string): Promise<readonly string[]> {
    const { addresses, ttlMs } = await this.#resolve(host).catch((error: unknown) => {
      this.lookups.raise("failed");
      throw error;
    });
    this.lookups.raise(addresses.length > 0 ? "found" : "no_address");
    this.#known.delete(host);
    this.#known.set(host, { addresses, goodUntilMs: this.#now() + this.#lifetimeMs(addresses, ttlMs) });
    // The map keeps the order of the answers: the first is the oldest.
    const oldest = this.#known.keys().next();
    if (this.#known.size > this.#maxNames && !oldest.done) this.#known.delete(oldest.value);
    return addresses;
  }

  #lifetimeMs(addresses: readonly string[], ttlMs: number | undefined): number {
    if (addresses.length === 0) return this.#negativeMs;
    if (ttlMs === undefined) return this.#unknownMs;
    return Math.min(Math.max(ttlMs, this.#leastMs), this.#mostMs);
  }
}
