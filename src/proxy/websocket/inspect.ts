import { AppError } from "../../errors.ts";
import type { NeedleSet } from "../scrub/needles.ts";
import { type ActiveScrubMode, Scanner } from "../scrub/scanner.ts";
import { encodeJson, encodeRaw } from "../substitute/encode.ts";
import type { BodyTransform } from "../substitute/stream-replacer.ts";
import type { PlaceholderSet, Substitutions } from "../substitute/substitutions.ts";
import { PlaceholderWatch } from "../substitute/watch.ts";
import { BadWebSocket } from "./bad-websocket.ts";
import type { DeflateParameters } from "./deflate.ts";
import { defaultMaxMessageBytes, FrameRewriter } from "./rewriter.ts";

export interface InspectOptions {
  readonly deflate: DeflateParameters | undefined;
  readonly maxMessageBytes?: number;
}

/**
 * Puts values in place of placeholders in the agent's text messages. A binary message with a placeholder in it ends the
 * connection. Undefined when the service declares nothing on WebSockets.
 */
export function substitutingRewriter(substitutions: Substitutions, options: InspectOptions): FrameRewriter | undefined {
  const placeholders = substitutions.on("websocket");
  if (placeholders === undefined) return undefined;
  return new FrameRewriter({
    sender: "client",
    deflate: options.deflate,
    transform: () => new MessageReplacer(placeholders),
    watch: () => new PlaceholderWatch(placeholders, inBinary),
    maxMessageBytes: options.maxMessageBytes ?? defaultMaxMessageBytes,
    oversize: "refuse",
  });
}

/**
 * Looks for injected values in the upstream's text messages. Undefined when there is nothing to look for. What was found
 * is in the scanner.
 */
export function scrubbingRewriter(
  needles: NeedleSet,
  mode: ActiveScrubMode,
  options: InspectOptions,
): { readonly rewriter: FrameRewriter; readonly scanner: Scanner } | undefined {
  if (needles.isEmpty) return undefined;
  const scanner = new Scanner(needles, mode);
  const rewriter = new FrameRewriter({
    sender: "server",
    deflate: options.deflate,
    transform: () => scanner,
    maxMessageBytes: options.maxMessageBytes ?? defaultMaxMessageBytes,
    oversize: mode === "detect" ? "pass" : "refuse",
  });
  return { rewriter, scanner };
}

/** The status of the Close frames that end a connection after an error (RFC 6455, section 7.4.1). */
export function closeCodeOf(error: unknown): number {
  if (error instanceof BadWebSocket) return error.closeCode;
  return error instanceof AppError ? 1008 : 1011;
}

/** A text message has no media type: one that begins like an object or an array of JSON is taken for JSON. */
class MessageReplacer implements BodyTransform {
  readonly #placeholders: PlaceholderSet;
  #inner: BodyTransform | undefined;

  constructor(placeholders: PlaceholderSet) {
    this.#placeholders = placeholders;
  }

  push(chunk: Buffer): Buffer {
    if (this.#inner === undefined) {
      const first = chunk.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
      // Blanks alone say nothing yet, and hold no placeholder.
      if (first === undefined) return chunk;
      this.#inner = this.#placeholders.replacer(first === 0x7b || first === 0x5b ? encodeJson : encodeRaw);
    }
    return this.#inner.push(chunk);
  }

  end(): Buffer {
    return this.#inner?.end() ?? Buffer.alloc(0);
  }
}

function inBinary(): BadWebSocket {
  return new BadWebSocket(
    1008,
    "placeholder_in_binary_message",
    "A placeholder stands in a binary message, where no value can be put",
  );
}
