import type { RequestOptions, RequestRules } from "./headers.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { RequestHead } from "./http1/head.ts";
import type { UpstreamSide } from "./sides.ts";

/** What may be kept of a body so that the request can be sent once more. */
const maxRetainedBytes = 64 * 1024;

/** RFC 9110, section 9.2.2. */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/** Shared by all that have sent no body: never written to. */
const nothingYet: Buffer[] = [];

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
  #retained: Buffer[] | undefined = nothingYet;
  /** Once the body is complete. */
  #trailers: HeaderList | undefined;
  #upstream: UpstreamSide | undefined;

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
    other.#trailers = this.#trailers;
    return other;
  }

  /**
   * Starts, or starts again, on a connection.
   *
   * @throws {UnwritableHead}
   */
  sendOn(upstream: UpstreamSide): void {
    this.#upstream = upstream;
    upstream.writeHead(this.head, this.options);
    if (this.#retained !== undefined) {
      for (const chunk of this.#retained) upstream.writeBody(chunk, this.options.isChunked);
      if (this.#trailers !== undefined) upstream.writeEnd(this.#trailers, this.options.isChunked);
    }
    // A new connection that dies has no excuse: nothing is kept for a second try.
    const { keepsBody } = this.options;
    if (!upstream.isReused && !upstream.mayRefuseStreams && !keepsBody) this.#retained = undefined;
  }

  body(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.#upstream?.writeBody(chunk, this.options.isChunked);
    this.#retain(chunk);
  }

  end(trailers: HeaderList): void {
    this.#trailers = trailers;
    this.#upstream?.writeEnd(trailers, this.options.isChunked);
  }

  #retain(chunk: Buffer): void {
    if (this.#retained === undefined) return;
    const isWorthIt =
      this.#upstream?.mayRefuseStreams === true || this.options.keepsBody || idempotent.has(this.head.method);
    if (this.bytes > maxRetainedBytes || !isWorthIt) this.#retained = undefined;
    else if (this.#retained === nothingYet) this.#retained = [chunk];
    else this.#retained.push(chunk);
  }
}
