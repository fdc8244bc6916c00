import { AppError } from "../errors.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { Framing } from "./http1/framing.ts";
import type { ResponseHead } from "./http1/head.ts";
import { copyResponseHead } from "./http1/rebuild.ts";

/** An answer that says no is short; a longer one is passed on, whatever comes of asking. */
const maxHeldBytes = 64 * 1024;

/** Called once, with either. */
export interface HeldAnswerTarget {
  /** There is another credential, and the upstream has finished its answer to the first. */
  sayAgain(): void;
  /** It is the answer. What of it has not come yet follows in the usual way. */
  passOn(held: HeldAnswer): void;
  /** A bug of ours, which the agent does not have to know of. */
  onRenewalFailure(error: unknown): void;
  /** Something threw that nobody expected. */
  onCrash(error: unknown): void;
}

/** The 401 of an upstream, kept back while another credential is asked for: it is the answer when there is none. */
export class HeldAnswer {
  readonly head: ResponseHead;
  readonly framing: Framing;
  readonly chunks: Buffer[] = [];
  trailers: HeaderList | undefined;
  /** The upstream has sent all of it. */
  isComplete = false;
  readonly #target: HeldAnswerTarget;
  /** Undefined while it is being asked for. */
  #hasOther: boolean | undefined;
  #bytes = 0;
  #isSettled = false;

  constructor(head: ResponseHead, framing: Framing, target: HeldAnswerTarget) {
    this.head = copyResponseHead(head);
    this.framing = framing;
    this.#target = target;
  }

  /** Announces more than is kept. */
  static isTooLong(framing: Framing): boolean {
    return framing.kind === "length" && framing.length > maxHeldBytes;
  }

  /** @param renewal whether there is another credential. */
  waitFor(renewal: Promise<boolean>): void {
    renewal.then(
      (hasOther) => this.#onRenewed(hasOther),
      // Whatever went wrong: the upstream has answered, and its answer stands.
      (error: unknown) => {
        if (!(error instanceof AppError)) this.#target.onRenewalFailure(error);
        this.#onRenewed(false);
      },
    );
  }

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > maxHeldBytes) this.#settle(false);
  }

  end(): void {
    this.isComplete = true;
    if (this.#hasOther !== undefined) this.#settle(this.#hasOther);
  }

  /** It takes too long: the held answer is the answer. */
  giveUp(): void {
    this.#settle(false);
  }

  /** Nobody waits for it any more. */
  drop(): void {
    this.#isSettled = true;
  }

  #onRenewed(hasOther: boolean): void {
    this.#hasOther = hasOther;
    if (hasOther && !this.isComplete) return;
    try {
      this.#settle(hasOther);
    } catch (error) {
      this.#target.onCrash(error);
    }
  }

  #settle(hasOther: boolean): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (hasOther) this.#target.sayAgain();
    else this.#target.passOn(this);
  }
}
