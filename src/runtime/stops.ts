/** What a program has begun and has to end: the last begun first, whatever becomes of the others. */

import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";

interface Stop {
  readonly end: () => Promise<void> | void;
  readonly withinMs: number | undefined;
}

export class Stops {
  readonly #log: Logger;
  #stops: Stop[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @param withinMs is for what waits for others, such as a database that may never answer; then it is left behind. */
  push(end: () => Promise<void> | void, { withinMs }: { readonly withinMs?: number } = {}): void {
    this.#stops.push({ end, withinMs });
  }

  /** A step that fails, or takes too long, is logged and keeps none of the others from being taken. Twice does nothing. */
  async run(): Promise<void> {
    const stops = this.#stops;
    this.#stops = [];
    for (const { end, withinMs } of stops.reverse()) {
      try {
        await (withinMs === undefined ? end() : within(withinMs, end));
      } catch (error) {
        this.#log.error("a part of the server did not stop as it should", { error: messageOf(error) });
      }
    }
  }
}

async function within(limitMs: number, end: Stop["end"]): Promise<void> {
  const { promise: isLate, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`it took longer than ${limitMs / 1000} s`)), limitMs);
  const ended = Promise.resolve(end());
  // Whoever is left behind may still fail, when nobody listens any more.
  ended.catch(() => undefined);
  try {
    await Promise.race([ended, isLate]);
  } finally {
    clearTimeout(timer);
  }
}
