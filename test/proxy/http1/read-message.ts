import { BodyReader } from "../../../src/proxy/http1/body.ts";
import { type Framing, keepsAlive, requestFraming, responseFraming } from "../../../src/proxy/http1/framing.ts";
import { FramingError } from "../../../src/proxy/http1/framing-error.ts";
import { parseRequestHead, parseResponseHead, RequestHead, type ResponseHead } from "../../../src/proxy/http1/head.ts";
import { HeadReader } from "../../../src/proxy/http1/head-reader.ts";
import { hostOf } from "../../../src/proxy/http1/host.ts";

/** A head as plain values, to be compared. */
export function plain(head: RequestHead | ResponseHead) {
  const { minor, headers } = head;
  return head instanceof RequestHead
    ? { method: head.method, target: head.target, minor, headers }
    : { status: head.status, reason: head.reason, minor, headers };
}

export interface PlainRequest {
  readonly method: string;
  readonly target: string;
  readonly minor: 0 | 1;
  readonly headers: readonly string[];
}

export interface PlainResponse {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  readonly headers: readonly string[];
}

export interface Message<Head> {
  readonly head: Head;
  readonly framing: Framing;
  readonly keepsAlive: boolean;
  readonly body: Buffer;
  readonly trailers: readonly string[];
  /** Where the next message starts. */
  readonly end: number;
}

/** What the codec makes of a byte stream: its first message, a refusal, or a wish for more bytes. */
export type Verdict<Head> =
  | { readonly kind: "message"; readonly message: Message<Head> }
  | { readonly kind: "refused"; readonly code: string; readonly status: number }
  | { readonly kind: "incomplete" };

const limits = { maxBytes: 64 * 1024, maxHeaders: 100 };

/** Reads a request as the listener does, from chunks that are cut as given. */
export function readRequest(...chunks: readonly (Buffer | string)[]): Verdict<PlainRequest> {
  return read(chunks, (bytes) => {
    const head = parseRequestHead(bytes);
    if (head.method !== "CONNECT") hostOf(head);
    return { head: plain(head) as PlainRequest, framing: requestFraming(head), keepsAlive: keepsAlive(head) };
  });
}

/** Reads the answer to a request with `method`. */
export function readResponse(method: string, ...chunks: readonly (Buffer | string)[]): Verdict<PlainResponse> {
  return read(chunks, (bytes) => {
    const head = parseResponseHead(bytes);
    return { head: plain(head) as PlainResponse, framing: responseFraming(head, method), keepsAlive: keepsAlive(head) };
  });
}

function read<Head>(
  chunks: readonly (Buffer | string)[],
  parse: (bytes: Buffer) => { head: Head; framing: Framing; keepsAlive: boolean },
): Verdict<Head> {
  const reader = new HeadReader(limits);
  const body: Buffer[] = [];
  const trailers: string[] = [];
  let parsed: ReturnType<typeof parse> | undefined;
  let bodyReader: BodyReader | undefined;
  let end = 0;
  try {
    for (const part of chunks) {
      let chunk = typeof part === "string" ? Buffer.from(part, "latin1") : part;
      if (bodyReader === undefined) {
        const used = reader.push(chunk);
        if (used === -1) {
          end += chunk.length;
          continue;
        }
        if (used < 0 || used > chunk.length) throw new Error("the head reader took bytes that it was not given");
        end += used;
        chunk = chunk.subarray(used);
        parsed = parse(reader.bytes.subarray(0, reader.end));
        bodyReader = new BodyReader({
          data: (data) => {
            if (data.length === 0) throw new Error("empty data");
            body.push(Buffer.from(data));
          },
          trailers: (lines) => trailers.push(...lines),
        });
        bodyReader.begin(parsed.framing);
      }
      const used = bodyReader.push(chunk);
      if (used > chunk.length) throw new Error("the body reader took bytes that it was not given");
      end += used;
      if (bodyReader.done) break;
      if (used !== chunk.length) throw new Error("the body reader left bytes although it is not done");
    }
    if (parsed?.framing.kind === "close") bodyReader?.end();
  } catch (error) {
    if (error instanceof FramingError) return { kind: "refused", code: error.code, status: error.status };
    throw error;
  }
  if (parsed === undefined || !bodyReader?.done) return { kind: "incomplete" };
  return { kind: "message", message: { ...parsed, body: Buffer.concat(body), trailers, end } };
}
