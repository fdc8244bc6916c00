/** One POST to an address that somebody configured, under the address policy. Of the answer only the status counts. */
import type { Socket } from "node:net";
import { InvalidInput, UpstreamFailed } from "../errors.ts";
import { formatAuthority } from "./address.ts";
import type { Outbound } from "./outbound.ts";

export interface PostRequest {
  /** https, or http where the caller allows it. User names and fragments are not sent. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** For all of it: resolving, connecting, sending, and the head of the answer. */
  readonly timeoutMs: number;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** A status line is short; a peer that sends more without ending one speaks something else. */
const maxStatusLineBytes = 1_024;

/**
 * Resolves to the status of the answer; redirects are not followed. The connection is closed afterwards.
 * @throws {UpstreamFailed} whatever `Outbound` throws; `post_timeout`, `post_given_up`, `post_failed`,
 * `bad_answer`.
 */
export async function post(outbound: Outbound, request: PostRequest): Promise<number> {
  const isSecure = request.url.protocol === "https:";
  const target = {
    host: request.url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(request.url.port) || (isSecure ? 443 : 80),
  };
  const where = formatAuthority(target);
  const head = renderHead(request);
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => deadline.reject(new UpstreamFailed("post_timeout", `${where} did not answer in time`, { status: 504 })),
    request.timeoutMs,
  );
  const giveUp = () => deadline.reject(new UpstreamFailed("post_given_up", `${where} was given up: the server stops`));
  if (request.signal.aborted) giveUp();
  request.signal.addEventListener("abort", giveUp);
  // Nobody may be waiting for it when it comes.
  deadline.promise.catch(() => undefined);
  const connecting = isSecure ? outbound.connectTls(target, { session: undefined }) : outbound.connect(target);
  let socket: Socket | undefined;
  try {
    socket = await Promise.race([connecting, deadline.promise]);
    return await Promise.race([exchange(socket, head + request.body, where), deadline.promise]);
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener("abort", giveUp);
    if (socket) socket.destroy();
    // A connection that comes after its time is nobody's.
    else connecting.then((late) => late.destroy()).catch(() => undefined);
  }
}

function exchange(socket: Socket, message: string, where: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (code: string, why: string, cause?: unknown) =>
      reject(new UpstreamFailed(code, `${where} ${why}`, { cause }));
    let received = "";
    socket.on("data", (chunk: Buffer) => {
      received += chunk.toString("latin1");
      const status = /^HTTP\/1\.[01] (\d{3})[ \r\n]/.exec(received)?.[1];
      if (status !== undefined) resolve(Number(status));
      else if (received.length > maxStatusLineBytes) fail("bad_answer", "answered something that is not HTTP");
    });
    socket.on("error", (error) => fail("post_failed", "broke the connection", error));
    socket.on("close", () => fail("post_failed", "closed the connection without an answer"));
    socket.write(message);
  });
}

function renderHead({ url, headers, body }: PostRequest): string {
  const fields = { ...headers, "content-length": String(Buffer.byteLength(body)), connection: "close" };
  const lines = Object.entries(fields).map(([name, value]) => {
    // A line break would begin another header, or another request.
    if (!/^[a-z0-9-]+$/.test(name) || !/^[\x20-\x7e]*$/.test(value)) {
      throw new InvalidInput("invalid_header", `The header ${JSON.stringify(name)} cannot be sent`);
    }
    return `${name}: ${value}\r\n`;
  });
  return `POST ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n${lines.join("")}\r\n`;
}
