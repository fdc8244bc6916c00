import type { CredentialKey } from "../../domain/services/service.ts";
import { Field } from "../http1/field-names.ts";
import type { RequestHead, ResponseHead } from "../http1/head.ts";
import { keepHeaders } from "../http1/header-list.ts";
import { rebuildRequestHead } from "../http1/rebuild.ts";
import type { Treatment } from "../treatment.ts";
import { acceptedDeflate, offeredExtensions } from "./deflate.ts";
import { scrubbingRewriter, substitutingRewriter } from "./inspect.ts";
import type { FrameRewriter } from "./rewriter.ts";

/** What is done to the messages of one connection; undefined copies the bytes of that direction. */
export interface MessageRewriters {
  readonly toUpstream: FrameRewriter | undefined;
  readonly toAgent: FrameRewriter | undefined;
  /** The credentials whose values were found so far in messages of the upstream. */
  readonly found: () => ReadonlySet<CredentialKey>;
}

/** The upgrade of a service whose messages are looked into. */
export class MessageInspection {
  /** The agent's, offering no extension that could not be followed. */
  readonly head: RequestHead;
  readonly #offered: string | undefined;
  readonly #treatment: Treatment;

  private constructor(head: RequestHead, treatment: Treatment) {
    const values = head.fields.valuesOf(Field.webSocketExtensions);
    this.#treatment = treatment;
    this.#offered = offeredExtensions(values);
    const isSame =
      values.length === (this.#offered === undefined ? 0 : 1) && (values[0] ?? "") === (this.#offered ?? "");
    this.head = isSame ? head : withExtensions(head, this.#offered);
  }

  /** Undefined when no message is looked into: nothing of the handshake changes then. */
  static for(treatment: Treatment, head: RequestHead): MessageInspection | undefined {
    const isNeeded = treatment.scrub !== undefined || treatment.substitutions?.on("websocket") !== undefined;
    return isNeeded ? new MessageInspection(head, treatment) : undefined;
  }

  /** @throws {UpstreamFailed} `upstream_bad_answer` when the upstream agreed to something else than was offered. */
  rewriters({ fields }: ResponseHead): MessageRewriters {
    const { substitutions, scrub } = this.#treatment;
    const options = { deflate: acceptedDeflate(this.#offered, fields.valuesOf(Field.webSocketExtensions)) };
    const scrubbing = scrub && scrubbingRewriter(scrub.needles, scrub.mode, options);
    return {
      toUpstream: substitutions && substitutingRewriter(substitutions, options),
      toAgent: scrubbing?.rewriter,
      found: () => scrubbing?.scanner.found ?? new Set(),
    };
  }
}

function withExtensions(head: RequestHead, offered: string | undefined): RequestHead {
  const headers = keepHeaders(head.headers, (name) => name !== "sec-websocket-extensions");
  if (offered !== undefined) headers.push("Sec-WebSocket-Extensions", offered);
  return rebuildRequestHead(head, headers);
}
