import type { Secret } from "../crypto/secret.ts";
import type { Resource } from "./otlp-json.ts";
import type { Sampling } from "./span.ts";

/** Where the requests of one signal go. */
export interface OtlpTarget {
  readonly url: URL;
  /** Of the operator: they may hold a token. */
  readonly headers: Readonly<Record<string, Secret>>;
  readonly timeoutMs: number;
  readonly isCompressed: boolean;
  /** PEM of the authorities that vouch for the receiver; undefined for the usual ones. */
  readonly certificate: string | undefined;
}

/** What is told to a receiver of OpenTelemetry, and how often. */
export interface TelemetryConfig {
  readonly resource: Resource;
  readonly traces: TracesConfig | undefined;
  readonly metrics: MetricsConfig | undefined;
}

export interface TracesConfig {
  readonly target: OtlpTarget;
  readonly sampling: Sampling;
  /** Spans that may wait in memory; those beyond are dropped, and counted. */
  readonly maxQueue: number;
  readonly maxBatch: number;
  readonly delayMs: number;
}

export interface MetricsConfig {
  readonly target: OtlpTarget;
  readonly intervalMs: number;
}
