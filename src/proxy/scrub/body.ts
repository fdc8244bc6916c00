import type { Transform } from "node:stream";
import { type AppError, UpstreamFailed } from "../../errors.ts";
import type { HeaderList } from "../http1/fields.ts";
import { keepHeaders } from "../http1/header-list.ts";
import { type Coding, createDecoder, isBomb, parseCodings } from "./codings.ts";
import type { NeedleSet } from "./needles.ts";
import { type ActiveScrubMode, notScannable, Scanner } from "./scanner.ts";

/** Where the scrubbed body goes. Nothing is called after `onEnd` or `onFailure`, nor after `stop`. */
export interface ScrubbedBodySink {
  /** A part of the body, never empty. */
  onBody(chunk: Buffer): void;
  /** The whole body has been given. */
  onEnd(): void;
  /** `push` said no; now it takes more. */
  onDrain(): void;
  /** The body cannot go on: the agent must see that it is cut short. */
  onFailure(error: AppError): void;
}

export interface BodyScrubOptions {
  readonly mode: ActiveScrubMode;
  readonly needles: NeedleSet;
  readonly status: number;
  /** The values of the answer's `Content-Encoding`; mostly there are none. */
  readonly contentEncodings: readonly string[];
}

/**
 * How a body is looked at:
 * - `plain`: as it is, at once.
 * - `decoded`: its codings are undone, and it goes to the agent without them.
 * - `aside`: it passes as it is, and a copy is decoded and looked at, in the mode `detect`.
 * - `blind`: its coding is not known, or it is a part of something coded. It passes, looked at as it stands.
 */
export type BodyView = "plain" | "decoded" | "aside" | "blind";

/** The body of one answer on its way to the agent. */
export class BodyScrubber {
  readonly view: BodyView;
  readonly scanner: Scanner;
  readonly #sink: ScrubbedBodySink;
  readonly #codings: readonly Coding[];
  readonly #keepsLength: boolean;
  #decoders: readonly Transform[] = noDecoders;
  #encodedBytes = 0;
  #decodedBytes = 0;
  #isFull = false;
  #hasEnded = false;
  /** The copy cannot be decoded. */
  #hasLookedAway = false;
  #isOver = false;

  /** @throws {UpstreamFailed} `answer_not_scannable`: in the mode `block`, what cannot be looked into does not pass. */
  constructor(options: BodyScrubOptions, sink: ScrubbedBodySink) {
    const { mode, needles, status, contentEncodings } = options;
    this.scanner = new Scanner(needles, mode);
    this.#sink = sink;
    const codings = parseCodings(contentEncodings);
    this.#codings = codings ?? [];
    // From the middle of something compressed nothing can be decoded.
    if (codings === undefined || (codings.length > 0 && status === 206)) this.view = "blind";
    else if (codings.length === 0 || needles.isEmpty) this.view = "plain";
    else this.view = mode === "detect" ? "aside" : "decoded";
    if (this.view === "blind" && mode === "block") throw notScannable();
    this.#keepsLength = this.view !== "decoded" && (mode !== "redact" || needles.keepsLength);
  }

  /** Does the body keep the length that was declared? If not, it has to be framed without one. */
  get keepsLength(): boolean {
    return this.#keepsLength;
  }

  /**
   * The headers of the answer as they fit the scrubbed body: without its codings, length and digests where it is
   * decoded, without its length and digests where a placeholder may take another length; the same list otherwise.
   */
  headers(headers: HeaderList): HeaderList {
    if (this.#keepsLength) return headers;
    const dropped = this.view === "decoded" ? [...ofTheBytes, "content-encoding"] : ofTheBytes;
    return keepHeaders(headers, (name) => !dropped.includes(name));
  }

  /**
   * Takes the next bytes. False when the decoder has enough for now: wait for `onDrain`.
   *
   * A plain body reaches the sink within this call.
   */
  push(chunk: Buffer): boolean {
    if (this.#isOver || chunk.length === 0) return true;
    if (this.view === "aside") this.#sink.onBody(chunk);
    if (this.view === "plain" || this.view === "blind") this.#scan(chunk);
    else if (!this.#hasLookedAway) return this.#decode(chunk);
    return true;
  }

  /** The last byte was pushed. `onEnd` follows, at once for a plain body. */
  end(): void {
    if (this.#isOver) return;
    this.#hasEnded = true;
    const [first] = this.#decoders;
    if (first === undefined || this.#hasLookedAway) this.#finish();
    else first.end();
  }

  /** Nobody wants the rest. */
  stop(): void {
    this.#isOver = true;
    for (const decoder of this.#decoders) decoder.destroy();
  }

  #scan(chunk: Buffer): void {
    try {
      const passed = this.scanner.push(chunk);
      if (passed.length > 0 && this.view !== "aside") this.#sink.onBody(passed);
    } catch (error) {
      this.#fail(error);
    }
  }

  #finish(): void {
    try {
      const rest = this.scanner.end();
      if (rest.length > 0) this.#sink.onBody(rest);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#isOver = true;
    this.#sink.onEnd();
  }

  #decode(chunk: Buffer): boolean {
    if (this.#decoders.length === 0) this.#open(chunk);
    this.#encodedBytes += chunk.length;
    const [first] = this.#decoders;
    const hasRoom = first?.write(chunk) ?? true;
    if (!hasRoom) this.#isFull = true;
    return hasRoom;
  }

  #open(first: Buffer): void {
    // The coding that was applied last is undone first. Only that one can see the first bytes; below another coding,
    // deflate is taken for what its standard says.
    this.#decoders = [...this.#codings]
      .reverse()
      .map((coding, at) => createDecoder(coding, at === 0 ? first : zlibHeader));
    for (const [at, decoder] of this.#decoders.entries()) {
      decoder.on("error", (cause) => this.#fail(undecodable(cause)));
      const next = this.#decoders[at + 1];
      if (next !== undefined) decoder.pipe(next);
    }
    this.#decoders[0]?.on("drain", () => this.#drain());
    const last = this.#decoders.at(-1);
    last?.on("data", (chunk: Buffer) => this.#onDecoded(chunk));
    last?.on("end", () => {
      if (!this.#isOver && !this.#hasLookedAway) this.#finish();
    });
  }

  #onDecoded(chunk: Buffer): void {
    if (this.#isOver || this.#hasLookedAway) return;
    this.#decodedBytes += chunk.length;
    if (isBomb(this.#encodedBytes, this.#decodedBytes)) this.#fail(bomb());
    else this.#scan(chunk);
  }

  #drain(): void {
    if (!this.#isFull || this.#isOver) return;
    this.#isFull = false;
    this.#sink.onDrain();
  }

  /** The sink is slow: decodes no further until `resume`. Only what is decoded can be told to wait. */
  pause(): void {
    this.#decoders.at(-1)?.pause();
  }

  resume(): void {
    this.#decoders.at(-1)?.resume();
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    for (const decoder of this.#decoders) decoder.destroy();
    if (this.view === "aside") {
      this.#lookAway();
      return;
    }
    this.#isOver = true;
    this.#sink.onFailure(error instanceof UpstreamFailed ? error : undecodable(error));
  }

  /** Nothing was promised but to look, and the agent has the original. */
  #lookAway(): void {
    this.#hasLookedAway = true;
    this.#drain();
    if (this.#hasEnded) this.#finish();
  }
}

const zlibHeader = Buffer.of(0x78, 0x9c);
const noDecoders: readonly Transform[] = [];

/** What speaks of the exact bytes, which change (RFC 9530, RFC 3230, RFC 1864). */
const ofTheBytes: readonly string[] = [
  "content-length",
  "content-digest",
  "repr-digest",
  "digest",
  "content-md5",
  "accept-ranges",
];

function undecodable(cause: unknown): UpstreamFailed {
  return new UpstreamFailed("upstream_bad_answer", "The answer is not in the coding that its head names", { cause });
}

function bomb(): UpstreamFailed {
  return new UpstreamFailed("answer_unfolds", "The answer unfolds to more than any honest one of its size would");
}
