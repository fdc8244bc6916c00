import type { CredentialKey, ScrubMode } from "../../domain/services/service.ts";
import type { Framing } from "../http1/framing.ts";
import type { HeaderList, ResponseHead } from "../http1/head.ts";
import { isNamed } from "../http1/headers.ts";
import { BodyScrubber, type ScrubbedBodySink } from "./body.ts";
import { narrowAcceptEncoding } from "./codings.ts";
import { scrubHeaders, scrubText } from "./headers.ts";
import { type InjectedValue, type NeedleSet, needlesFor } from "./needles.ts";
import { type ActiveScrubMode, Scanner } from "./scanner.ts";

export interface ScrubbedHead {
  readonly head: ResponseHead;
  /** As the body will be when it was scrubbed. */
  readonly framing: Framing;
  /** Undefined when there is none, or an empty one. */
  readonly body: BodyScrubber | undefined;
}

/** Everything that one answer says, without what was injected into its request. */
export class AnswerScrubber {
  readonly mode: ActiveScrubMode;
  readonly #needles: NeedleSet;
  /** Of all that is not the body. */
  readonly #scanner: Scanner;
  #body: BodyScrubber | undefined;

  private constructor(mode: ActiveScrubMode, needles: NeedleSet) {
    this.mode = mode;
    this.#needles = needles;
    this.#scanner = new Scanner(needles, mode);
  }

  /** Undefined when nothing is to be done, or there is nothing to look for. */
  static for(mode: ScrubMode, values: readonly InjectedValue[]): AnswerScrubber | undefined {
    if (mode === "off" || values.length === 0) return undefined;
    const needles = needlesFor(values);
    return needles.isEmpty ? undefined : new AnswerScrubber(mode, needles);
  }

  /** The credentials whose values were found so far, for the journal. */
  get found(): ReadonlySet<CredentialKey> {
    return new Set([...this.#scanner.found, ...(this.#body?.scanner.found ?? [])]);
  }

  /** Does a part of the answer pass without being understood? */
  get isBlind(): boolean {
    return this.#body?.view === "blind";
  }

  /** The request's headers, asking for no coding that could not be looked into; the same list when they do not. */
  requestHeaders(headers: HeaderList): HeaderList {
    if (this.mode === "detect") return headers;
    let narrowed: string[] | undefined;
    for (let i = 0; i < headers.length; i += 2) {
      if (!isNamed(headers[i] ?? "", "accept-encoding")) continue;
      const value = headers[i + 1] ?? "";
      const kept = narrowAcceptEncoding(value);
      if (kept === value) continue;
      narrowed ??= [...headers];
      narrowed[i + 1] = kept;
    }
    return narrowed ?? headers;
  }

  /**
   * The final head, and what to push the body through.
   *
   * @param framing as it was read; `none` where there is no body.
   * @throws {UpstreamFailed} `credential_in_answer`, `answer_not_scannable`, in the mode `block`.
   */
  start(head: ResponseHead, framing: Framing, sink: ScrubbedBodySink): ScrubbedHead {
    const { status } = head;
    const clean = this.#clean(head);
    // The answer to HEAD keeps what it says of a body that it does not have.
    if (framing.kind === "none" || (framing.kind === "length" && framing.length === 0))
      return { head: clean, framing, body: undefined };
    const body = new BodyScrubber({ mode: this.mode, needles: this.#needles, status, headers: head.headers }, sink);
    this.#body = body;
    if (body.keepsLength) return { head: clean, framing, body };
    return {
      head: { ...clean, headers: body.headers(clean.headers) },
      framing: framing.kind === "length" ? { kind: "chunked" } : framing,
      body,
    };
  }

  /** An interim head, such as a 103. @throws as `start`. */
  informational(head: ResponseHead): ResponseHead {
    return this.#clean(head);
  }

  /** @throws as `start`. */
  trailers(trailers: HeaderList): HeaderList {
    return scrubHeaders(this.#scanner, trailers);
  }

  #clean(head: ResponseHead): ResponseHead {
    const headers = scrubHeaders(this.#scanner, head.headers);
    const reason = scrubText(this.#scanner, head.reason);
    return headers === head.headers && reason === head.reason ? head : { ...head, headers, reason };
  }
}
