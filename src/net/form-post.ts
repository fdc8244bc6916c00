/** One POST of a form to a server that an administrator named: the call that gets tokens. */
import type { Socket } from "node:net";
import { Client } from "undici/index.js";
import { AppError, UpstreamFailed } from "../errors.ts";
import { parseHost } from "./address.ts";
import type { Outbound } from "./outbound.ts";

export interface FormPost {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly fields: URLSearchParams;
}

export interface FormAnswer {
  readonly status: number;
  readonly body: string;
}

export interface FormPostLimits {
  /** For the whole call, from the name to the last byte. */
  readonly timeoutMs: number;
  /** Of the answer's body. */
  readonly maxBytes: number;
}

/**
 * Sends the form on a connection of its own, past any proxy of the environment. The address policy and the
 * verification of TLS are those of `outbound`. A redirect is an answer like any other: following it would carry the
 * secrets in the form to wherever it points.
 *
 * @throws {UpstreamFailed} what `Outbound` throws; `upstream_timeout`, `upstream_answer_too_large`,
 * `upstream_bad_answer`. Messages name the host only, never the path, the query or the form.
 */
export async function postForm(outbound: Outbound, post: FormPost, limits: FormPostLimits): Promise<FormAnswer> {
  const { url } = post;
  const signal = AbortSignal.timeout(limits.timeoutMs);
  const client = new Client(url.origin, {
    connect: (_options, callback) => {
      dial(outbound, url, signal).then(
        (socket) => callback(null, socket),
        (error: unknown) => callback(asError(error), null),
      );
    },
    pipelining: 0,
    headersTimeout: limits.timeoutMs,
    bodyTimeout: limits.timeoutMs,
    maxResponseSize: limits.maxBytes,
    maxHeaderSize: 64 * 1024,
  });
  try {
    const answer = await client.request({
      method: "POST",
      path: `${url.pathname}${url.search}`,
      headers: { ...post.headers, "content-type": "application/x-www-form-urlencoded" },
      body: post.fields.toString(),
      signal,
    });
    return { status: answer.statusCode, body: await answer.body.text() };
  } catch (error) {
    throw describe(error, url.host, signal);
  } finally {
    // Nobody waits for it: the answer is here, or lost.
    client.destroy().catch(() => undefined);
  }
}

async function dial(outbound: Outbound, url: URL, signal: AbortSignal): Promise<Socket> {
  const isTls = url.protocol === "https:";
  const target = { host: parseHost(url.hostname), port: Number(url.port) || (isTls ? 443 : 80) };
  const socket = await (isTls ? outbound.connectTls(target, { session: undefined }) : outbound.connect(target));
  if (signal.aborted) {
    socket.destroy();
    throw signal.reason;
  }
  return socket;
}

function describe(error: unknown, host: string, signal: AbortSignal): AppError {
  if (error instanceof AppError) return error;
  const name = error instanceof Error ? error.name : "";
  if (signal.aborted || name === "HeadersTimeoutError" || name === "BodyTimeoutError") {
    return new UpstreamFailed("upstream_timeout", `${host} did not answer in time`, { status: 504, cause: error });
  }
  if (name === "ResponseExceededMaxSizeError") {
    return new UpstreamFailed("upstream_answer_too_large", `${host} answered more than is taken`, { cause: error });
  }
  return new UpstreamFailed("upstream_bad_answer", `${host} broke off, or answered something that is not HTTP`, {
    cause: error,
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
