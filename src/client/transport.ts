/** One HTTP exchange with a server: headers, time limit, JSON in and out. What fails becomes an error in failures.ts. */
import { appFailures, type Failures, readFailure } from "./failures.ts";

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

export interface TransportOptions {
  /** Base URL without a trailing slash. */
  readonly address: string;
  readonly token?: string | undefined;
  /** `cli/0.1.0`; becomes `X-AV-Client`. */
  readonly clientName?: string;
  /** Go with every request. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How to reach the server; a browser passes its `fetch`, the command line one that avoids proxies. */
  readonly fetch: Fetch;
  /** For a whole exchange. Ten seconds unless told otherwise. */
  readonly timeoutMs?: number;
  /** What to throw; `AppError`s unless told otherwise. */
  readonly failures?: Failures;
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
  readonly #failures: Failures;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#failures = options.failures ?? appFailures;
  }

  get address(): string {
    return this.#options.address;
  }

  /** @throws {Error} as `Failures` makes it, for every answer of 300 and above and when there is none. */
  async json<T>(method: string, target: string, options: CallOptions = {}): Promise<T> {
    const { text } = await this.send(method, target, options);
    try {
      // The shapes are those of the API's specification; the server is trusted to keep them.
      return JSON.parse(text) as T;
    } catch (cause) {
      throw this.#failures.garbled({ address: this.address, cause });
    }
  }

  /** As `json`, whatever the body is. The time limit is for all of it. */
  async send(method: string, target: string, options: CallOptions = {}): Promise<Answer> {
    const timeoutMs = this.#timeoutMs(options);
    const signal = AbortSignal.timeout(timeoutMs);
    const { response, text } = await this.#reach(timeoutMs, async () => {
      const answer = await this.#fetch(method, target, { ...options, signal });
      return { response: answer, text: await answer.text() };
    });
    if (response.status >= 300) throw this.#refusal(response, text);
    return { headers: response.headers, text };
  }

  /**
   * The text of an answer piece by piece, as it comes and as fast as it is read. The time limit is for its beginning.
   * @throws {Error} as `json`, also when it breaks off.
   */
  async *stream(target: string, options: CallOptions = {}): AsyncGenerator<string, void> {
    const timeoutMs = this.#timeoutMs(options);
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(new DOMException("too slow", "TimeoutError")), timeoutMs);
    const decoder = new TextDecoder();
    try {
      const begin = () => this.#fetch("GET", target, { ...options, signal: abort.signal });
      const response = await this.#reach(timeoutMs, begin);
      if (response.status >= 300) {
        throw this.#refusal(response, await this.#reach(timeoutMs, () => response.text()));
      }
      clearTimeout(timer);
      const reader = response.body?.getReader();
      while (reader !== undefined) {
        const { done, value } = await this.#reach(timeoutMs, () => reader.read());
        if (done) return;
        yield decoder.decode(value, { stream: true });
      }
    } finally {
      clearTimeout(timer);
      // Also when the caller has read enough.
      abort.abort();
    }
  }

  #timeoutMs(options: CallOptions): number {
    return options.timeoutMs ?? this.#options.timeoutMs ?? 10_000;
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
        ...(clientName === undefined ? {} : { "x-av-client": clientName }),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...this.#options.headers,
        ...headers,
      },
      // A redirect would carry the token to wherever it points.
      redirect: "manual",
      signal,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async #reach<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      const isSlow = cause instanceof Error && cause.name === "TimeoutError";
      throw this.#failures.unreachable({ address: this.address, slowMs: isSlow ? timeoutMs : undefined, cause });
    }
  }

  #refusal(response: Response, text: string): Error {
    if (response.status < 400) return this.#failures.redirected({ address: this.address, status: response.status });
    return this.#failures.refused(readFailure(response, text));
  }
}
