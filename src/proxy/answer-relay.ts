import { UpstreamFailed } from "../errors.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { Framing } from "./http1/framing.ts";
import type { ResponseHead } from "./http1/head.ts";

export interface AnswerRules {
  readonly stripsCookies: boolean;
  readonly closes: boolean;
  readonly keepsOldAgent: boolean;
}

/** The upstream's answer on its way to the agent: head at once, body as it arrives, framed anew where it must be. */
export abstract class AnswerRelay {
  /** Body bytes relayed, without framing. */
  bytes = 0;
  hasStarted = false;
  status = 0;
  /** The agent can only tell the end of this answer by the end of the connection. */
  endsWithConnection = false;
  /** 0 is unlimited. */
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** A 1xx, for agents that know them; a 100 only for those that asked. */
  abstract informational(head: ResponseHead, wantsContinue: boolean): void;

  abstract start(head: ResponseHead, framing: Framing, rules: AnswerRules): void;

  /** A part of the body, which is within the limits. */
  protected abstract write(chunk: Buffer): void;

  abstract trailers(trailers: HeaderList): void;

  abstract end(): void;

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

  /** False when the answer is now longer than allowed: it must not be completed. */
  body(chunk: Buffer): boolean {
    this.bytes += chunk.length;
    if (this.#maxBytes > 0 && this.bytes > this.#maxBytes) return false;
    this.write(chunk);
    return true;
  }
}
