/** OpenTelemetry: what the proxy does as traces, and what is counted as metrics, told to a receiver over OTLP. */
import type { Logger } from "../log.ts";
import { buildInfo } from "../runtime/build-info.ts";
import type { Metrics } from "../runtime/metrics.ts";
import { metricsRequest, type Origin } from "./otlp-json.ts";
import { OtlpSender } from "./otlp-sender.ts";
import { type Sampling, type Span, sample, type TraceParent } from "./span.ts";
import type { MetricsConfig, TelemetryConfig, TracesConfig } from "./telemetry-config.ts";
import { TraceExporter } from "./trace-exporter.ts";

/** What records the traces of requests. */
export interface Tracing {
  /** @returns where the span of a request goes on; undefined when its trace is not recorded. */
  sample(traceparent: string | undefined): TraceParent | undefined;
  /** Never blocks and never throws. */
  record(span: Span): void;
}

export interface TelemetryOptions {
  readonly config: TelemetryConfig;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Since when counters count, in milliseconds since the epoch. */
  readonly startMs: number;
}

/** How long the end of the server waits for a receiver. */
const closeWithinMs = 2_000;

export class Telemetry {
  /** Undefined where no traces are told. */
  readonly tracing: Tracing | undefined;
  readonly #stops: (() => Promise<void>)[] = [];

  constructor({ config, metrics, log, startMs }: TelemetryOptions) {
    const origin = { resource: config.resource, version: buildInfo.version };
    if (config.traces !== undefined) {
      const exporter = exporterFor(config.traces, origin, log);
      observe(metrics, exporter);
      this.tracing = tracingWith(exporter, config.traces.sampling);
      this.#stops.push(() => exporter.close(closeWithinMs));
    }
    if (config.metrics !== undefined) {
      this.#stops.push(startMetrics(config.metrics, { metrics, log, origin, startMs }));
    }
  }

  /** Tells what is left to tell, for at most two seconds. */
  async close(): Promise<void> {
    await Promise.all(this.#stops.splice(0).map((stop) => stop()));
  }
}

function exporterFor(config: TracesConfig, origin: Origin, log: Logger): TraceExporter {
  return new TraceExporter(config, origin, new OtlpSender({ signal: "traces", target: config.target, log }));
}

function tracingWith(exporter: TraceExporter, sampling: Sampling): Tracing {
  return {
    sample: (traceparent) => sample(sampling, traceparent),
    record: (span) => exporter.record(span),
  };
}

function observe(metrics: Metrics, exporter: TraceExporter): void {
  metrics.add("counter", "agent_vault_otlp_spans_sent_total", "Spans that a receiver took.", () => exporter.sent);
  metrics.add("counter", "agent_vault_otlp_spans_dropped_total", "Spans that nobody got.", () =>
    exporter.dropped.samples(),
  );
  metrics.add("gauge", "agent_vault_otlp_spans_waiting", "Spans not sent yet.", () => exporter.waiting);
}

interface MetricsParts extends Omit<TelemetryOptions, "config"> {
  readonly origin: Origin;
}

/** @returns what ends it, after telling everything a last time. */
function startMetrics(config: MetricsConfig, { metrics, log, origin, startMs }: MetricsParts): () => Promise<void> {
  const sender = new OtlpSender({ signal: "metrics", target: config.target, log });
  let sending: Promise<unknown> | undefined;
  const tell = () => {
    const message = metricsRequest(origin, metrics.collect(), { startMs, nowMs: Date.now() });
    sending = sender.send(message).finally(() => {
      sending = undefined;
    });
    return sending;
  };
  // A receiver that is slow gets the next ones later: counters lose nothing by it.
  const timer = setInterval(() => void (sending ?? tell()), config.intervalMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    sender.stop();
    const last = (async () => {
      await sending;
      await tell();
    })();
    let deadline: NodeJS.Timeout | undefined;
    const expired = new Promise<void>((resolve) => {
      deadline = setTimeout(resolve, closeWithinMs);
    });
    await Promise.race([last, expired]);
    clearTimeout(deadline);
    sender.close();
  };
}
