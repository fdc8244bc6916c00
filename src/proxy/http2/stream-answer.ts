import { AnswerRelay, type AnswerRules } from "../answer-relay.ts";
import { answerTrailers } from "../headers.ts";
import type { HeaderList } from "../http1/fields.ts";
import type { Framing } from "../http1/framing.ts";
import type { ResponseHead } from "../http1/head.ts";
import { answerFields } from "./answer-fields.ts";
import { inLowerCase } from "./field-rules.ts";
import type { Http2Stream } from "./stream.ts";

/** An answer to an agent that speaks HTTP/2. */
export class StreamAnswer extends AnswerRelay {
  readonly #stream: Http2Stream;
  #trailers: HeaderList | undefined;

  constructor(stream: Http2Stream, maxBytes: number) {
    super(maxBytes);
    this.#stream = stream;
  }

  override informational(head: ResponseHead, wantsContinue: boolean): void {
    if (head.status === 100 && !wantsContinue) return;
    this.#stream.sendFields(answerFields(head, { stripsCookies: true, dropsLength: true }), false);
  }

  override start(head: ResponseHead, framing: Framing, { stripsCookies }: AnswerRules): void {
    // Where nothing follows the head says so: to gRPC, an answer of a head alone is a status, and one without is none.
    const endsStream = framing.kind === "none";
    this.#stream.sendFields(answerFields(head, { stripsCookies, dropsLength: head.status === 204 }), endsStream);
    this.hasStarted = true;
    this.status = head.status;
  }

  protected override write(chunk: Buffer): void {
    this.#stream.sendData(chunk);
  }

  override trailers(trailers: HeaderList): void {
    this.#trailers = inLowerCase(answerTrailers(trailers));
  }

  override end(): void {
    this.#stream.sendEnd(this.#trailers);
  }
}
