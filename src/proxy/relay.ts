import { UpstreamFailed } from "../errors.ts";
import type { AgentConnection } from "./agent-connection.ts";
import { answerTrailers, writeAnswerHead } from "./headers.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { Framing } from "./http1/framing.ts";
import type { RequestHead, ResponseHead } from "./http1/head.ts";
import { chunkEnd, chunkPrefix, lastChunk } from "./http1/serialize.ts";

export interface AnswerRules {
  readonly stripsCookies: boolean;
  readonly closes: boolean;
  readonly keepsOldAgent: boolean;
}

/** The upstream's answer on its way to the agent: head at once, body as it arrives, framed anew where it must be. */
export class AnswerRelay {
  /** Body bytes relayed, without framing. */
  bytes = 0;
  hasStarted = false;
  status = 0;
  /** The agent can only tell the end of this answer by the end of the connection. */
  endsWithConnection = false;
  readonly #connection: AgentConnection;
  readonly #request: RequestHead;
  /** 0 is unlimited. */
  readonly #maxBytes: number;
  #isChunked = false;
  #trailers: HeaderList | undefined;

  constructor(connection: AgentConnection, request: RequestHead, maxBytes: number) {
    this.#connection = connection;
    this.#request = request;
    this.#maxBytes = maxBytes;
  }

  /** A 1xx, for agents that know them; a 100 only for those that asked. */
  informational(head: ResponseHead, wantsContinue: boolean): void {
    if (this.#request.minor === 0 || (head.status === 100 && !wantsContinue)) return;
    writeAnswerHead(this.#connection.out, head, {
      stripsCookies: true,
      isChunked: false,
      dropsLength: true,
      connection: undefined,
    });
  }

  /**
   * @param framing as the upstream declared it.
   * @throws {UpstreamFailed} `response_too_large` when the length is above the cap.
   */
  checkLength(framing: Framing): void {
    if (framing.kind === "length" && this.#maxBytes > 0 && framing.length > this.#maxBytes) {
      throw new UpstreamFailed(
        "response_too_large",
        `The answer has ${framing.length} bytes, and the limit is ${this.#maxBytes}`,
      );
    }
  }

  start(head: ResponseHead, framing: Framing, rules: AnswerRules): void {
    const hasUnknownLength = framing.kind === "chunked" || framing.kind === "close";
    this.#isChunked = hasUnknownLength && this.#request.minor === 1;
    this.endsWithConnection = hasUnknownLength && this.#request.minor === 0;
    const closes = rules.closes || this.endsWithConnection;
    writeAnswerHead(this.#connection.out, head, {
      stripsCookies: rules.stripsCookies,
      isChunked: this.#isChunked,
      dropsLength: head.status === 204,
      connection: closes ? "close" : rules.keepsOldAgent ? "keep-alive" : undefined,
    });
    this.hasStarted = true;
    this.status = head.status;
  }

  /** False when the answer is now longer than allowed: it must not be completed. */
  body(chunk: Buffer): boolean {
    this.bytes += chunk.length;
    if (this.#maxBytes > 0 && this.bytes > this.#maxBytes) return false;
    const { out } = this.#connection;
    if (this.#isChunked) out.text(chunkPrefix(chunk.length));
    out.bytes(chunk);
    if (this.#isChunked) out.text(chunkEnd);
    return true;
  }

  trailers(trailers: HeaderList): void {
    this.#trailers = answerTrailers(trailers);
  }

  end(): void {
    if (this.#isChunked) this.#connection.out.text(lastChunk(this.#trailers));
  }
}
