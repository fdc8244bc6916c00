import { AnswerRelay, type AnswerRules } from "./answer-relay.ts";
import { answerTrailers, writeAnswerHead } from "./headers.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { Framing } from "./http1/framing.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import { chunkEnd, chunkPrefix, lastChunk } from "./http1/serialize.ts";
import type { Outbox } from "./outbox.ts";

/** An answer to an agent that speaks HTTP/1. */
export class Http1Answer extends AnswerRelay {
  readonly #out: Outbox;
  readonly #request: RequestHead;
  #isChunked = false;
  #trailers: HeaderList | undefined;

  constructor(out: Outbox, request: RequestHead, maxBytes: number) {
    super(maxBytes);
    this.#out = out;
    this.#request = request;
  }

  override informational(head: ResponseHead, wantsContinue: boolean): void {
    if (this.#request.minor === 0 || (head.status === 100 && !wantsContinue)) return;
    writeAnswerHead(this.#out, head, {
      stripsCookies: true,
      isChunked: false,
      dropsLength: true,
      connection: undefined,
    });
  }

  override start(head: ResponseHead, framing: Framing, rules: AnswerRules): void {
    const hasUnknownLength = framing.kind === "chunked" || framing.kind === "close";
    this.#isChunked = hasUnknownLength && this.#request.minor === 1;
    this.endsWithConnection = hasUnknownLength && this.#request.minor === 0;
    const closes = rules.closes || this.endsWithConnection;
    writeAnswerHead(this.#out, head, {
      stripsCookies: rules.stripsCookies,
      isChunked: this.#isChunked,
      dropsLength: head.status === 204,
      connection: closes ? "close" : rules.keepsOldAgent ? "keep-alive" : undefined,
    });
    this.hasStarted = true;
    this.status = head.status;
  }

  protected override write(chunk: Buffer): void {
    if (this.#isChunked) this.#out.text(chunkPrefix(chunk.length));
    this.#out.bytes(chunk);
    if (this.#isChunked) this.#out.text(chunkEnd);
  }

  override trailers(trailers: HeaderList): void {
    this.#trailers = answerTrailers(trailers);
  }

  override end(): void {
    if (this.#isChunked) this.#out.text(lastChunk(this.#trailers));
  }
}
