import type { ScopeLease } from "../domain/actors/scope.ts";
import type { SnapshotSource, VaultSnapshot } from "../domain/vaults/snapshot.ts";
import { AppError, Unavailable } from "../errors.ts";
import type { Logger } from "../log.ts";

export type OpenKind = "tunnel" | "raw_tunnel" | "request" | "event_stream" | "websocket";

/** Something that lives on a lease: a tunnel, or a request under way. */
export interface Leased {
  readonly kind: OpenKind;
  /** Undefined while it is still looked up. */
  readonly lease: ScopeLease | undefined;
  /** The rules that let it in may have changed. It ends itself if these would not. */
  recheck(snapshot: VaultSnapshot): void;
  /** The server stops. What would go on and on ends itself as soon as it can in good order; asked again and again. */
  leave(): void;
  /** The server has waited long enough; for those that do not notice by their connection. */
  cut?(): void;
  /** The right to be here is gone. */
  revoke(error: AppError): void;
}

/** So many leases are looked up at a time: after a change that concerns all, the database is not to drown in them. */
const maxLookups = 16;
const lookEveryMs = 1_000;

/**
 * Everything that is open on behalf of somebody. Looks again once a second, and when a change is announced, whether they
 * may still be here: a download, an event stream or a WebSocket can outlive by far what it was let in with.
 */
export class OpenConnections {
  readonly #snapshots: SnapshotSource;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #all = new Set<Leased>();
  readonly #timer: NodeJS.Timeout;
  #soon: NodeJS.Immediate | undefined;
  #isLooking = false;
  #hasChanged = false;

  /** @param options.now epoch milliseconds. */
  constructor(options: { readonly snapshots: SnapshotSource; readonly log: Logger; readonly now: () => number }) {
    this.#snapshots = options.snapshots;
    this.#log = options.log;
    this.#now = options.now;
    this.#timer = setInterval(() => this.#start(), lookEveryMs);
    this.#timer.unref();
  }

  add(one: Leased): void {
    this.#all.add(one);
  }

  remove(one: Leased): void {
    this.#all.delete(one);
  }

  /** How many there are of each kind. */
  count(): ReadonlyMap<OpenKind, number> {
    const counts = new Map<OpenKind, number>([
      ["tunnel", 0],
      ["raw_tunnel", 0],
      ["request", 0],
      ["event_stream", 0],
      ["websocket", 0],
    ]);
    for (const { kind } of this.#all) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    return counts;
  }

  /** The server stops. */
  leave(): void {
    for (const one of this.#all) one.leave();
  }

  /** The server has waited long enough. */
  cut(): void {
    for (const one of this.#all) one.cut?.();
  }

  /** A change was announced. Changes that come together are looked at together. */
  lookSoon(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      this.#start();
    });
  }

  stop(): void {
    clearInterval(this.#timer);
    clearImmediate(this.#soon);
  }

  #start(): void {
    this.look().catch((error: unknown) => this.#log.error("open connections could not be checked", { error }));
  }

  /** Looks once, now. What changes meanwhile is looked at afterwards. */
  async look(): Promise<void> {
    if (this.#isLooking) {
      this.#hasChanged = true;
      return;
    }
    this.#isLooking = true;
    try {
      do {
        this.#hasChanged = false;
        await this.#checkLeases();
        await this.#checkRules();
      } while (this.#hasChanged);
    } finally {
      this.#isLooking = false;
    }
  }

  async #checkLeases(): Promise<void> {
    const now = this.#now();
    const stale = new Map<ScopeLease, Leased[]>();
    for (const one of this.#all) {
      const { lease } = one;
      if (lease !== undefined && !lease.isCurrent(now)) groupOf(stale, lease).push(one);
    }
    await inTurns([...stale], async ([lease, ones]) => {
      try {
        await lease.renew();
      } catch (error) {
        // A database that cannot be asked says nothing about the right to be here.
        if (!(error instanceof AppError)) throw error;
        if (!(error instanceof Unavailable)) for (const one of ones) one.revoke(error);
      }
    });
  }

  async #checkRules(): Promise<void> {
    const vaults = new Map<string, Leased[]>();
    for (const one of this.#all) if (one.lease) groupOf(vaults, one.lease.scope.vaultId).push(one);
    await inTurns([...vaults], async ([vaultId, ones]) => {
      try {
        const snapshot = this.#snapshots.current(vaultId) ?? (await this.#snapshots.load(vaultId));
        for (const one of ones) if (this.#all.has(one)) one.recheck(snapshot);
      } catch (error) {
        // A vault that is gone has taken its leases along.
        if (!(error instanceof AppError)) throw error;
      }
    });
  }
}

function groupOf<K, V>(groups: Map<K, V[]>, key: K): V[] {
  const known = groups.get(key);
  if (known) return known;
  const group: V[] = [];
  groups.set(key, group);
  return group;
}

/** Does `work` for each, some at a time. One that fails keeps none of the others from being done. */
async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  for (let at = 0; at < items.length; at += maxLookups) {
    const results = await Promise.allSettled(items.slice(at, at + maxLookups).map(work));
    for (const result of results) if (result.status === "rejected") failures.push(result.reason);
  }
  if (failures.length > 0) throw failures[0];
}
