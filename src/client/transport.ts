/** One HTTP exchange with a server: headers, time limit, JSON in and out, failures as `AppError`s. */
import {
  AppError,
  Conflict,
  Corrupt,
  Forbidden,
  Gone,
  InvalidInput,
  NotFound,
  PreconditionFailed,
  RateLimited,
  TooLarge,
  Unauthenticated,
  Unavailable,
  UpstreamFailed,
} from "../errors.ts";

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

export interface TransportOptions {
  /** Base URL without a trailing slash. */
  readonly address: string;
  readonly token?: string | undefined;
  /** `cli/0.1.0`; becomes `X-AV-Client`. */
  readonly clientName: string;
  /** How to reach the server; a browser passes its `fetch`, the command line one that avoids proxies. */
  readonly fetch: Fetch;
  /** For a whole exchange. Ten seconds unless told otherwise. */
  readonly timeoutMs?: number;
}

/** A whole answer. */
export interface Answer {
  readonly headers: Headers;
  readonly text: string;
}

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** For this exchange, in place of the client's own limit. */
  readonly timeoutMs?: number;
}

/** A path whose values are percent-encoded, each as one segment. */
export function path(strings: TemplateStringsArray, ...values: readonly string[]): string {
  return strings.map((part, at) => part + (at < values.length ? encodeSegment(values[at] ?? "") : "")).join("");
}

function encodeSegment(value: string): string {
  const encoded = encodeURIComponent(value);
  // `.` and `..` would be resolved away before they are sent.
  return encoded === "." ? "%2E" : encoded === ".." ? "%2E%2E" : encoded;
}

export class Transport {
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  get address(): string {
    return this.#options.address;
  }

  /** @throws {AppError} for every answer of 400 and above; `Unavailable` `server_unreachable` when there is none. */
  async json<T>(method: string, target: string, options: CallOptions = {}): Promise<T> {
    const { text } = await this.send(method, target, options);
    try {
      // The shapes are those of the API's specification; the server is trusted to keep them.
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new UpstreamFailed("bad_answer", `${this.address} answered something that is not JSON`, {
        hint: "check that the address names an agent-vault server",
        cause,
      });
    }
  }

  /** As `json`, whatever the body is. The time limit is for all of it. */
  async send(method: string, target: string, options: CallOptions = {}): Promise<Answer> {
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? 10_000;
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const response = await this.#fetch(method, target, { ...options, signal });
      const text = await response.text();
      if (response.status >= 300) throw failureOf(response, text, this.address);
      return { headers: response.headers, text };
    } catch (error) {
      throw error instanceof AppError ? error : this.#unreachable(error, timeoutMs);
    }
  }

  /**
   * The text of an answer piece by piece, as it comes and as fast as it is read. The time limit is for its beginning.
   * @throws {AppError} as `json`; `Unavailable` `server_unreachable` also when it breaks off.
   */
  async *stream(target: string, options: CallOptions = {}): AsyncGenerator<string, void> {
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? 10_000;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new DOMException("too slow", "TimeoutError")), timeoutMs);
    const decoder = new TextDecoder();
    try {
      const response = await this.#fetch("GET", target, { ...options, signal: abort.signal });
      if (response.status >= 300) throw failureOf(response, await response.text(), this.address);
      clearTimeout(timer);
      for await (const chunk of response.body ?? []) yield decoder.decode(chunk, { stream: true });
    } catch (error) {
      throw error instanceof AppError ? error : this.#unreachable(error, timeoutMs);
    } finally {
      clearTimeout(timer);
      // Also when the caller has read enough.
      abort.abort();
    }
  }

  #fetch(
    method: string,
    target: string,
    { query = {}, body, headers = {}, signal }: CallOptions & { readonly signal: AbortSignal },
  ): Promise<Response> {
    const url = new URL(`${this.address}${target}`);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
    const { token, clientName } = this.#options;
    return this.#options.fetch(url.href, {
      method,
      headers: {
        accept: "application/json",
        "x-av-client": clientName,
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      // A redirect would carry the token to wherever it points.
      redirect: "manual",
      signal,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  #unreachable(cause: unknown, timeoutMs: number): Unavailable {
    const isSlow = cause instanceof Error && cause.name === "TimeoutError";
    const what = isSlow ? `did not answer within ${timeoutMs / 1000} s` : "cannot be reached";
    return new Unavailable("server_unreachable", `The server at ${this.address} ${what}`, {
      hint: "agent-vault server, or --address for one that runs elsewhere",
      cause,
    });
  }
}

const kinds: Readonly<Record<number, new (code: string, message: string, options?: object) => AppError>> = {
  400: InvalidInput,
  401: Unauthenticated,
  403: Forbidden,
  404: NotFound,
  405: NotFound,
  409: Conflict,
  410: Gone,
  412: PreconditionFailed,
  413: TooLarge,
  429: RateLimited,
  502: UpstreamFailed,
  503: Unavailable,
};

function failureOf(response: Response, text: string, address: string): AppError {
  if (response.status < 400) {
    return new UpstreamFailed("redirected", `${address} answered with a redirect (${response.status})`, {
      hint: "give --address the final address, with the right scheme and without a path",
    });
  }
  const body = parseObject(text);
  const { error, message, code, hint, ...details } = body;
  // Two shapes: a sentence in `error`, or a code in `error` with the sentence in `message`.
  const isCoded = typeof message === "string" && typeof error === "string";
  const sentence = isCoded ? message : typeof error === "string" ? error : plainSentence(response, text);
  const stableCode = typeof code === "string" ? code : isCoded ? error : `http_${response.status}`;
  const Kind = kinds[response.status] ?? (response.status >= 500 ? Corrupt : InvalidInput);
  return new Kind(stableCode, singleLine(sentence), {
    details,
    ...(typeof hint === "string" ? { hint: singleLine(hint) } : {}),
    ...retryAfter(response),
  });
}

function plainSentence(response: Response, text: string): string {
  const isPlain = response.headers.get("content-type")?.startsWith("text/plain") && text.trim().length < 200;
  return isPlain && text.trim() ? text.trim() : `The server answered with status ${response.status}`;
}

function retryAfter(response: Response): { retryAfterSeconds?: number; hint?: string } {
  const value = response.headers.get("retry-after");
  if (!value || !/^\d+$/.test(value)) return {};
  return { retryAfterSeconds: Number(value), hint: `the same again in ${value} s` };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // an answer that is no JSON has no fields; its status says enough
  }
}

/** A server's sentence must not move the cursor of a terminal. */
function singleLine(text: string): string {
  return text
    .replace(/\p{Cc}+/gu, " ")
    .trim()
    .replace(/\.$/, "");
}
