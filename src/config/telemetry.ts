/**
 * OpenTelemetry, as its standard variables configure it ("Environment Variable Specification", "OTLP Exporter
 * Configuration"). Nothing is told to anybody unless an endpoint is named.
 */
import { readFileSync } from "node:fs";
import { Secret } from "../crypto/secret.ts";
import { InvalidInput } from "../errors.ts";
import type { Sampling } from "../telemetry/span.ts";
import type { MetricsConfig, OtlpTarget, TelemetryConfig, TracesConfig } from "../telemetry/telemetry-config.ts";
import { invalid, type Variables } from "./variables.ts";

/** As their names are in the variables and, in lower case, at the end of addresses. */
type SignalName = "TRACES" | "METRICS";

const exporter = "OTEL_EXPORTER_OTLP";

/** Undefined when nothing is told. @throws {InvalidInput} `invalid_configuration`, naming the variable. */
export function parseTelemetry(env: Variables): TelemetryConfig | undefined {
  if (env.flag("OTEL_SDK_DISABLED")) return undefined;
  const traces = parseTraces(env);
  const metrics = parseMetrics(env);
  if (traces === undefined && metrics === undefined) return undefined;
  return { resource: parseResource(env), traces, metrics };
}

function parseTraces(env: Variables): TracesConfig | undefined {
  const target = parseTarget(env, "TRACES");
  if (target === undefined) return undefined;
  const maxQueue = env.integer("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1);
  return {
    target,
    sampling: parseSampling(env),
    maxQueue,
    maxBatch: Math.min(maxQueue, env.integer("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1)),
    delayMs: env.integer("OTEL_BSP_SCHEDULE_DELAY", 5_000, 1),
  };
}

function parseMetrics(env: Variables): MetricsConfig | undefined {
  const target = parseTarget(env, "METRICS");
  if (target === undefined) return undefined;
  return { target, intervalMs: env.integer("OTEL_METRIC_EXPORT_INTERVAL", 60_000, 1) };
}

/** Where one signal goes; undefined when it goes nowhere. */
function parseTarget(env: Variables, signal: SignalName): OtlpTarget | undefined {
  if (env.oneOf(`OTEL_${signal}_EXPORTER`, ["otlp", "none"], "otlp") === "none") return undefined;
  const url = parseEndpoint(env, signal);
  if (url === undefined) return undefined;
  requireJson(env, signal);
  const [compression] = own(env, signal, "COMPRESSION");
  return {
    url,
    headers: parseHeaders(env, signal),
    timeoutMs: env.integer(own(env, signal, "TIMEOUT")[0], 10_000, 1),
    isCompressed: env.oneOf(compression, ["none", "gzip"], "none") === "gzip",
    certificate: readCertificate(...own(env, signal, "CERTIFICATE")),
  };
}

/** The variable of this signal where it is set, else the one for all signals; and what it holds. */
function own(env: Variables, signal: SignalName, what: string): readonly [name: string, value: string | undefined] {
  const name = `${exporter}_${signal}_${what}`;
  const value = env.text(name);
  if (value !== undefined) return [name, value.trim()];
  return [`${exporter}_${what}`, env.text(`${exporter}_${what}`)?.trim()];
}

/** The one of a signal is used as it is; the one for all gets the path of the signal. */
function parseEndpoint(env: Variables, signal: SignalName): URL | undefined {
  const [name, value] = own(env, signal, "ENDPOINT");
  if (value === undefined) return undefined;
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  // The value is not shown: somebody may have put a login into it.
  if (url === undefined || !isHttp || url.username !== "" || url.password !== "") {
    throw new InvalidInput("invalid_configuration", `${name} is not the address of an OTLP/HTTP receiver`, {
      hint: `use the form http://collector:4318; a login belongs into ${exporter}_HEADERS`,
    });
  }
  if (name === `${exporter}_ENDPOINT`) {
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/${signal.toLowerCase()}`;
  }
  return url;
}

function requireJson(env: Variables, signal: SignalName): void {
  const [name, value = "http/json"] = own(env, signal, "PROTOCOL");
  if (value.toLowerCase() === "http/json") return;
  throw new InvalidInput("invalid_configuration", `${name} asks for ${JSON.stringify(value.slice(0, 40))}`, {
    hint: "only http/json is spoken: set it to that, and let the endpoint be the receiver's HTTP port, which is usually 4318",
  });
}

/** `name=value,name=value`, values percent-encoded (W3C Baggage). No message holds a value. */
function parseHeaders(env: Variables, signal: SignalName): Readonly<Record<string, Secret>> {
  const [name, text = ""] = own(env, signal, "HEADERS");
  const headers: Record<string, Secret> = {};
  for (const pair of pairsOf(text)) {
    const value = pair === undefined ? undefined : decoded(pair.value);
    const isHeader =
      value !== undefined && /^[\x20-\x7e]*$/.test(value) && /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(pair?.key ?? "");
    if (!isHeader || pair === undefined) {
      throw new InvalidInput("invalid_configuration", `${name} is not a list of headers`, {
        hint: "use the form name=value,name2=value2, with values percent-encoded",
      });
    }
    headers[pair.key.toLowerCase()] = new Secret(value);
  }
  return headers;
}

function readCertificate(name: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new InvalidInput("invalid_configuration", `${name} names a file that cannot be read`, { cause });
  }
}

function parseResource(env: Variables): Readonly<Record<string, string>> {
  const name = "OTEL_RESOURCE_ATTRIBUTES";
  const text = env.text(name) ?? "";
  const attributes: Record<string, string> = { "service.name": "agent-vault" };
  for (const pair of pairsOf(text)) {
    const value = pair === undefined ? undefined : decoded(pair.value);
    if (pair === undefined || value === undefined) {
      throw invalid(name, text, "a list such as deployment.environment.name=production,team=platform");
    }
    attributes[pair.key] = value;
  }
  const service = env.text("OTEL_SERVICE_NAME");
  return service === undefined ? attributes : { ...attributes, "service.name": service.trim() };
}

/** The pairs of a list; undefined for what is none. Empty ones are skipped. */
function pairsOf(text: string): readonly ({ readonly key: string; readonly value: string } | undefined)[] {
  return text
    .split(",")
    .filter((pair) => pair.trim() !== "")
    .map((pair) => {
      const at = pair.indexOf("=");
      const key = pair.slice(0, at).trim();
      return at === -1 || key === "" ? undefined : { key, value: pair.slice(at + 1).trim() };
    });
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

const samplers = [
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
  "always_on",
  "always_off",
  "traceidratio",
] as const;

function parseSampling(env: Variables): Sampling {
  const sampler = env.oneOf("OTEL_TRACES_SAMPLER", samplers, "parentbased_always_on");
  const ratio = env.optionalNumber("OTEL_TRACES_SAMPLER_ARG") ?? 1;
  if (ratio > 1) throw invalid("OTEL_TRACES_SAMPLER_ARG", String(ratio), "a number from 0 to 1");
  const ratios = { always_on: 1, always_off: 0, traceidratio: ratio };
  const root = sampler.replace("parentbased_", "") as keyof typeof ratios;
  return { followsParent: sampler.startsWith("parentbased_"), ratio: ratios[root] };
}
