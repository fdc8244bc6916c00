/**
 * Spans and metrics as OTLP in JSON (opentelemetry-proto 1.x, "OTLP/HTTP", JSON Protobuf Encoding): 64-bit integers are
 * texts, enumerations are numbers, ids are hex.
 */
import type { Family, Labels } from "../runtime/metrics.ts";
import type { AttributeValue, Span } from "./span.ts";

/** What all of it is about: `service.name` and the like. */
export type Resource = Readonly<Record<string, string>>;

export interface Origin {
  readonly resource: Resource;
  /** Of this program, as the scope of instrumentation. */
  readonly version: string;
}

const spanKinds = { server: 2, client: 3 } as const;
const statusError = 2;
const cumulative = 2;

export function tracesRequest({ resource, version }: Origin, spans: readonly Span[]): object {
  const scope = { name: "agent-vault", version };
  return {
    resourceSpans: [{ resource: resourceOf(resource), scopeSpans: [{ scope, spans: spans.map(formatSpan) }] }],
  };
}

function formatSpan(span: Span): object {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId !== "" && { parentSpanId: span.parentSpanId }),
    name: span.name,
    kind: spanKinds[span.kind],
    startTimeUnixNano: nanoseconds(span.startMs),
    endTimeUnixNano: nanoseconds(span.endMs),
    attributes: attributesOf(span.attributes),
    status: span.isError ? { code: statusError } : {},
  };
}

export interface MetricsTimes {
  /** Since when counters count. */
  readonly startMs: number;
  readonly nowMs: number;
}

export function metricsRequest(
  { resource, version }: Origin,
  families: readonly Family[],
  times: MetricsTimes,
): object {
  const scope = { name: "agent-vault", version };
  // A metric without a series says nothing, and receivers refuse it.
  const metrics = families.filter(({ samples }) => samples.length > 0).map((family) => formatFamily(family, times));
  return { resourceMetrics: [{ resource: resourceOf(resource), scopeMetrics: [{ scope, metrics }] }] };
}

function formatFamily(family: Family, { startMs, nowMs }: MetricsTimes): object {
  const { name, unit } = unitOf(family.name);
  const said = { name, description: family.help, ...(unit !== "" && { unit }) };
  const start = { startTimeUnixNano: nanoseconds(startMs) };
  const now = { timeUnixNano: nanoseconds(nowMs) };
  if (family.type === "histogram") {
    const dataPoints = family.samples.map(({ labels, histogram: { bounds, counts, sum } }) => ({
      attributes: attributesOf(labels),
      ...start,
      ...now,
      count: String(counts.reduce((all, count) => all + count, 0)),
      sum,
      bucketCounts: counts.map(String),
      explicitBounds: bounds,
    }));
    return { ...said, histogram: { dataPoints, aggregationTemporality: cumulative } };
  }
  const point = ({ labels = {}, value }: { readonly labels?: Labels; readonly value: number }) => ({
    attributes: attributesOf(labels),
    ...now,
    ...numberOf(value),
  });
  if (family.type === "gauge") return { ...said, gauge: { dataPoints: family.samples.map(point) } };
  const dataPoints = family.samples.map((sample) => ({ ...start, ...point(sample) }));
  return { ...said, sum: { dataPoints, aggregationTemporality: cumulative, isMonotonic: true } };
}

/** Prometheus has unit and kind in the name; whoever turns these back into Prometheus' names adds them again. */
function unitOf(prometheusName: string): { readonly name: string; readonly unit: string } {
  const plain = prometheusName.replace(/_total$/, "");
  if (plain.endsWith("_seconds")) return { name: plain.slice(0, -"_seconds".length), unit: "s" };
  if (plain.endsWith("_bytes")) return { name: plain.slice(0, -"_bytes".length), unit: "By" };
  return { name: plain, unit: "" };
}

function numberOf(value: number): object {
  return Number.isSafeInteger(value) ? { asInt: String(value) } : { asDouble: value };
}

function resourceOf(resource: Resource): object {
  return { attributes: attributesOf(resource) };
}

function attributesOf(attributes: Readonly<Record<string, AttributeValue | undefined>>): object[] {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: formatValue(key, value) }],
  );
}

function formatValue(key: string, value: AttributeValue): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  // A duration is of one kind, also when it happens to be whole: receivers tell columns by it.
  const isWhole = Number.isSafeInteger(value) && !key.endsWith("_ms");
  return isWhole ? { intValue: String(value) } : { doubleValue: value };
}

/** Microseconds are as fine as the clock is. */
function nanoseconds(ms: number): string {
  return `${Math.round(ms * 1_000)}000`;
}
