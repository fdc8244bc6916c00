import type { CredentialKey } from "../domain/services/service.ts";
import type { AppError } from "../errors.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { Framing } from "./http1/framing.ts";
import type { ResponseHead } from "./http1/head.ts";
import { copyResponseHead } from "./http1/rebuild.ts";
import { AnswerScrubber, type ScrubPlan } from "./scrub/answer.ts";
import type { BodyScrubber, ScrubbedBodySink } from "./scrub/body.ts";

/** Whom a scrubbed answer goes to. Parts of a compressed one come when they are decoded, also between two events. */
export interface ScrubbedAnswerTarget {
  /** @throws {UpstreamFailed} when the answer must not be sent. */
  relayHead(head: ResponseHead, framing: Framing): void;
  relayBody(chunk: Buffer): void;
  /** Once: the last byte was relayed. */
  relayEnd(): void;
  relayFailure(error: AppError): void;
  /** Writes what was relayed. False when the agent is slow. */
  flushToAgent(): boolean;
  /** A decoder had enough, and now takes more. */
  onScrubDrain(): void;
  onCrash(error: unknown): void;
}

/** The answer of one request on its way through an `AnswerScrubber` to the agent. */
export class AnswerScrubbing implements ScrubbedBodySink {
  readonly #scrubber: AnswerScrubber;
  readonly #target: ScrubbedAnswerTarget;
  #body: BodyScrubber | undefined;
  /** In the mode `block`: not sent before the first part of the body was found clean, so that a 502 is still possible. */
  #held: { readonly head: ResponseHead; readonly framing: Framing } | undefined;

  constructor(plan: ScrubPlan, target: ScrubbedAnswerTarget) {
    this.#scrubber = new AnswerScrubber(plan);
    this.#target = target;
  }

  get plan(): ScrubPlan {
    return this.#scrubber.plan;
  }

  get found(): ReadonlySet<CredentialKey> {
    return this.#scrubber.found;
  }

  get isBlind(): boolean {
    return this.#scrubber.isBlind;
  }

  /** @throws {UpstreamFailed} in the mode `block`. */
  informational(head: ResponseHead): ResponseHead {
    return this.#scrubber.informational(head);
  }

  /** @throws {UpstreamFailed} when the answer must not be sent. */
  start(head: ResponseHead, framing: Framing): void {
    const started = this.#scrubber.start(head, framing, this);
    this.#body = started.body;
    if (this.plan.mode === "block" && started.body !== undefined)
      this.#held = { head: copyResponseHead(started.head), framing: started.framing };
    else this.#target.relayHead(started.head, started.framing);
  }

  /** False when the upstream should wait for `onScrubDrain`. */
  push(chunk: Buffer): boolean {
    return this.#body?.push(chunk) ?? true;
  }

  /** @throws {UpstreamFailed} in the mode `block`. */
  trailers(trailers: HeaderList): HeaderList {
    return this.#scrubber.trailers(trailers);
  }

  /** The upstream has sent everything. `relayEnd` follows: at once, unless something is still being decoded. */
  end(): void {
    if (this.#body === undefined) this.#target.relayEnd();
    else this.#body.end();
  }

  /** The agent takes more. */
  resume(): void {
    this.#body?.resume();
  }

  /** Nobody wants the rest. */
  stop(): void {
    this.#body?.stop();
  }

  onBody(chunk: Buffer): void {
    this.#releaseHead();
    this.#target.relayBody(chunk);
    // What is decoded comes by itself, and not only while the upstream is read.
    if (this.#body?.view === "decoded" && !this.#target.flushToAgent()) this.#body.pause();
  }

  onEnd(): void {
    this.#guarded(() => {
      this.#releaseHead();
      this.#target.relayEnd();
    });
  }

  onDrain(): void {
    this.#guarded(() => this.#target.onScrubDrain());
  }

  onFailure(error: AppError): void {
    this.#guarded(() => this.#target.relayFailure(error));
  }

  #releaseHead(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#target.relayHead(held.head, held.framing);
  }

  /** Decoders call from events of their own: what escapes from there would end the process. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#target.onCrash(error);
    }
  }
}
