/** One span of a trace, and which traces are recorded. */
import { randomBytes } from "node:crypto";

export type AttributeValue = string | number | boolean;
/** Facts of a span. Never a credential, a header value, a body or a query. */
export type Attributes = Readonly<Record<string, AttributeValue | undefined>>;

export interface Span {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: "server" | "client";
  /** Milliseconds since the epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly isError: boolean;
}

/** Where a span goes on: its trace, and the span above it. */
export interface TraceParent {
  readonly traceId: string;
  /** Empty where the trace begins here. */
  readonly parentSpanId: string;
}

/** A `traceparent` header (W3C Trace Context, section 3.2); undefined for anything that is none. */
export function parseTraceparent(text: string): (TraceParent & { readonly isSampled: boolean }) | undefined {
  const found = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(text);
  if (found === null) return undefined;
  const [, version = "", traceId = "", parentSpanId = "", flags = "", more] = found;
  // Later versions may say more behind the flags; the first one says nothing there.
  if (version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentSpanId)) return undefined;
  return { traceId, parentSpanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function newSpanId(): string {
  return randomBytes(8).toString("hex");
}

/** Which traces are recorded, as `OTEL_TRACES_SAMPLER` names it. */
export interface Sampling {
  /** Whoever called decides, where it said anything. */
  readonly followsParent: boolean;
  /** The share of the others: 0 to 1. */
  readonly ratio: number;
}

/** Compared with the ratio: the last 52 bits of the trace's id, which every participant sees alike. */
const sampledDigits = 13;

/** @returns where the span of a request goes on; undefined when its trace is not recorded. */
export function sample(sampling: Sampling, traceparent: string | undefined): TraceParent | undefined {
  const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent);
  if (parent !== undefined && sampling.followsParent) return parent.isSampled ? parent : undefined;
  const { traceId, parentSpanId } = parent ?? { traceId: randomBytes(16).toString("hex"), parentSpanId: "" };
  const share = Number.parseInt(traceId.slice(-sampledDigits), 16) / 16 ** sampledDigits;
  return share < sampling.ratio ? { traceId, parentSpanId } : undefined;
}
