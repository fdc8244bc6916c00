/** What the journal keeps in a file while the database is away, slow, or gone before the server was told to stop. */
import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Spool } from "../runtime/spool.ts";
import { type Counted, formatSpooled, parseSpooled } from "./journal-rows.ts";

/** Entries from the front of the file. */
export interface SpilledBatch {
  readonly entries: readonly Counted[];
  /** Some of them may be in the database already. */
  readonly isUncertain: boolean;
  /** For `done`. */
  readonly end: number;
}

export class JournalSpill {
  readonly #spool: Spool;
  readonly #log: Logger;
  /** The process before us may have died between writing its batch and saying so in the file. */
  #isFirstUncertain: boolean;
  #isRefusing = false;

  constructor(spool: Spool, log: Logger) {
    this.#spool = spool;
    this.#log = log;
    this.#isFirstUncertain = !spool.isEmpty;
  }

  get bytes(): number {
    return this.#spool.bytes;
  }

  get isEmpty(): boolean {
    return this.#spool.isEmpty;
  }

  /** @returns false when the file is full or the disk does not take it; then none of them is in it. */
  append(entries: readonly Counted[], options: { readonly isUncertain: boolean }): boolean {
    const refusal = this.#append(entries.map((entry) => formatSpooled(entry, options.isUncertain)));
    if (refusal !== undefined && !this.#isRefusing) {
      this.#log.error("journal entries cannot be kept in the spill file", { reason: refusal });
    }
    this.#isRefusing = refusal !== undefined;
    return refusal === undefined;
  }

  next(max: number): SpilledBatch {
    const { lines, end } = this.#spool.peek(max);
    const parsed = lines.map(parseSpooled);
    const entries = parsed.filter((entry) => entry !== undefined);
    const broken = parsed.length - entries.length;
    if (broken > 0) this.#log.warn("lines of the journal's spill file could not be read", { lines: broken });
    return { entries, end, isUncertain: this.#isFirstUncertain || entries.some(({ isUncertain }) => isUncertain) };
  }

  done(batch: SpilledBatch): void {
    this.#spool.advance(batch.end);
    this.#isFirstUncertain = false;
  }

  close(): void {
    this.#spool.close();
  }

  #append(lines: readonly string[]): string | undefined {
    try {
      return this.#spool.append(lines) ? undefined : "it is full";
    } catch (error) {
      return messageOf(error);
    }
  }
}
