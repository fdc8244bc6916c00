import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestAuthority } from "./test-authority.ts";

/** One request as it arrived, whatever was answered. */
export interface RecordedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** Names as sent and values, alternating. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** All values of a header, in order; the name in any case. */
  values(name: string): readonly string[];
}

export type Answer = (request: RecordedRequest, response: ServerResponse) => void | Promise<void>;

/** A real TLS server on 127.0.0.1 that remembers what reached it. */
export interface RecordingUpstream extends AsyncDisposable {
  readonly port: number;
  readonly requests: readonly RecordedRequest[];
  /** Forgets the requests so far. */
  forget(): void;
  close(): Promise<void>;
}

/** Starts an upstream whose certificate is for `names`. Without `answer` it says `hello` to everything. */
export async function startRecordingUpstream(options: {
  readonly authority: TestAuthority;
  readonly names: readonly string[];
  readonly answer?: Answer;
}): Promise<RecordingUpstream> {
  const requests: RecordedRequest[] = [];
  const answer = options.answer ?? ((_request, response) => void response.end("hello\n"));
  const certificate = await options.authority.issue(options.names);
  const server = createServer(certificate, async (incoming, response) => {
    const request = await recordRequest(incoming);
    requests.push(request);
    await answer(request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    forget: () => void requests.splice(0),
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function recordRequest(incoming: IncomingMessage): Promise<RecordedRequest> {
  const parts: Buffer[] = [];
  for await (const part of incoming) parts.push(part as Buffer);
  const { rawHeaders } = incoming;
  return {
    method: incoming.method ?? "",
    url: incoming.url ?? "",
    rawHeaders,
    body: Buffer.concat(parts),
    values: (name) =>
      rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name.toLowerCase()),
  };
}
