/**
 * A receiver of OTLP/HTTP in JSON: a real server that decodes what arrives as strictly as the encoding allows. What the
 * protocol does not know is refused with 400, as a receiver that reads protobuf would lose it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number };
  readonly attributes: Readonly<Record<string, unknown>>;
}

export interface ReceivedMetric {
  readonly name: string;
  readonly unit?: string;
  readonly sum?: { readonly dataPoints: readonly Point[] };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
  readonly histogram?: { readonly dataPoints: readonly Point[] };
}

export interface Point {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly asInt?: string;
  readonly asDouble?: number;
  readonly count?: string;
  readonly sum?: number;
  readonly bucketCounts?: readonly string[];
  readonly explicitBounds?: readonly number[];
}

export interface ReceivedRequest {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** What the receiver answers instead of taking a request. */
export type Refusal = (request: ReceivedRequest) => { readonly status: number; readonly body?: string } | undefined;

export class OtlpReceiver implements AsyncDisposable {
  readonly requests: ReceivedRequest[] = [];
  readonly spans: ReceivedSpan[] = [];
  readonly resources: Readonly<Record<string, unknown>>[] = [];
  /** Of the last request for metrics. */
  metrics: readonly ReceivedMetric[] = [];
  /** What was wrong with requests that were not understood. */
  readonly complaints: string[] = [];
  refuse: Refusal = () => undefined;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<OtlpReceiver> {
    const server = createServer((request, response) => void receiver.#serve(request, response));
    const receiver = new OtlpReceiver(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const text = (request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).toString("utf8");
    const received = { path: request.url ?? "", headers: request.headers, text };
    this.requests.push(received);
    const refusal = this.refuse(received);
    if (refusal) {
      response.writeHead(refusal.status, { "content-type": "application/json" }).end(refusal.body ?? "{}");
      return;
    }
    try {
      if (request.method !== "POST") throw new Error(`method ${request.method}`);
      if (request.headers["content-type"] !== "application/json") throw new Error("not JSON");
      this.#take(received.path, JSON.parse(text));
      response.writeHead(200, { "content-type": "application/json" }).end('{"partialSuccess":{}}');
    } catch (error) {
      this.complaints.push(String(error));
      response.writeHead(400).end();
    }
  }

  #take(path: string, message: unknown): void {
    if (path.endsWith("/v1/traces")) {
      const { resourceSpans } = fields(message, { resourceSpans: list });
      for (const one of resourceSpans as unknown[]) {
        const { resource, scopeSpans } = fields(one, { resource: any, scopeSpans: list });
        this.resources.push(readResource(resource));
        for (const scoped of scopeSpans as unknown[]) {
          const { scope, spans } = fields(scoped, { scope: any, spans: list });
          fields(scope, { name: text, version: text });
          this.spans.push(...(spans as unknown[]).map(readSpan));
        }
      }
      return;
    }
    if (!path.endsWith("/v1/metrics")) throw new Error(`path ${path}`);
    const { resourceMetrics } = fields(message, { resourceMetrics: list });
    for (const one of resourceMetrics as unknown[]) {
      const { resource, scopeMetrics } = fields(one, { resource: any, scopeMetrics: list });
      this.resources.push(readResource(resource));
      for (const scoped of scopeMetrics as unknown[]) {
        const { scope, metrics } = fields(scoped, { scope: any, metrics: list });
        fields(scope, { name: text, version: text });
        this.metrics = (metrics as unknown[]).map(readMetric);
      }
    }
  }
}

type Check = (value: unknown) => boolean;
const any: Check = () => true;
const list: Check = Array.isArray;
const text: Check = (value) => typeof value === "string" && value !== "";
const double: Check = (value) => typeof value === "number" && Number.isFinite(value);
const nanos: Check = (value) => typeof value === "string" && /^1\d{18}$/.test(value);
const int64: Check = (value) => typeof value === "string" && /^-?\d{1,19}$/.test(value);
const hex = (digits: number): Check => {
  const pattern = new RegExp(`^(?!0+$)[0-9a-f]{${digits}}$`);
  return (value) => typeof value === "string" && pattern.test(value);
};

/** The fields of an object: all that are required, of their kinds, and no other. */
function fields(
  value: unknown,
  required: Readonly<Record<string, Check>>,
  optional: Readonly<Record<string, Check>> = {},
) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("not an object");
  const found = value as Readonly<Record<string, unknown>>;
  for (const [name, check] of Object.entries(required)) {
    if (!check(found[name])) throw new Error(`${name} is ${JSON.stringify(found[name])}`);
  }
  for (const [name, one] of Object.entries(found)) {
    if (name in required) continue;
    if (!optional[name]?.(one)) throw new Error(`${name} is ${JSON.stringify(one)}`);
  }
  return found;
}

function readResource(value: unknown): Readonly<Record<string, unknown>> {
  return readAttributes(fields(value, { attributes: list }).attributes);
}

function readAttributes(value: unknown): Readonly<Record<string, unknown>> {
  const attributes: Record<string, unknown> = {};
  for (const one of value as unknown[]) {
    const { key, value: held } = fields(one, { key: text, value: any }) as { key: string; value: unknown };
    if (key in attributes) throw new Error(`${key} comes twice`);
    attributes[key] = readValue(held);
  }
  return attributes;
}

function readValue(value: unknown): unknown {
  const found = fields(
    value,
    {},
    {
      stringValue: (one) => typeof one === "string",
      boolValue: (one) => typeof one === "boolean",
      intValue: int64,
      doubleValue: double,
    },
  );
  const [held, ...more] = Object.entries(found);
  if (held === undefined || more.length > 0) throw new Error("a value is of one kind");
  return held[0] === "intValue" ? Number(held[1]) : held[1];
}

function readSpan(value: unknown): ReceivedSpan {
  const span = fields(
    value,
    {
      traceId: hex(32),
      spanId: hex(16),
      name: text,
      kind: (kind) => kind === 2 || kind === 3,
      startTimeUnixNano: nanos,
      endTimeUnixNano: nanos,
      attributes: list,
      status: any,
    },
    { parentSpanId: hex(16) },
  );
  fields(span.status, {}, { code: (code) => code === 1 || code === 2 });
  if (BigInt(span.endTimeUnixNano as string) < BigInt(span.startTimeUnixNano as string)) throw new Error("ends early");
  return { ...(span as unknown as ReceivedSpan), attributes: readAttributes(span.attributes) };
}

function readMetric(value: unknown): ReceivedMetric {
  const metric = fields(
    value,
    { name: text, description: text },
    { unit: text, sum: any, gauge: any, histogram: any },
  ) as Readonly<Record<string, unknown>>;
  const { name, unit, sum, gauge, histogram } = metric;
  const times = { timeUnixNano: nanos };
  const number = { asInt: int64, asDouble: double };
  const cumulative: Check = (temporality) => temporality === 2;
  if ([sum, gauge, histogram].filter((one) => one !== undefined).length !== 1) throw new Error(`${name}: one kind`);
  if (sum !== undefined) {
    fields(sum, { dataPoints: list, aggregationTemporality: cumulative, isMonotonic: (is) => is === true });
  } else if (gauge !== undefined) fields(gauge, { dataPoints: list });
  else fields(histogram, { dataPoints: list, aggregationTemporality: cumulative });
  const points = ((sum ?? gauge ?? histogram) as { dataPoints: unknown[] }).dataPoints.map((point) => {
    const read =
      histogram !== undefined
        ? fields(point, {
            attributes: list,
            startTimeUnixNano: nanos,
            ...times,
            count: int64,
            sum: double,
            bucketCounts: (counts) => list(counts) && (counts as unknown[]).every(int64),
            explicitBounds: (bounds) => list(bounds) && (bounds as unknown[]).every(double),
          })
        : fields(point, { attributes: list, ...times, ...(sum !== undefined && { startTimeUnixNano: nanos }) }, number);
    const isCounted = histogram === undefined && ("asInt" in read ? 1 : 0) + ("asDouble" in read ? 1 : 0) !== 1;
    if (isCounted) throw new Error(`${name}: one number`);
    if (histogram !== undefined) checkBuckets(String(name), read);
    return { ...read, attributes: readAttributes(read.attributes) };
  });
  if (points.length === 0) throw new Error(`${name}: no point`);
  const kind = sum !== undefined ? "sum" : gauge !== undefined ? "gauge" : "histogram";
  return { name: String(name), ...(unit !== undefined && { unit: String(unit) }), [kind]: { dataPoints: points } };
}

function checkBuckets(name: string, point: Readonly<Record<string, unknown>>): void {
  const counts = (point.bucketCounts as string[]).map(Number);
  if (counts.length !== (point.explicitBounds as number[]).length + 1) throw new Error(`${name}: buckets`);
  if (counts.reduce((all, one) => all + one, 0) !== Number(point.count)) throw new Error(`${name}: count`);
}
