import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { UpstreamFailed } from "../../errors.ts";
import { BadWebSocket } from "./bad-websocket.ts";

/** The extension permessage-deflate (RFC 7692), as far as looking into messages needs it. */

export interface DeflateParameters {
  /** Does the sender begin each message with an empty window? By side. */
  readonly forgets: { readonly client: boolean; readonly server: boolean };
  /** How large the window of each sender may be, as a power of two. */
  readonly windowBits: { readonly client: number; readonly server: number };
}

/**
 * The agent's offers of extensions as they may go upstream: those of permessage-deflate that can be followed. The relay
 * could not tell what others would do to the frames.
 *
 * @returns undefined when nothing is left: the header must not be sent then.
 */
export function offeredExtensions(values: readonly string[]): string | undefined {
  const kept = elementsOf(values).filter((element) => parseDeflate(element) !== undefined);
  return kept.length === 0 ? undefined : kept.join(", ");
}

/**
 * What the upstream agreed to.
 *
 * @param offered what `offeredExtensions` gave.
 * @throws {UpstreamFailed} `upstream_bad_answer` when it is more, or other, than was offered.
 */
export function acceptedDeflate(offered: string | undefined, values: readonly string[]): DeflateParameters | undefined {
  const elements = elementsOf(values);
  const [first] = elements;
  if (first === undefined) return undefined;
  const parameters = parseDeflate(first);
  const hasBits = parameters?.every(({ name, value }) => !name.endsWith("_bits") || value !== undefined);
  const mayLimitClient = offered?.includes("client_max_window_bits");
  const limitsClient = parameters?.some(({ name }) => name === "client_max_window_bits");
  if (elements.length > 1 || offered === undefined || !parameters || !hasBits || (limitsClient && !mayLimitClient)) {
    throw new UpstreamFailed(
      "upstream_bad_answer",
      "The upstream agreed to a WebSocket extension that was not offered",
    );
  }
  const find = (name: string) => parameters.find((parameter) => parameter.name === name);
  const bits = (name: string) => Number(find(name)?.value ?? 15);
  return {
    forgets: {
      client: find("client_no_context_takeover") !== undefined,
      server: find("server_no_context_takeover") !== undefined,
    },
    windowBits: { client: bits("client_max_window_bits"), server: bits("server_max_window_bits") },
  };
}

interface Parameter {
  readonly name: string;
  readonly value: string | undefined;
}

/** The parameters of one element; undefined when it is another extension, or not well-formed (section 7.1). */
function parseDeflate(element: string): Parameter[] | undefined {
  const [name = "", ...rest] = element.split(";").map((part) => part.trim());
  if (name.toLowerCase() !== "permessage-deflate") return undefined;
  const parameters = rest.map((part): Parameter => {
    const [key = "", value] = part.split("=").map((side) => side.trim().replace(/^"(.*)"$/, "$1"));
    return { name: key.toLowerCase(), value };
  });
  const isKnown = parameters.every(({ name, value }) =>
    name.endsWith("_max_window_bits")
      ? /^(?:client|server)_/.test(name) &&
        (value === undefined ? name.startsWith("client") : /^(?:[89]|1[0-5])$/.test(value))
      : /^(?:client|server)_no_context_takeover$/.test(name) && value === undefined,
  );
  const isUnique = new Set(parameters.map(({ name }) => name)).size === parameters.length;
  return isKnown && isUnique ? parameters : undefined;
}

function elementsOf(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(",")).flatMap((element) => element.trim() || []);
}

/** Every message ends with this, which is not sent (section 7.2.1). */
const messageEnd = Buffer.of(0x00, 0x00, 0xff, 0xff);
const windowBytes = 32 * 1024;
const empty = Buffer.alloc(0);

/**
 * Unfolds the messages of one sender, one after the other. What it remembers between them is the text of the window, no
 * engine: the next message is unfolded behind that text, as a block that is stored uncompressed (RFC 1951, section
 * 3.2.4). A preset dictionary would do the same, but not in every runtime.
 */
export class Inflater {
  readonly #forgets: boolean;
  #window: Buffer = empty;

  constructor(forgets: boolean) {
    this.#forgets = forgets;
  }

  /**
   * @param maxBytes what a message may unfold to.
   * @throws {BadWebSocket} `websocket_message_too_large`, or `websocket_bad_message` for what is no deflate.
   */
  inflate(payload: Buffer, maxBytes: number): Buffer {
    const known = this.#window.length;
    const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: known + maxBytes };
    let message: Buffer;
    try {
      const blocks = Buffer.concat([storedBlock(this.#window), payload, messageEnd]);
      message = inflateRawSync(blocks, options).subarray(known);
    } catch (cause) {
      const isTooLong =
        cause instanceof RangeError ||
        (cause instanceof Error && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE");
      if (isTooLong) throw messageTooLarge(maxBytes);
      throw new BadWebSocket(1007, "websocket_bad_message", "A message cannot be unfolded", { cause });
    }
    if (!this.#forgets) this.#remember(message);
    return message;
  }

  #remember(message: Buffer): void {
    const joined = message.length >= windowBytes ? message : Buffer.concat([this.#window, message]);
    this.#window = Buffer.from(joined.subarray(Math.max(0, joined.length - windowBytes)));
  }
}

/** A block that is not the last one: its length, the complement of that, and the text. */
function storedBlock(text: Buffer): Buffer {
  if (text.length === 0) return empty;
  const head = Buffer.alloc(5);
  head.writeUInt16LE(text.length, 1);
  head.writeUInt16LE(0xffff - text.length, 3);
  return Buffer.concat([head, text]);
}

/** Compressing what is shorter costs more than it saves. */
const worthDeflatingBytes = 1024;

/**
 * A message on its own, which does not refer to earlier ones; undefined when it is better sent as it is, which a sender
 * may do at any time (section 6).
 */
export function deflateMessage(message: Buffer, windowBits: number): Buffer | undefined {
  // zlib makes 9 of 8 (its manual, deflateInit2), and the receiver's window would be too small.
  if (message.length < worthDeflatingBytes || windowBits < 9) return undefined;
  const bytes = deflateRawSync(message, { finishFlush: constants.Z_SYNC_FLUSH, windowBits });
  return bytes.subarray(0, bytes.length - messageEnd.length);
}

export function messageTooLarge(maxBytes: number): BadWebSocket {
  return new BadWebSocket(
    1009,
    "websocket_message_too_large",
    `A compressed message must not be larger than ${maxBytes} bytes where messages are looked into`,
  );
}
