import { describe, expect, it } from "vitest";
import { parseServerConfig } from "../../src/config.ts";
import type { Logger } from "../../src/log.ts";
import { Histogram, Metrics } from "../../src/runtime/metrics.ts";
import { newSpanId, type Span } from "../../src/telemetry/span.ts";
import { Telemetry } from "../../src/telemetry/telemetry.ts";
import { OtlpReceiver } from "../support/otlp-receiver.ts";

const startMs = Date.parse("2026-01-31T12:00:00Z");

function span(change: Partial<Span> = {}): Span {
  return {
    traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
    spanId: newSpanId(),
    parentSpanId: "",
    name: "GET github",
    kind: "server",
    startMs: Date.now() - 12.5,
    endMs: Date.now(),
    attributes: { "http.response.status_code": 200, "url.path": "/user", "agent_vault.vault": undefined },
    isError: false,
    ...change,
  };
}

class Log {
  readonly lines: string[] = [];
  readonly logger: Logger = {
    debug: () => undefined,
    info: (event, fields) => void this.lines.push(`${event} ${JSON.stringify(fields)}`),
    warn: (event, fields) => void this.lines.push(`${event} ${JSON.stringify(fields)}`),
    error: (event, fields) => void this.lines.push(`${event} ${JSON.stringify(fields)}`),
    enabled: () => true,
  };
}

function start(environment: Readonly<Record<string, string>>) {
  const metrics = new Metrics();
  const log = new Log();
  const { telemetry: config } = parseServerConfig({}, { HOME: "/nowhere", ...environment });
  if (config === undefined) throw new Error("nothing is configured");
  return { telemetry: new Telemetry({ config, metrics, log: log.logger, startMs }), metrics, log };
}

describe("telemetry", () => {
  it("tells traces to the receiver, in batches, with the resource of the operator", async () => {
    await using receiver = await OtlpReceiver.start();
    const { telemetry, metrics } = start({
      OTEL_EXPORTER_OTLP_ENDPOINT: `${receiver.url}/otlp/`,
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20s3cret,x-team=platform",
      OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=pro%2Cduction,service.name=other",
      OTEL_SERVICE_NAME: "broker",
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "3",
      OTEL_BSP_SCHEDULE_DELAY: "20",
      OTEL_METRICS_EXPORTER: "none",
    });
    const attributes = { tls_ms: 0, port: 443 };
    telemetry.tracing?.record(span({ attributes }));
    await expect.poll(() => receiver.requests[0]?.text).toContain('"tls_ms","value":{"doubleValue":0}');
    expect(receiver.requests[0]?.text).toContain('"port","value":{"intValue":"443"}');
    receiver.spans.length = 0;
    const sent = Array.from({ length: 7 }, (_, at) => span({ parentSpanId: at === 0 ? "" : newSpanId() }));
    for (const one of sent) telemetry.tracing?.record(one);
    await expect.poll(() => receiver.spans.length).toBe(7);
    await telemetry.close();
    expect(receiver.complaints).toEqual([]);
    expect(receiver.spans.map(({ spanId }) => spanId)).toEqual(sent.map(({ spanId }) => spanId));
    expect(receiver.requests.length).toBeGreaterThanOrEqual(3);
    expect(receiver.requests[0]).toMatchObject({
      path: "/otlp/v1/traces",
      headers: { authorization: "Bearer s3cret", "x-team": "platform", "content-encoding": "gzip" },
    });
    expect(receiver.resources[0]).toEqual({
      "service.name": "broker",
      "deployment.environment.name": "pro,duction",
    });
    expect(receiver.spans[0]?.attributes).toEqual({ "http.response.status_code": 200, "url.path": "/user" });
    expect(metrics.render()).toContain("agent_vault_otlp_spans_sent_total 8\n");
  });

  it("keeps what waits within bounds, counts what is dropped, and tells the log once", async () => {
    await using receiver = await OtlpReceiver.start();
    receiver.refuse = () => ({ status: 400 });
    const { telemetry, metrics, log } = start({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/anything/v1/traces`,
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20s3cret",
      OTEL_BSP_MAX_QUEUE_SIZE: "5",
      OTEL_BSP_SCHEDULE_DELAY: "10",
    });
    for (let at = 0; at < 12; at++) telemetry.tracing?.record(span());
    await expect.poll(() => metrics.render()).toContain('spans_dropped_total{reason="not_delivered"} 10\n');
    // Five were under way, five waited.
    expect(metrics.render()).toContain('spans_dropped_total{reason="queue_full"} 2\n');
    telemetry.tracing?.record(span());
    await expect.poll(() => receiver.requests.length).toBe(3);
    receiver.refuse = () => undefined;
    telemetry.tracing?.record(span());
    await expect.poll(() => receiver.spans.length).toBe(1);
    await telemetry.close();
    expect(receiver.requests[0]?.path).toBe("/anything/v1/traces");
    expect(log.lines).toHaveLength(2);
    expect(log.lines[0]).toContain("telemetry cannot be delivered");
    expect(log.lines[1]).toContain("telemetry is delivered again");
    expect(log.lines.join()).not.toContain("s3cret");
  });

  it("tries again when the receiver asks for it, and not for ever", async () => {
    await using receiver = await OtlpReceiver.start();
    let refusals = 0;
    receiver.refuse = () => (refusals++ < 2 ? { status: 503 } : undefined);
    const { telemetry } = start({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces`,
      OTEL_BSP_SCHEDULE_DELAY: "1",
    });
    telemetry.tracing?.record(span());
    await expect.poll(() => receiver.spans.length, { timeout: 10_000 }).toBe(1);
    expect(receiver.requests).toHaveLength(3);
    await telemetry.close();
  });

  it("counts what the receiver says it did not take", async () => {
    await using receiver = await OtlpReceiver.start();
    receiver.refuse = () => ({ status: 200, body: '{"partialSuccess":{"rejectedSpans":"2"}}' });
    const { telemetry, metrics } = start({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces`,
      OTEL_BSP_SCHEDULE_DELAY: "1",
    });
    for (let at = 0; at < 3; at++) telemetry.tracing?.record(span());
    await expect.poll(() => metrics.render()).toContain('spans_dropped_total{reason="rejected"} 2\n');
    expect(metrics.render()).toContain("spans_sent_total 1\n");
    await telemetry.close();
  });

  it("delivers what waits when the server stops, and does not hang on a receiver that is away", async () => {
    await using receiver = await OtlpReceiver.start();
    const good = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    good.telemetry.tracing?.record(span());
    await good.telemetry.close();
    expect(receiver.spans).toHaveLength(1);
    expect(receiver.requests.map(({ path }) => path).sort()).toEqual(["/v1/metrics", "/v1/traces"]);

    const away = start({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" });
    away.telemetry.tracing?.record(span());
    await away.telemetry.close();
    expect(away.log.lines.join()).toContain("telemetry cannot be delivered");
  });

  it("follows no redirect, which would carry its headers elsewhere", async () => {
    await using elsewhere = await OtlpReceiver.start();
    await using receiver = await OtlpReceiver.start();
    receiver.refuse = () => ({ status: 307 });
    const { telemetry } = start({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces` });
    telemetry.tracing?.record(span());
    await telemetry.close();
    expect(receiver.requests).toHaveLength(1);
    expect(elsewhere.requests).toHaveLength(0);
  });

  it("tells every metric there is, with the unit in its place", async () => {
    await using receiver = await OtlpReceiver.start();
    const { telemetry, metrics } = start({
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${receiver.url}/v1/metrics`,
      OTEL_METRIC_EXPORT_INTERVAL: "20",
    });
    const histogram = new Histogram([0.1, 1]);
    for (const seconds of [0.05, 0.1, 0.5, 7]) histogram.observe(seconds);
    metrics.add("counter", "requests_total", "Requests.", () => [{ labels: { vault: "a" }, value: 2 }]);
    metrics.add("gauge", "memory_bytes", "Memory.", () => 1.5);
    metrics.add("counter", "nothing_total", "Nothing yet.", () => []);
    metrics.histograms("duration_seconds", "How long.", () => [{ labels: { vault: "a" }, histogram }]);
    await expect.poll(() => receiver.metrics.length).toBe(3);
    expect(receiver.complaints).toEqual([]);
    const [requests, memory, duration] = receiver.metrics;
    expect(requests).toMatchObject({
      name: "requests",
      sum: { dataPoints: [{ asInt: "2", attributes: { vault: "a" } }] },
    });
    expect(memory).toMatchObject({ name: "memory", unit: "By", gauge: { dataPoints: [{ asDouble: 1.5 }] } });
    expect(duration).toMatchObject({
      name: "duration",
      unit: "s",
      histogram: { dataPoints: [{ count: "4", bucketCounts: ["2", "1", "1"], explicitBounds: [0.1, 1] }] },
    });
    expect(telemetry.tracing).toBeUndefined();
    await telemetry.close();
  });
});

describe("the variables of OpenTelemetry", () => {
  const parse = (environment: Readonly<Record<string, string>>) =>
    parseServerConfig({}, { HOME: "/nowhere", ...environment }).telemetry;
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318" };

  it("switch nothing on by themselves", () => {
    expect(parse({})).toBeUndefined();
    expect(parse({ OTEL_SERVICE_NAME: "x", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" })).toBeUndefined();
    expect(parse({ ...endpoint, OTEL_SDK_DISABLED: "true" })).toBeUndefined();
    expect(parse({ ...endpoint, OTEL_TRACES_EXPORTER: "none", OTEL_METRICS_EXPORTER: "none" })).toBeUndefined();
    expect(parse({ ...endpoint, OTEL_TRACES_EXPORTER: "none" })).toMatchObject({ traces: undefined });
  });

  it("of one signal beat those of all", () => {
    const config = parse({
      ...endpoint,
      OTEL_EXPORTER_OTLP_HEADERS: "a=1",
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: "b=2",
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://traces.example/in?key=v",
      OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: "500",
    });
    expect(config?.traces?.target.url.href).toBe("https://traces.example/in?key=v");
    expect(config?.metrics?.target.url.href).toBe("http://collector:4318/v1/metrics");
    expect(Object.keys(config?.traces?.target.headers ?? {})).toEqual(["b"]);
    expect(Object.keys(config?.metrics?.target.headers ?? {})).toEqual(["a"]);
    expect([config?.traces?.target.timeoutMs, config?.metrics?.target.timeoutMs]).toEqual([10_000, 500]);
  });

  it.each([
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" }, "OTEL_EXPORTER_OTLP_ENDPOINT"],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "http://user:hunter2@collector" }, "OTEL_EXPORTER_OTLP_ENDPOINT"],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }, "OTEL_EXPORTER_OTLP_PROTOCOL"],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/protobuf" }, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_HEADERS: "hunter2" }, "OTEL_EXPORTER_OTLP_HEADERS"],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_HEADERS: "a=hunter2%0d%0ab: 1" }, "OTEL_EXPORTER_OTLP_HEADERS"],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_HEADERS: "a b=hunter2" }, "OTEL_EXPORTER_OTLP_HEADERS"],
    [{ ...endpoint, OTEL_EXPORTER_OTLP_CERTIFICATE: "/nowhere/ca.pem" }, "OTEL_EXPORTER_OTLP_CERTIFICATE"],
    [{ ...endpoint, OTEL_TRACES_SAMPLER: "sometimes" }, "OTEL_TRACES_SAMPLER"],
    [{ ...endpoint, OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "2" }, "OTEL_TRACES_SAMPLER_ARG"],
    [{ ...endpoint, OTEL_TRACES_EXPORTER: "zipkin" }, "OTEL_TRACES_EXPORTER"],
    [{ ...endpoint, OTEL_RESOURCE_ATTRIBUTES: "nonsense" }, "OTEL_RESOURCE_ATTRIBUTES"],
  ])("are refused by name, without what may be secret: %j", (environment, name) => {
    expect(() => parse(environment as Record<string, string>)).toThrow(name);
    expect(() => parse(environment as Record<string, string>)).not.toThrow("hunter2");
  });

  it("choose which traces are recorded", () => {
    const sampling = (sampler: string, arg = "") =>
      parse({ ...endpoint, OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: arg })?.traces?.sampling;
    expect(sampling("")).toEqual({ followsParent: true, ratio: 1 });
    expect(sampling("always_off")).toEqual({ followsParent: false, ratio: 0 });
    expect(sampling("traceidratio", "0.1")).toEqual({ followsParent: false, ratio: 0.1 });
    expect(sampling("parentbased_traceidratio", "0.1")).toEqual({ followsParent: true, ratio: 0.1 });
    expect(sampling("parentbased_always_off")).toEqual({ followsParent: true, ratio: 0 });
  });
});
