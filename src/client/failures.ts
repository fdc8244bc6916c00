/** What went wrong with an exchange becomes an error here: `AppError`s, unless whoever uses the client has a kind of its own. */
import {
  type AppError,
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

/** An answer of 400 and above, read. Nothing in it can move the cursor of a terminal. */
export interface FailedAnswer {
  readonly status: number;
  /** `http_404` when the server named none. */
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  /** What else the answer says, such as the candidates of a conflict. */
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryAfterSeconds: number | undefined;
  readonly headers: Headers;
}

export interface Failures {
  /** The server refused. */
  refused(answer: FailedAnswer): Error;
  /** No answer, or half of one. */
  unreachable(failure: {
    readonly address: string;
    readonly slowMs: number | undefined;
    readonly cause: unknown;
  }): Error;
  /** What answers is no agent-vault. */
  garbled(failure: { readonly address: string; readonly cause: unknown }): Error;
  /** @param status 300 to 399. */
  redirected(failure: { readonly address: string; readonly status: number }): Error;
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

/** For the command line: `Unavailable` `server_unreachable` when there is no answer. */
export const appFailures: Failures = {
  refused({ status, code, message, hint, details, retryAfterSeconds }) {
    const Kind = kinds[status] ?? (status >= 500 ? Corrupt : InvalidInput);
    const again =
      retryAfterSeconds === undefined ? {} : { retryAfterSeconds, hint: `the same again in ${retryAfterSeconds} s` };
    return new Kind(code, message, { details, ...(hint === undefined ? {} : { hint }), ...again });
  },
  unreachable({ address, slowMs, cause }) {
    return new Unavailable("server_unreachable", whyUnreachable(address, slowMs), {
      hint: "agent-vault server, or --address for one that runs elsewhere",
      cause,
    });
  },
  garbled({ address, cause }) {
    return new UpstreamFailed("bad_answer", `${address} answered something that is not JSON`, {
      hint: "check that the address names an agent-vault server",
      cause,
    });
  },
  redirected({ address, status }) {
    return new UpstreamFailed("redirected", `${address} answered with a redirect (${status})`, {
      hint: "give --address the final address, with the right scheme and without a path",
    });
  },
};

/** @param slowMs how long it was waited for, if that was the reason. */
export function whyUnreachable(address: string, slowMs: number | undefined): string {
  const what = slowMs === undefined ? "cannot be reached" : `did not answer within ${slowMs / 1000} s`;
  return `The server at ${address} ${what}`;
}

/** The HTTP status behind an error of the client; undefined when no server answered. */
export function statusOf(error: unknown): number | undefined {
  const status = error instanceof Error && "status" in error ? error.status : undefined;
  return typeof status === "number" ? status : undefined;
}

export function readFailure(response: Response, text: string): FailedAnswer {
  const { error, message, code, hint, ...details } = parseObject(text);
  // Two shapes: a sentence in `error`, or a code in `error` with the sentence in `message`.
  const isCoded = typeof message === "string" && typeof error === "string";
  const sentence = isCoded ? message : typeof error === "string" ? error : plainSentence(response, text);
  const retryAfter = response.headers.get("retry-after");
  return {
    status: response.status,
    code: typeof code === "string" ? code : isCoded ? error : `http_${response.status}`,
    message: singleLine(sentence),
    hint: typeof hint === "string" ? singleLine(hint) : undefined,
    details,
    retryAfterSeconds: retryAfter !== null && /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined,
    headers: response.headers,
  };
}

function plainSentence(response: Response, text: string): string {
  const isPlain = response.headers.get("content-type")?.startsWith("text/plain") && text.trim().length < 200;
  return isPlain && text.trim() ? text.trim() : `The server answered with status ${response.status}`;
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
