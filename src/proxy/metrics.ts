import type { Scope } from "../domain/actors/scope.ts";
import { Counter, Histogram, type Labels, type Metrics, type Sample } from "../runtime/metrics.ts";
import type { Plan } from "./plan.ts";

/** What the proxy counts. Services have a series each, held by their plan: a request finds it with one look. */

const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
/** More services than this share one series: a scrape is not to grow with every vault there is. */
const maxSeries = 2_000;
const kinds = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/** Requests of one service of one vault. */
class Series {
  readonly labels: Labels;
  readonly duration = new Histogram(bounds);
  readonly firstByte = new Histogram(bounds);
  /** By class of status, for requests without an error code, which nearly all are. */
  readonly #plain = kinds.map(() => new Counter());
  readonly #coded = new Map<string, Counter>();

  constructor(labels: Labels) {
    this.labels = labels;
  }

  record({ status, errorCode, latencyMs }: Outcome, upstreamMs: number | null): void {
    const kind = status >= 100 && status < 600 ? Math.trunc(status / 100) : 0;
    const counter = errorCode === "" ? this.#plain[kind] : this.#counterOf(kinds[kind] ?? "none", errorCode);
    if (counter) counter.value++;
    this.duration.observe(latencyMs / 1000);
    if (upstreamMs !== null) this.firstByte.observe(upstreamMs / 1000);
  }

  *samples(): Iterable<Sample> {
    for (const [kind, counter] of this.#plain.entries()) {
      if (counter.value > 0)
        yield { labels: { ...this.labels, status: kinds[kind] ?? "none", code: "" }, value: counter.value };
    }
    for (const [key, counter] of this.#coded) {
      const [status = "", code = ""] = key.split(" ");
      yield { labels: { ...this.labels, status, code }, value: counter.value };
    }
  }

  #counterOf(kind: string, code: string): Counter {
    const key = `${kind} ${code}`;
    const known = this.#coded.get(key);
    if (known) return known;
    const counter = new Counter();
    this.#coded.set(key, counter);
    return counter;
  }
}

export interface Outcome {
  readonly status: number;
  /** Empty when nothing went wrong; else one of ours, never what somebody sent. */
  readonly errorCode: string;
  readonly latencyMs: number;
}

export class ProxyMetrics {
  readonly #byPlan = new WeakMap<Plan, Series>();
  readonly #byName = new Map<string, Series>();
  readonly #refusals = new Map<string, Counter>();
  readonly #handshakes = new Map<string, Counter>();
  readonly #rest = new Series({ vault: "(others)", service: "(others)" });

  constructor(metrics: Metrics) {
    metrics.add("counter", "agent_vault_proxy_requests_total", "Requests that are over.", () =>
      [...this.#byName.values()].flatMap((series) => [...series.samples()]),
    );
    metrics.histograms("agent_vault_proxy_request_duration_seconds", "From the head to the last byte.", () =>
      [...this.#byName.values()].map(({ labels, duration }) => ({ labels, histogram: duration })),
    );
    metrics.histograms("agent_vault_proxy_first_byte_seconds", "How long upstreams took to begin their answer.", () =>
      [...this.#byName.values()].map(({ labels, firstByte }) => ({ labels, histogram: firstByte })),
    );
    metrics.add("counter", "agent_vault_proxy_refusals_total", "Refused before there was a request to serve.", () =>
      samplesOf(this.#refusals, "code"),
    );
    metrics.add("counter", "agent_vault_proxy_handshakes_total", "TLS handshakes with agents.", () =>
      samplesOf(this.#handshakes, "result"),
    );
  }

  /**
   * @param plan undefined when none was made.
   * @param upstreamMs from the last byte of the request to the first of the answer; null when none came.
   */
  request(scope: Scope | undefined, plan: Plan | undefined, outcome: Outcome, upstreamMs: number | null): void {
    const series = (plan?.service && this.#byPlan.get(plan)) ?? this.#find(scope, plan);
    series.record(outcome, upstreamMs);
  }

  /** A CONNECT, or a head that could not be read. */
  refused(code: string): void {
    raise(this.#refusals, code);
  }

  /** @param result `ok`, or the code of what went wrong. */
  handshake(result: string): void {
    raise(this.#handshakes, result);
  }

  #find(scope: Scope | undefined, plan: Plan | undefined): Series {
    const vault = scope?.vaultName ?? "";
    const service = plan?.service?.name ?? "";
    const key = `${vault} ${service}`;
    const known = this.#byName.get(key);
    const series = known ?? (this.#byName.size < maxSeries ? new Series({ vault, service }) : this.#rest);
    if (!known) this.#byName.set(series === this.#rest ? "" : key, series);
    // A plan without a service is that of every vault.
    if (plan?.service) this.#byPlan.set(plan, series);
    return series;
  }
}

function raise(counters: Map<string, Counter>, key: string): void {
  const known = counters.get(key);
  if (known) known.value++;
  else {
    const counter = new Counter();
    counter.value = 1;
    counters.set(key, counter);
  }
}

function samplesOf(counters: ReadonlyMap<string, Counter>, label: string): Sample[] {
  return [...counters].map(([key, { value }]) => ({ labels: { [label]: key }, value }));
}
