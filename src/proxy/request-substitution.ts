import { Field } from "./http1/field-names.ts";
import type { HeaderList } from "./http1/fields.ts";
import type { Framing } from "./http1/framing.ts";
import type { RequestHead } from "./http1/head.ts";
import { keepHeaders } from "./http1/header-list.ts";
import { rebuildRequestHead } from "./http1/rebuild.ts";
import { BodySubstituter, defaultBodyLimits } from "./substitute/body.ts";
import { substituteHeaders, substituteTarget } from "./substitute/head.ts";
import type { Substitutions } from "./substitute/substitutions.ts";

export interface SubstitutedRequest {
  /** As the agent sent it; good for as long as the request is served. */
  readonly head: RequestHead;
  readonly framing: Framing;
  readonly target: string;
  /** What a body may measure at all; bytes. */
  readonly maxRequestBytes: number;
}

/** One request of a service that puts values in place of placeholders. */
export class RequestSubstitution {
  readonly target: string;
  /** With values in its headers; the agent's own when there were no placeholders. */
  readonly head: RequestHead;
  /** Bytes of the body that came from the agent. */
  receivedBytes = 0;
  readonly #substitutions: Substitutions;
  readonly #body: BodySubstituter | undefined;
  readonly #hasLength: boolean;

  /**
   * @throws {RefusedSubstitution} when a placeholder stands where none can be replaced.
   * @throws {UpstreamFailed} `credential_unusable` for a value that cannot be written where its placeholder stands.
   */
  constructor(substitutions: Substitutions, { head, framing, target, maxRequestBytes }: SubstitutedRequest) {
    this.#substitutions = substitutions;
    this.target = substituteTarget(substitutions, target);
    const looksAtHeaders = substitutions.on("header") !== undefined;
    const headers = looksAtHeaders || substitutions.on("body") !== undefined ? head.headers : [];
    const changed = looksAtHeaders ? substituteHeaders(substitutions, headers) : headers;
    this.head = changed === headers ? head : rebuildRequestHead(head, changed);
    this.#hasLength = framing.kind === "length";
    const length = framing.kind === "length" ? framing.length : framing.kind === "none" ? 0 : undefined;
    const maxCollectedBytes = Math.min(defaultBodyLimits.maxCollectedBytes, maxRequestBytes);
    this.#body = BodySubstituter.for(substitutions, { headers, length }, { maxCollectedBytes });
  }

  /** Is the body sent only when it is complete? `head` is then no good: see `end`. */
  get collects(): boolean {
    return this.#body?.framing === "collected";
  }

  /** What of the body may go on. @throws as the constructor. */
  push(chunk: Buffer): Buffer {
    this.receivedBytes += chunk.length;
    return this.#body === undefined ? chunk : this.#body.push(chunk);
  }

  /** The rest of the body, all of it when it was collected. @throws as the constructor. */
  end(): Buffer {
    return this.#body === undefined ? nothing : this.#body.end();
  }

  /**
   * The head that goes with a collected body: with its length, and without an `Expect`, which was answered here, for the
   * upstream has nothing to decide any more.
   */
  headFor(body: Buffer): RequestHead {
    const { fields } = this.head;
    const length = String(body.length);
    const isSameLength = !this.#hasLength || fields.valueOf(Field.contentLength) === length;
    if (isSameLength && !fields.has(Field.expect)) return this.head;
    const headers = keepHeaders(fields.list(), (name) => name !== "expect").map((text, at, all) =>
      this.#hasLength && at % 2 === 1 && all[at - 1]?.toLowerCase() === "content-length" ? length : text,
    );
    return rebuildRequestHead(this.head, headers);
  }

  /** @throws as the constructor. */
  trailers(trailers: HeaderList): HeaderList {
    return substituteHeaders(this.#substitutions, trailers);
  }
}

const nothing = Buffer.alloc(0);
