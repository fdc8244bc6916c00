import { type RequestOptions, type RequestRules, writeRequestHead } from "./headers.ts";
import type { RequestHead } from "./http1/head.ts";
import { chunkEnd, chunkPrefix, lastChunk } from "./http1/serialize.ts";
import type { UpstreamConnection } from "./upstream.ts";

/** What may be kept of a body so that the request can be sent once more. */
const maxRetainedBytes = 64 * 1024;

/** RFC 9110, section 9.2.2. */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/** Shared by all that have sent no body: never written to. */
const nothingYet: (Buffer | string)[] = [];

export interface OutgoingOptions extends RequestOptions {
  /** Keep the body as far as it is small, for a second try with another credential. */
  readonly keepsBody: boolean;
}

/** A request on its way upstream: its head, and as much of its body as may have to be sent again. */
export class OutgoingRequest {
  readonly head: RequestHead;
  readonly options: OutgoingOptions;
  /** Body bytes sent, without framing. */
  bytes = 0;
  /** Undefined when the body grew too large to be repeated, or is not worth keeping. */
  #retained: (Buffer | string)[] | undefined = nothingYet;
  #connection: UpstreamConnection | undefined;

  constructor(head: RequestHead, options: OutgoingOptions) {
    this.head = head;
    this.options = options;
  }

  /**
   * May it be sent again after the connection died without a byte of answer? Only on a connection that had idled,
   * where the upstream most likely closed it before it saw the request.
   */
  get isReplayable(): boolean {
    return this.#retained !== undefined && idempotent.has(this.head.method);
  }

  /** Is everything that was sent of it still here? */
  get isKept(): boolean {
    return this.#retained !== undefined;
  }

  /** The same request, with other headers put in. Its body is what was kept. */
  withRules(rules: RequestRules): OutgoingRequest {
    const other = new OutgoingRequest(this.head, { ...this.options, rules });
    other.bytes = this.bytes;
    other.#retained = this.#retained;
    return other;
  }

  /**
   * Starts, or starts again, on a connection.
   *
   * @throws {UnwritableHead}
   */
  sendOn(connection: UpstreamConnection): void {
    this.#connection = connection;
    writeRequestHead(connection.out, this.head, this.options);
    if (this.#retained !== undefined) {
      for (const part of this.#retained) {
        if (typeof part === "string") connection.out.text(part);
        else connection.out.bytes(part);
      }
    }
    // A new connection that dies has no excuse: nothing is kept for a second try.
    if (!connection.isReused && !this.options.keepsBody) this.#retained = undefined;
  }

  body(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.options.isChunked) this.#text(chunkPrefix(chunk.length));
    this.#connection?.out.bytes(chunk);
    this.#retain(chunk);
    if (this.options.isChunked) this.#text(chunkEnd);
  }

  end(trailers: readonly string[]): void {
    if (this.options.isChunked) this.#text(lastChunk(trailers));
  }

  #text(text: string): void {
    this.#connection?.out.text(text);
    this.#retain(text);
  }

  #retain(part: Buffer | string): void {
    if (!this.#retained) return;
    const isWorthIt = this.isReplayable || this.options.keepsBody;
    if (this.bytes > maxRetainedBytes || !isWorthIt) this.#retained = undefined;
    else if (this.#retained === nothingYet) this.#retained = [part];
    else this.#retained.push(part);
  }
}
