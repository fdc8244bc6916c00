/**
 * Sends OTLP/HTTP requests in JSON to a receiver (OTLP specification, section "OTLP/HTTP"): one at a time, tried again
 * while the receiver asks for that, never for ever. The receiver is the operator's choice, so the address policy that is
 * for agents does not apply; redirects are not followed, and no proxy of the environment is used.
 */
import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { OtlpTarget } from "./telemetry-config.ts";

export type Signal = "traces" | "metrics";

/** `rejected`: how many of the things sent were not taken. */
export type Delivery = { readonly isDelivered: true; readonly rejected: number } | { readonly isDelivered: false };

export interface SenderOptions {
  readonly signal: Signal;
  readonly target: OtlpTarget;
  readonly log: Logger;
  /** Of the first repetition; doubled for each that follows. */
  readonly retryAfterMs?: number;
}

const maxAttempts = 5;
const defaultRetryAfterMs = 1_000;
const longestWaitMs = 30_000;
/** Receivers answer with a few bytes. */
const maxAnswerBytes = 64 * 1024;
/** "Retryable response codes". */
const retried: ReadonlySet<number> = new Set([429, 502, 503, 504]);

const compress = promisify(gzip);

interface Answer {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  readonly body: string;
}

export class OtlpSender {
  readonly #options: SenderOptions;
  readonly #agent: PlainAgent | SecureAgent;
  readonly #stopping = new AbortController();
  #isFailing = false;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { url, certificate: ca } = options.target;
    const agentOptions = { keepAlive: true, maxSockets: 1 };
    this.#agent =
      url.protocol === "https:"
        ? new SecureAgent({ ...agentOptions, ...(ca !== undefined && { ca }) })
        : new PlainAgent(agentOptions);
  }

  /** Never rejects. */
  async send(message: object): Promise<Delivery> {
    const { signal, target, log } = this.#options;
    const text = JSON.stringify(message);
    const body = target.isCompressed ? await compress(text) : Buffer.from(text);
    let why = "";
    for (let attempt = 1; attempt <= maxAttempts; attempt++) {
      const answer = await this.#post(body).catch((error: unknown) => messageOf(error));
      if (typeof answer !== "string" && answer.status >= 200 && answer.status < 300) return this.#delivered(answer);
      why = typeof answer === "string" ? answer : `it answered ${answer.status}`;
      const isWorthIt = typeof answer === "string" || retried.has(answer.status);
      if (!isWorthIt || attempt === maxAttempts || this.#stopping.signal.aborted) break;
      const asked = typeof answer === "string" ? undefined : answer.retryAfterMs;
      const ownMs = (this.#options.retryAfterMs ?? defaultRetryAfterMs) * 2 ** (attempt - 1);
      await this.#wait(Math.min(longestWaitMs, asked ?? ownMs));
    }
    // Once for as long as it lasts: a receiver that is away must not fill the log.
    if (!this.#isFailing) log.warn("telemetry cannot be delivered", { signal, host: target.url.host, reason: why });
    this.#isFailing = true;
    return { isDelivered: false };
  }

  /** From here on nothing is tried twice, and nobody waits between attempts. */
  stop(): void {
    this.#stopping.abort();
  }

  close(): void {
    this.stop();
    this.#agent.destroy();
  }

  #delivered(answer: Answer): Delivery {
    const { signal, target, log } = this.#options;
    if (this.#isFailing) log.info("telemetry is delivered again", { signal, host: target.url.host });
    this.#isFailing = false;
    const rejected = rejectedOf(answer.body);
    if (rejected > 0) log.warn("the receiver did not take all telemetry", { signal, rejected });
    return { isDelivered: true, rejected };
  }

  #post(body: Buffer): Promise<Answer> {
    const { url, headers, timeoutMs, isCompressed } = this.#options.target;
    const request = url.protocol === "https:" ? secureRequest : plainRequest;
    const own = {
      "content-type": "application/json",
      "content-length": String(body.length),
      "user-agent": "agent-vault",
      ...(isCompressed && { "content-encoding": "gzip" }),
    };
    return new Promise((resolve, reject) => {
      const secret = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.reveal()]));
      const sent = request(url, { method: "POST", headers: { ...secret, ...own }, agent: this.#agent });
      const timer = setTimeout(() => sent.destroy(new Error("it did not answer in time")), timeoutMs);
      sent.once("error", reject);
      sent.once("close", () => clearTimeout(timer));
      sent.once("response", (response) => {
        readAnswer(response).then(resolve, reject);
      });
      sent.end(body);
    });
  }

  #wait(ms: number): Promise<void> {
    const { signal } = this.#stopping;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener("abort", end);
    });
  }
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxAnswerBytes) throw new Error("its answer is too long");
    chunks.push(chunk as Buffer);
  }
  const seconds = Number(response.headers["retry-after"]);
  return {
    status: response.statusCode ?? 0,
    retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined,
    body: Buffer.concat(chunks).toString("utf8"),
  };
}

/** What `partialSuccess` counts; the receiver may answer with nothing, or with another format. */
function rejectedOf(body: string): number {
  try {
    const { partialSuccess } = JSON.parse(body) as { partialSuccess?: Readonly<Record<string, unknown>> };
    const count = Number(partialSuccess?.rejectedSpans ?? partialSuccess?.rejectedDataPoints ?? 0);
    return Number.isFinite(count) ? count : 0;
  } catch {
    return 0;
  }
}
