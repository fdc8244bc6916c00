/** When credentials were last used: noted in memory, written in batches, so that no request waits for a write. */
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Database } from "../../storage/database.ts";
import type { Clock } from "../clock.ts";

export interface CredentialUsageOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
}

const flushIntervalMs = 60_000;
/** A database that stays away must not fill the memory. */
const maxNoted = 100_000;

export class CredentialUsage {
  readonly #options: CredentialUsageOptions;
  #usedAtMs = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: CredentialUsageOptions) {
    this.#options = options;
  }

  /** Within a minute it is written down. The proxy keeps headers for a minute, so times are true to about two. */
  note(credentialId: string): void {
    if (this.#usedAtMs.size >= maxNoted && !this.#usedAtMs.has(credentialId)) return;
    this.#usedAtMs.set(credentialId, this.#options.clock.now());
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => void this.flush(), flushIntervalMs);
    this.#timer.unref();
  }

  /** Writes what was noted, in one transaction. Never rejects: what could not be written is tried with the next batch. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  async #write(): Promise<void> {
    const { database, log } = this.#options;
    const batch = this.#usedAtMs;
    if (batch.size === 0) return;
    this.#usedAtMs = new Map();
    try {
      await database.transaction(async (tx) => {
        // In one order everywhere: two instances that write the same rows must not wait for each other.
        for (const [id, usedAtMs] of [...batch].sort(([one], [other]) => (one < other ? -1 : 1))) {
          const usedAt = new Date(usedAtMs).toISOString();
          await tx
            .updateTable("credentials")
            .set({ last_used_at: usedAt })
            .where("id", "=", id)
            .where((on) => on.or([on("last_used_at", "is", null), on("last_used_at", "<", usedAt)]))
            .execute();
        }
      });
    } catch (error) {
      log.warn("cannot note the use of credentials", { error: messageOf(error) });
      for (const [id, usedAtMs] of batch) if (!this.#usedAtMs.has(id)) this.#usedAtMs.set(id, usedAtMs);
    }
  }
}
