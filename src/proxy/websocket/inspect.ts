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
 * Looks for injected values in the upstream's text messages, Pings, Pongs and Closes. Undefined when there is nothing to look for. What was found
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
    control: (payload) => scrubControl(scanner, new Scanner(needles, mode), payload),
    maxMessageBytes: options.maxMessageBytes ?? defaultMaxMessageBytes,
    oversize: mode === "detect" ? "pass" : "refuse",
  });
  return { rewriter, scanner };
}

/**
 * The payload of one Ping, Pong or Close without injected values. It has a scanner of its own, for such frames come in
 * the middle of messages; what that one finds is noted in the one for the messages.
 */
function scrubControl(ofMessages: Scanner, scanner: Scanner, payload: Buffer): Buffer {
  try {
    const passed = scanner.push(payload);
    const rest = scanner.end();
    return passed === payload || scanner.count === 0 ? payload : Buffer.concat([passed, rest]);
  } finally {
    ofMessages.noteAll(scanner);
  }
}

/** The status of the Close frames that end a connection after an error (RFC 6455, section 7.4.1). */
export function closeCodeOf(error: unknown): number {
  if (error instanceof BadWebSocket) return error.closeCode;
  return error instanceof AppError ? 1008 : 1011;
}

/** Enough of a message to tell what it is; nobody's prefix is longer. */
const maxLeadBytes = 64;

/**
 * A text message has no media type: one that begins like an object, an array or a string of JSON is taken for JSON, also
 * behind the numbers of Socket.IO (`42["event", …]`, `42/room,["event", …]`).
 */
class MessageReplacer implements BodyTransform {
  readonly #placeholders: PlaceholderSet;
  #inner: BodyTransform | undefined;
  /** The beginning, while it does not tell. */
  #lead = empty;

  constructor(placeholders: PlaceholderSet) {
    this.#placeholders = placeholders;
  }

  push(chunk: Buffer): Buffer {
    if (this.#inner !== undefined) return this.#inner.push(chunk);
    const data = this.#lead.length === 0 ? chunk : Buffer.concat([this.#lead, chunk]);
    const begin = data.toString("latin1", 0, maxLeadBytes);
    if (data.length < maxLeadBytes && mayStillBeJson.test(begin)) {
      this.#lead = Buffer.from(data);
      return empty;
    }
    this.#lead = empty;
    this.#inner = this.#placeholders.replacer(isJson.test(begin) ? encodeJson : encodeRaw);
    return this.#inner.push(data);
  }

  end(): Buffer {
    if (this.#inner !== undefined) return this.#inner.end();
    const all = this.#placeholders.replacer(encodeRaw);
    return Buffer.concat([all.push(this.#lead), all.end()]);
  }
}

const empty: Buffer = Buffer.alloc(0);
const isJson = /^[\s\d]*(?:\/[^,[{]*,\d*)?[[{"]/;
const mayStillBeJson = /^[\s\d]*(?:\/[^,[{]*(?:,\d*)?)?$/;

function inBinary(): BadWebSocket {
  return new BadWebSocket(
    1008,
    "placeholder_in_binary_message",
    "A placeholder stands in a binary message, where no value can be put",
  );
}
