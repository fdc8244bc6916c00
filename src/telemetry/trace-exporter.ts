/** Spans on their way to a receiver: they wait in memory, in bounds, and are sent in batches. No request waits for it. */
import { CounterSet } from "../runtime/metrics.ts";
import { type Origin, tracesRequest } from "./otlp-json.ts";
import type { OtlpSender } from "./otlp-sender.ts";
import type { Span } from "./span.ts";
import type { TracesConfig } from "./telemetry-config.ts";

export class TraceExporter {
  readonly #config: Pick<TracesConfig, "maxQueue" | "maxBatch" | "delayMs">;
  readonly #origin: Origin;
  readonly #sender: OtlpSender;
  #waiting: Span[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #isClosed = false;
  sent = 0;
  /** By reason: `queue_full`, `not_delivered`, `rejected`. */
  readonly dropped = new CounterSet("reason");

  constructor(config: Pick<TracesConfig, "maxQueue" | "maxBatch" | "delayMs">, origin: Origin, sender: OtlpSender) {
    this.#config = config;
    this.#origin = origin;
    this.#sender = sender;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  record(span: Span): void {
    if (this.#isClosed || this.#waiting.length >= this.#config.maxQueue) {
      this.dropped.raise("queue_full");
      return;
    }
    this.#waiting.push(span);
    if (this.#waiting.length >= this.#config.maxBatch) this.#start();
    else if (this.#sending === undefined) this.#timer ??= setTimeout(() => this.#start(), this.#config.delayMs);
  }

  /** Sends what waits, without trying twice, for at most `withinMs`. */
  async close(withinMs: number): Promise<void> {
    this.#isClosed = true;
    this.#sender.stop();
    let deadline: NodeJS.Timeout | undefined;
    const expired = new Promise<void>((resolve) => {
      deadline = setTimeout(resolve, withinMs);
    });
    await Promise.race([this.#flush(), expired]);
    clearTimeout(deadline);
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#sender.close();
  }

  async #flush(): Promise<void> {
    while (this.#sending !== undefined || this.#waiting.length > 0) {
      this.#start();
      await this.#sending;
    }
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined;
      if (this.#waiting.length > 0 && !this.#isClosed) {
        this.#timer ??= setTimeout(() => this.#start(), this.#config.delayMs);
      }
    });
  }

  async #drain(): Promise<void> {
    do {
      const batch = this.#waiting.splice(0, this.#config.maxBatch);
      if (batch.length === 0) return;
      const delivery = await this.#sender.send(tracesRequest(this.#origin, batch));
      if (delivery.isDelivered) {
        this.sent += batch.length - delivery.rejected;
        this.dropped.raise("rejected", delivery.rejected);
      } else this.dropped.raise("not_delivered", batch.length);
    } while (this.#waiting.length >= this.#config.maxBatch);
  }
}
