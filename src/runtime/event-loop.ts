/** How long the event loop keeps everybody waiting: a timer that should fire every 20 ms, and how late it does. */
import { Histogram } from "./metrics.ts";

const everyMs = 20;
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
/** The longest pause is told for the time since this long ago, and up to twice that. */
const windowMs = 60_000;

export class EventLoopWatch {
  readonly delay = new Histogram(bounds);
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #windowEndsMs = 0;
  #longestMs = 0;
  #longestBeforeMs = 0;

  start(): void {
    this.#dueMs = performance.now() + everyMs;
    this.#windowEndsMs = this.#dueMs + windowMs;
    // It asks for no time of its own: a busy loop runs it between two events.
    this.#timer = setInterval(() => this.#tick(), everyMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** In seconds; of the last one to two minutes. */
  get longestPause(): number {
    return Math.max(this.#longestMs, this.#longestBeforeMs) / 1000;
  }

  #tick(): void {
    const now = performance.now();
    const lateMs = Math.max(0, now - this.#dueMs);
    this.#dueMs = now + everyMs;
    this.delay.observe(lateMs / 1000);
    if (now > this.#windowEndsMs) {
      this.#longestBeforeMs = this.#longestMs;
      this.#longestMs = 0;
      this.#windowEndsMs = now + windowMs;
    }
    if (lateMs > this.#longestMs) this.#longestMs = lateMs;
  }
}
