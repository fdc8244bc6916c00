import { AppError } from "../errors.ts";
import { serializeResponseHead } from "./http1/serialize.ts";

/** A broker-made answer: one JSON envelope, marked as ours (spec of the proxy, section 33.6.1). */

export interface RefusalOptions {
  readonly requestId: string;
  /** Where the API is, for the `help` text. */
  readonly baseUrl: string | undefined;
  /** The answer to HEAD has no body. */
  readonly isHead: boolean;
  readonly closes: boolean;
}

export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** Head and body, as latin1. */
  readonly text: string;
}

export function renderRefusal(error: unknown, options: RefusalOptions): Refusal {
  const known = error instanceof AppError ? error : undefined;
  const status = proxyStatusOf(known);
  const code = known?.code ?? "internal";
  const help = known?.hint ?? helpFor(status, options.baseUrl);
  const body = {
    ...known?.details,
    error: code,
    message: known?.message ?? "Something went wrong in the proxy",
    ...(help === undefined ? {} : { help }),
    request_id: options.requestId,
  };
  const json = Buffer.from(`${JSON.stringify(body)}\n`, "utf8").toString("latin1");
  const headers = [
    "Content-Type",
    "application/json",
    "Content-Length",
    String(json.length),
    "X-Agent-Vault-Proxy-Error",
    "true",
    "X-Agent-Vault-Error-Code",
    code,
    "X-Request-Id",
    options.requestId,
    "Cache-Control",
    "no-store",
  ];
  if (status === 407) headers.push("Proxy-Authenticate", 'Basic realm="agent-vault"');
  if (status === 405) headers.push("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  if (known?.retryAfterSeconds !== undefined) {
    headers.push("Retry-After", String(Math.max(1, Math.ceil(known.retryAfterSeconds))));
  }
  if (status === 429) {
    const limit = known?.details.limit;
    if (typeof limit === "number") headers.push("X-RateLimit-Limit", String(limit));
    headers.push("X-RateLimit-Remaining", "0");
  }
  if (options.closes) headers.push("Connection", "close");
  const head = serializeResponseHead(status, reasons[status] ?? "Refused", headers);
  return { status, code, message: body.message, text: options.isHead ? head : head + json };
}

/** To a proxy, not knowing who is asking is 407 (RFC 9110, section 15.5.8). */
export function proxyStatusOf(error: AppError | undefined): number {
  if (!error) return 500;
  return error.status === 401 ? 407 : error.status;
}

function helpFor(status: number, baseUrl: string | undefined): string | undefined {
  if (baseUrl === undefined || (status !== 403 && status !== 502)) return undefined;
  return `See what is available with GET ${baseUrl}/discover, and how to ask for more with GET ${baseUrl}/v1/skills/cli`;
}

const reasons: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

/** A request that this proxy will not serve, whoever sends it. */
export class RefusedRequest extends AppError {
  override readonly status: 400 | 405 | 408 | 421;

  constructor(status: 400 | 405 | 408 | 421, code: string, message: string, hint?: string) {
    super(code, message, hint === undefined ? {} : { hint });
    this.status = status;
  }
}
