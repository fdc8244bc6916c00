/**
 * Waiting for a proposal to end. Nobody polls: whoever waits is woken by the announcement of a change, and those who
 * wait for the same proposal share one read of the database.
 */
import { RateLimited } from "../../errors.ts";
import type { Change, Changes } from "../../storage/changes.ts";
import type { Proposal } from "./proposal.ts";
import type { Proposals } from "./proposals.ts";

export interface WaitRequest {
  readonly vaultId: string;
  readonly number: number;
  /** Who waits; a caller may wait a few times at once. */
  readonly caller: string;
  readonly timeoutMs: number;
  /** Ends the wait early: the caller went away. */
  readonly signal: AbortSignal;
}

/** No more than this at once: each holds a connection. */
const maxWaiting = 1_000;
const maxPerCaller = 16;
const retryAfterSeconds = 5;

export class ProposalWaiting {
  readonly #proposals: Proposals;
  readonly #wakers = new Map<string, Set<() => void>>();
  readonly #callers = new Map<string, number>();
  readonly #reads = new Map<string, Promise<Proposal | undefined>>();
  readonly #stopWatching: () => void;
  #count = 0;
  #isClosed = false;

  constructor(options: { readonly changes: Changes; readonly proposals: Proposals }) {
    this.#proposals = options.proposals;
    this.#stopWatching = options.changes.watch((change) => this.#wake(change));
  }

  /**
   * The proposal once it is not pending any more, or as it is when the time is over.
   * @throws {RateLimited} `too_many_waiting`.
   */
  async untilEnded(request: WaitRequest): Promise<Proposal | undefined> {
    const { vaultId, number, caller, signal } = request;
    const leave = this.#enter(caller);
    const endsAtMs = performance.now() + request.timeoutMs;
    try {
      for (;;) {
        // Listening begins before the look, so that a change in between is not missed.
        const change = this.#nextChange(keyOf(vaultId, number), signal);
        try {
          const proposal = await this.#read(vaultId, number);
          const leftMs = endsAtMs - performance.now();
          if (proposal?.status !== "pending" || leftMs <= 0 || signal.aborted || this.#isClosed) return proposal;
          await change.within(leftMs);
        } finally {
          change.end();
        }
      }
    } finally {
      leave();
    }
  }

  /** How many wait, for tests and metrics. */
  get count(): number {
    return this.#count;
  }

  /** Lets everybody go who waits, with what there is. */
  close(): void {
    this.#isClosed = true;
    this.#stopWatching();
    for (const wakers of this.#wakers.values()) for (const wake of wakers) wake();
  }

  #enter(caller: string): () => void {
    const own = this.#callers.get(caller) ?? 0;
    if (this.#count >= maxWaiting || own >= maxPerCaller) {
      throw new RateLimited("too_many_waiting", "Too many requests wait for proposals; ask without waiting", {
        retryAfterSeconds,
      });
    }
    this.#count += 1;
    this.#callers.set(caller, own + 1);
    return () => {
      this.#count -= 1;
      const left = (this.#callers.get(caller) ?? 1) - 1;
      if (left === 0) this.#callers.delete(caller);
      else this.#callers.set(caller, left);
    };
  }

  /** Those who were woken by the same change join one read. */
  #read(vaultId: string, number: number): Promise<Proposal | undefined> {
    const key = keyOf(vaultId, number);
    const running = this.#reads.get(key);
    if (running !== undefined) return running;
    const reading = this.#proposals.find(vaultId, number).finally(() => {
      if (this.#reads.get(key) === reading) this.#reads.delete(key);
    });
    this.#reads.set(key, reading);
    return reading;
  }

  #nextChange(key: string, signal: AbortSignal) {
    const changed = Promise.withResolvers<void>();
    const wake = () => changed.resolve();
    const wakers = this.#wakers.get(key) ?? new Set();
    this.#wakers.set(key, wakers);
    wakers.add(wake);
    signal.addEventListener("abort", wake);
    let timer: ReturnType<typeof setTimeout> | undefined;
    return {
      within: (milliseconds: number) => {
        timer = setTimeout(wake, milliseconds);
        return changed.promise;
      },
      end: () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        wakers.delete(wake);
        if (wakers.size === 0 && this.#wakers.get(key) === wakers) this.#wakers.delete(key);
      },
    };
  }

  #wake(change: Change): void {
    if (change.kind !== "proposal" && change.kind !== "vault" && change.kind !== "everything") return;
    for (const [key, wakers] of this.#wakers) {
      const isMeant =
        change.kind === "everything" ||
        (change.kind === "proposal"
          ? key === keyOf(change.vaultId, change.number)
          : key.startsWith(`${change.vaultId}/`));
      if (!isMeant) continue;
      // A read that began before the change may not show it: whoever wakes now must not join it.
      this.#reads.delete(key);
      for (const wake of wakers) wake();
    }
  }
}

function keyOf(vaultId: string, number: number): string {
  return `${vaultId}/${number}`;
}
