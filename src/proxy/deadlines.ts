/** How long the proxy waits (spec of the proxy, section 25). Milliseconds. No wall clock limits a body that flows. */
export interface ProxyTimeouts {
  /** A request head, from its first byte, or from accepting the connection. */
  readonly requestHeadMs: number;
  readonly clientTlsMs: number;
  /** A kept-alive connection or tunnel without a request. */
  readonly idleMs: number;
  /** From the last byte sent upstream to the response head. */
  readonly responseHeadMs: number;
  /** A body that stands still in both directions. */
  readonly bodyIdleMs: number;
  /** Within this a body with a length has to move at the least rate. */
  readonly paceWindowMs: number;
  readonly websocketIdleMs: number;
  /** A tunnel whose TLS is not ended here, without a byte in either direction. */
  readonly rawIdleMs: number;
  /** After an early answer, how long the rest of a request body is read and dropped. */
  readonly lingerMs: number;
  /** An unused upstream connection. */
  readonly poolIdleMs: number;
  /** A shared upstream connection on which nothing comes: then it is asked whether it is there, and has as long again. */
  readonly pingMs: number;
}

export const defaultTimeouts: ProxyTimeouts = Object.freeze({
  requestHeadMs: 10_000,
  clientTlsMs: 10_000,
  idleMs: 120_000,
  responseHeadMs: 300_000,
  bodyIdleMs: 300_000,
  paceWindowMs: 60_000,
  websocketIdleMs: 600_000,
  rawIdleMs: 600_000,
  lingerMs: 5_000,
  poolIdleMs: 90_000,
  pingMs: 15_000,
});

/** Something that must not last for ever. It moves its own deadline, which costs one assignment. */
export interface Expiring {
  /** On the clock of `Deadlines.now`; infinity for never. */
  deadlineMs: number;
  onDeadline(): void;
}

/**
 * All deadlines of the proxy on one coarse timer: setting and clearing a timer per request costs more than a sweep
 * over the connections once in a while.
 */
export class Deadlines {
  /** Milliseconds on a steady clock, as of the last tick. */
  now = performance.now();
  readonly #watched = new Set<Expiring>();
  readonly #timer: NodeJS.Timeout;

  constructor(timeouts: ProxyTimeouts) {
    const shortest = Math.min(...Object.values(timeouts));
    this.#timer = setInterval(() => this.#sweep(), Math.max(20, Math.min(1000, shortest / 4)));
    this.#timer.unref();
  }

  watch(one: Expiring): void {
    this.#watched.add(one);
  }

  forget(one: Expiring): void {
    this.#watched.delete(one);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #sweep(): void {
    this.now = performance.now();
    for (const one of this.#watched) if (one.deadlineMs <= this.now) one.onDeadline();
  }
}
