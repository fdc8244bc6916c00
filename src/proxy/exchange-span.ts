/** An exchange as spans, with the names of the semantic conventions for HTTP (OpenTelemetry, stable since 1.23). */
import type { Scope } from "../domain/actors/scope.ts";
import type { DialTimings } from "../net/outbound.ts";
import { newSpanId, type TraceParent } from "../telemetry/span.ts";
import type { Tracing } from "../telemetry/telemetry.ts";
import type { Fields } from "./http1/fields.ts";
import type { Route } from "./route.ts";

/** What is told of an exchange that is over. Durations since its beginning, in milliseconds. */
export interface TracedExchange {
  readonly requestId: string;
  readonly scope: Scope | undefined;
  readonly service: string | undefined;
  readonly method: string;
  readonly protocolVersion: string;
  readonly route: Pick<Route, "scheme" | "host" | "port" | "hostHeader">;
  /** Without query, as the agent sent it. */
  readonly path: string;
  readonly status: number;
  readonly errorCode: string;
  readonly clientIp: string;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly startedAtMs: number;
  readonly totalMs: number;
  /** Undefined where no upstream was asked. */
  readonly sentAfterMs: number | undefined;
  readonly firstByteMs: number | undefined;
  readonly dial: DialTimings | undefined;
  readonly isRetried: boolean;
}

/** Others are whatever an agent likes, and there is no end of them. */
const knownMethods: ReadonlySet<string> = new Set([
  ...["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"],
]);

/** Records the spans of an exchange, if its trace is recorded. */
export function traceExchange(tracing: Tracing, fields: Fields, exchange: TracedExchange): void {
  const parent = tracing.sample(traceparentOf(fields));
  if (parent === undefined) return;
  const spanId = newSpanId();
  const method = knownMethods.has(exchange.method) ? exchange.method : "_OTHER";
  recordServerSpan(tracing, exchange, { parent, spanId, method });
  if (exchange.sentAfterMs !== undefined) {
    recordClientSpan(tracing, exchange, { parent: { traceId: parent.traceId, parentSpanId: spanId }, method });
  }
}

interface Place {
  readonly parent: TraceParent;
  readonly method: string;
}

function recordServerSpan(
  tracing: Tracing,
  exchange: TracedExchange,
  place: Place & { readonly spanId: string },
): void {
  const { route, scope, service, status, errorCode } = exchange;
  tracing.record({
    ...place.parent,
    spanId: place.spanId,
    name: nameOf(place.method, service),
    kind: "server",
    startMs: exchange.startedAtMs,
    endMs: exchange.startedAtMs + exchange.totalMs,
    // What an agent did wrong is no failure of the server.
    isError: status >= 500 || status === 0,
    attributes: {
      "http.request.method": place.method,
      "url.scheme": route.scheme,
      "url.path": exchange.path,
      "server.address": route.host,
      "server.port": route.port,
      "client.address": exchange.clientIp,
      "network.protocol.name": "http",
      "network.protocol.version": exchange.protocolVersion,
      ...(status > 0 && { "http.response.status_code": status }),
      "http.request.body.size": exchange.bytesIn,
      "http.response.body.size": exchange.bytesOut,
      ...errorTypeOf(status >= 500, exchange),
      "agent_vault.request_id": exchange.requestId,
      "agent_vault.vault": scope?.vaultName,
      "agent_vault.service": service,
      "agent_vault.actor.type": scope?.actorType,
      "agent_vault.actor.id": scope?.actorId,
      "agent_vault.session.id": scope?.sessionId,
      ...(errorCode !== "" && { "agent_vault.error_code": errorCode }),
    },
  });
}

function recordClientSpan(tracing: Tracing, exchange: TracedExchange, { parent, method }: Place): void {
  const { route, dial, status, firstByteMs, errorCode } = exchange;
  const openedMs = dial === undefined ? 0 : dial.dnsMs + dial.connectMs + dial.tlsMs;
  const hasAnswered = firstByteMs !== undefined;
  tracing.record({
    ...parent,
    spanId: newSpanId(),
    name: nameOf(method, exchange.service),
    kind: "client",
    startMs: exchange.startedAtMs + Math.max(0, (exchange.sentAfterMs ?? 0) - openedMs),
    endMs: exchange.startedAtMs + exchange.totalMs,
    isError: !hasAnswered || status >= 400 || errorCode !== "",
    attributes: {
      "http.request.method": method,
      "url.full": `${route.scheme}://${route.hostHeader}${exchange.path}`,
      "server.address": route.host,
      "server.port": route.port,
      "network.peer.address": dial?.address || undefined,
      ...(hasAnswered && { "http.response.status_code": status }),
      ...(exchange.isRetried && { "http.request.resend_count": 1 }),
      ...errorTypeOf(!hasAnswered || status >= 400, exchange),
      "agent_vault.upstream.reused": dial === undefined,
      ...(dial && {
        "agent_vault.upstream.dns_ms": rounded(dial.dnsMs),
        "agent_vault.upstream.connect_ms": rounded(dial.connectMs),
        "agent_vault.upstream.tls_ms": rounded(dial.tlsMs),
      }),
      ...(hasAnswered && { "agent_vault.upstream.first_byte_ms": rounded(firstByteMs) }),
    },
  });
}

/** The code of the journal, or the status where there is none. */
function errorTypeOf(isFailure: boolean, { errorCode, status }: TracedExchange): { "error.type"?: string } {
  if (errorCode !== "") return { "error.type": errorCode };
  return isFailure ? { "error.type": String(status) } : {};
}

/** Few different ones: receivers group by it. */
function nameOf(method: string, service: string | undefined): string {
  const verb = method === "_OTHER" ? "HTTP" : method;
  return service === undefined ? verb : `${verb} ${service}`;
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

const traceparent = "traceparent";

/** Undefined where there is none, or more than one (W3C Trace Context, section 4.3). */
function traceparentOf(fields: Fields): string | undefined {
  let found: string | undefined;
  for (let line = 0; line < fields.count; line += 1) {
    const length = fields.nameEnd(line) - fields.nameStart(line);
    if (length !== traceparent.length || !fields.nameStartsWith(line, traceparent)) continue;
    if (found !== undefined) return undefined;
    found = fields.value(line);
  }
  return found;
}
