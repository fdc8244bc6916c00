import type { CredentialKey, ScrubMode } from "../../domain/services/service.ts";
import { Field } from "../http1/field-names.ts";
import type { HeaderList } from "../http1/fields.ts";
import type { Framing } from "../http1/framing.ts";
import type { ResponseHead } from "../http1/head.ts";
import { rebuildResponseHead } from "../http1/rebuild.ts";
import { BodyScrubber, type ScrubbedBodySink } from "./body.ts";
import { scrubHeaders, scrubText } from "./headers.ts";
import { mayHoldNeedle } from "./matcher.ts";
import { type InjectedValue, type NeedleSet, needlesFor } from "./needles.ts";
import { type ActiveScrubMode, Scanner } from "./scanner.ts";

/** What to look for in answers, and what to do about it. */
export interface ScrubPlan {
  readonly mode: ActiveScrubMode;
  readonly needles: NeedleSet;
}

/** Undefined when nothing is to be done, or there is nothing to look for. */
export function scrubPlanFor(mode: ScrubMode, values: readonly InjectedValue[]): ScrubPlan | undefined {
  if (mode === "off" || values.length === 0) return undefined;
  const needles = needlesFor(values);
  return needles.isEmpty ? undefined : { mode, needles };
}

export interface ScrubbedHead {
  /** The one that was given, unless something in it had to change. */
  readonly head: ResponseHead;
  /** As the body will be when it was scrubbed. */
  readonly framing: Framing;
  /** Undefined when there is none, or an empty one. */
  readonly body: BodyScrubber | undefined;
}

const none: ReadonlySet<CredentialKey> = new Set();

/** Everything that one answer says, without what was injected into its request. */
export class AnswerScrubber {
  readonly plan: ScrubPlan;
  /** Of all that is not the body; made when there is something to find. */
  #scanner: Scanner | undefined;
  #body: BodyScrubber | undefined;

  constructor(plan: ScrubPlan) {
    this.plan = plan;
  }

  /** The credentials whose values were found so far, for the journal. */
  get found(): ReadonlySet<CredentialKey> {
    const inBody = this.#body?.scanner.found ?? none;
    return this.#scanner === undefined ? inBody : new Set([...this.#scanner.found, ...inBody]);
  }

  /** Does a part of the answer pass without being understood? */
  get isBlind(): boolean {
    return this.#body?.view === "blind";
  }

  /**
   * The final head, and what to push the body through.
   *
   * @param framing as it was read; `none` where there is no body.
   * @throws {UpstreamFailed} `credential_in_answer`, `answer_not_scannable`, in the mode `block`.
   */
  start(head: ResponseHead, framing: Framing, sink: ScrubbedBodySink): ScrubbedHead {
    const clean = this.#clean(head);
    // The answer to HEAD keeps what it says of a body that it does not have.
    if (framing.kind === "none" || (framing.kind === "length" && framing.length === 0))
      return { head: clean, framing, body: undefined };
    const { mode, needles } = this.plan;
    const contentEncodings = head.fields.valuesOf(Field.contentEncoding);
    const body = new BodyScrubber({ mode, needles, status: head.status, contentEncodings }, sink);
    this.#body = body;
    if (body.keepsLength) return { head: clean, framing, body };
    return {
      head: rebuildResponseHead(head.status, clean.reason, body.headers(clean.headers)),
      framing: framing.kind === "length" ? { kind: "chunked" } : framing,
      body,
    };
  }

  /** An interim head, such as a 103, or that of a 101. @throws as `start`. */
  informational(head: ResponseHead): ResponseHead {
    return this.#clean(head);
  }

  /** @throws as `start`. */
  trailers(trailers: HeaderList): HeaderList {
    return scrubHeaders(this.#scannerOfHead, trailers);
  }

  get #scannerOfHead(): Scanner {
    this.#scanner ??= new Scanner(this.plan.needles, this.plan.mode);
    return this.#scanner;
  }

  /** Looks at the bytes that came; nearly always nothing is in there, and no header becomes a string. */
  #clean(head: ResponseHead): ResponseHead {
    const { fields, statusStart } = head;
    if (!mayHoldNeedle(this.plan.needles, fields.bytes.subarray(statusStart, fields.end))) return head;
    const scanner = this.#scannerOfHead;
    const given = head.headers;
    const headers = scrubHeaders(scanner, given);
    const reason = scrubText(scanner, head.reason);
    if (headers === given && reason === head.reason) return head;
    return rebuildResponseHead(head.status, reason, headers);
  }
}
