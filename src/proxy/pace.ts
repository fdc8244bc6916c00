import type { Framing } from "./http1/framing.ts";

/** How much of a body has to come within how long; without it the exchange is ended. */
export interface Pace {
  readonly windowMs: number;
  readonly leastBytes: number;
}

/** What has no length may be a stream that says something now and then: it gets away with this part of the rate. */
const streamShare = 1 / 16;

/**
 * The least that bodies have to move (RFC 9110 knows no such limit, Slowloris made it common). A clock on the whole
 * would cut what is long, and an idle limit alone is kept at bay by one byte in time.
 */
export class Paces {
  readonly #known: Pace | undefined;
  readonly #unknown: Pace | undefined;

  /** @param bytesPerSecond 0 for no limit. */
  constructor(bytesPerSecond: number, { paceWindowMs, bodyIdleMs }: { paceWindowMs: number; bodyIdleMs: number }) {
    if (bytesPerSecond === 0) return;
    const seconds = (ms: number) => ms / 1000;
    this.#known = Object.freeze({
      windowMs: paceWindowMs,
      leastBytes: Math.max(1, bytesPerSecond * seconds(paceWindowMs)),
    });
    this.#unknown = Object.freeze({
      windowMs: bodyIdleMs,
      leastBytes: Math.max(1, bytesPerSecond * streamShare * seconds(bodyIdleMs)),
    });
  }

  /** Undefined where nothing is measured. */
  for(framing: Framing): Pace | undefined {
    switch (framing.kind) {
      case "none":
        return undefined;
      case "length":
        return framing.length === 0 ? undefined : this.#known;
      case "chunked":
      case "close":
        return this.#unknown;
    }
  }
}
