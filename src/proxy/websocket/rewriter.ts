import { isUtf8 } from "node:buffer";
import { AppError } from "../../errors.ts";
import { ByteCollector } from "../substitute/byte-collector.ts";
import type { BodyTransform } from "../substitute/stream-replacer.ts";
import { BadWebSocket } from "./bad-websocket.ts";
import { type DeflateParameters, deflateMessage, Inflater, messageTooLarge } from "./deflate.ts";
import {
  checkClose,
  type FrameHead,
  headBytes,
  isControl,
  opcodes,
  parseFrameHead,
  type Sender,
  serializeFrame,
  unmasked,
  violation,
} from "./frame.ts";
import { Utf8Check } from "./utf8.ts";

export interface RewriterOptions {
  readonly sender: Sender;
  /** What both sides agreed on; undefined for no compression. */
  readonly deflate: DeflateParameters | undefined;
  /** For each text message: what is done to it. One may serve many messages, one after the other. */
  readonly transform: () => BodyTransform;
  /** For each binary message: what looks at it, and throws when it must not pass. */
  readonly watch?: (() => BodyTransform) | undefined;
  /** For each Ping, Pong and Close: the payload that goes on, the same buffer when nothing changes. */
  readonly control?: ((payload: Buffer) => Buffer) | undefined;
  /** For compressed messages, which are collected: before and after unfolding. Others are of any size. */
  readonly maxMessageBytes: number;
  /** What happens to a compressed message above that: it ends the connection, or passes without being looked at. */
  readonly oversize: "refuse" | "pass";
}

export const defaultMaxMessageBytes = 4 * 1024 * 1024;

/** A frame up to here is handled whole, and stays one frame. */
const maxWholeFrameBytes = 64 * 1024;

/** RFC 6455, section 5.5. */
const maxControlBytes = 125;

/** How a message is handled, decided by its first frame. */
type Plan =
  | "pass" // byte for byte
  | "stream" // text: frame by frame, or piece by piece
  | "collect"; // compressed: when it is complete

interface Message {
  readonly isText: boolean;
  readonly plan: Plan;
  /** For text, what rewrites it; else what looks at it. */
  readonly transform: BodyTransform | undefined;
}

const empty = Buffer.alloc(0);

/**
 * The frames of one sender on their way through. Text messages are rewritten, everything else passes byte for byte, and
 * so do text messages that do not change. Messages of any size stream, unless they are compressed.
 */
export class FrameRewriter {
  readonly #options: RewriterOptions;
  readonly #inflater: Inflater;
  readonly #forgets: boolean;
  #out: Buffer[] = [];
  /** The head that is being read, as far as it is there; or the head of the current frame. */
  #head: Buffer = empty;
  #frame: FrameHead | undefined;
  #seenBytes = 0;
  /** Payload of the current frame so far, when it is handled whole. */
  readonly #payload = new ByteCollector();
  #message: Message | undefined;
  readonly #utf8 = new Utf8Check();
  /** Has the receiver got a frame of this message? */
  #hasBegun = false;
  /** Of a collected message: all of its frames, and its payload. */
  readonly #raw = new ByteCollector();
  readonly #collected = new ByteCollector();
  /** A message was changed that later ones may refer to: from here on, none goes out as it came. */
  #isChainBroken = false;
  /** A message was not unfolded that later ones may refer to. */
  #isBlind = false;
  /** A violation of RFC 6455, what cannot be rewritten, or whatever a transform threw. */
  failure: AppError | undefined;
  /** How many messages were let through without a look. */
  unseenMessages = 0;
  isClosing = false;

  constructor(options: RewriterOptions) {
    this.#options = options;
    this.#forgets = options.deflate?.forgets[options.sender] ?? true;
    this.#inflater = new Inflater(this.#forgets);
  }

  /** May a frame of ours go to the receiver now, without landing inside of another? */
  get isBetweenFrames(): boolean {
    return this.#frame === undefined || this.#plan !== "pass";
  }

  /**
   * Takes the next bytes and returns those that go on, in order. Views of the chunk, where nothing changes. Look at
   * `failure` afterwards: with it, the connection is over, but what came before still goes on.
   */
  push(chunk: Buffer): readonly Buffer[] {
    this.#out = [];
    if (this.failure !== undefined) return this.#out;
    try {
      this.#read(chunk);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.failure = error;
    }
    return this.#out;
  }

  #read(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#frame === undefined) at = this.#readHead(chunk, at);
      else {
        const end = Math.min(chunk.length, at + this.#frame.payloadBytes - this.#seenBytes);
        this.#onPayload(this.#frame, chunk.subarray(at, end));
        at = end;
      }
    }
    // What is left open outlives the chunk, whose memory belongs to the socket that it came from.
    if (this.#frame !== undefined) this.#head = Buffer.from(this.#head);
  }

  get #plan(): Plan {
    if (this.#frame !== undefined && isControl(this.#frame.opcode)) return "stream";
    return this.#message?.plan ?? "pass";
  }

  #readHead(chunk: Buffer, at: number): number {
    const known = this.#head.length;
    const wanted = (bytes: Buffer) => (bytes.length < 2 ? 2 : headBytes(bytes[1] ?? 0));
    // Mostly the whole head is in one chunk, and is not copied.
    let head =
      known === 0
        ? chunk.subarray(at, at + 2)
        : Buffer.concat([this.#head, chunk.subarray(at, at + 2 - Math.min(2, known))]);
    if (head.length >= 2) {
      const missing = wanted(head) - known;
      head =
        known === 0 ? chunk.subarray(at, at + missing) : Buffer.concat([this.#head, chunk.subarray(at, at + missing)]);
    }
    const next = at + head.length - known;
    if (head.length < 2 || head.length < wanted(head)) this.#head = Buffer.from(head);
    else this.#begin(head);
    return next;
  }

  #begin(head: Buffer): void {
    const { sender, deflate } = this.#options;
    const frame = parseFrameHead(head, { sender, mayCompress: deflate !== undefined });
    if (this.isClosing) throw violation("come behind a Close frame");
    this.#frame = frame;
    this.#head = head;
    this.#seenBytes = 0;
    if (!isControl(frame.opcode)) this.#beginData(frame);
    if (frame.payloadBytes === 0) this.#onPayload(frame, empty);
  }

  #beginData(frame: FrameHead): void {
    if (frame.opcode === opcodes.continuation) {
      if (this.#message === undefined) throw violation("a continuation of nothing");
    } else {
      if (this.#message !== undefined) throw violation("a new message in the middle of another");
      this.#message = this.#beginMessage(frame);
      this.#hasBegun = false;
    }
    if (this.#plan === "pass") this.#emit(this.#head);
    if (this.#plan === "collect") this.#raw.push(this.#head);
  }

  #beginMessage({ opcode, isCompressed }: FrameHead): Message {
    const isText = opcode === opcodes.text;
    const transform = isText ? this.#options.transform() : this.#options.watch?.();
    if (!isCompressed) return { isText, transform, plan: isText ? "stream" : "pass" };
    // Later messages may refer to this one, so it has to be unfolded even if nobody looks at it.
    const isNeeded = !this.#isBlind && (transform !== undefined || !this.#forgets);
    if (!isNeeded && transform !== undefined) this.unseenMessages += 1;
    return { isText, transform: isNeeded ? transform : undefined, plan: isNeeded ? "collect" : "pass" };
  }

  #onPayload(frame: FrameHead, part: Buffer): void {
    const offset = this.#seenBytes;
    this.#seenBytes += part.length;
    const isComplete = this.#seenBytes === frame.payloadBytes;
    if (isControl(frame.opcode)) this.#control(frame, part, isComplete);
    else {
      switch (this.#plan) {
        case "pass":
          this.#message?.transform?.push(unmasked(part, frame.mask, offset));
          this.#emit(part);
          break;
        case "stream":
          this.#stream(frame, part, offset, isComplete);
          break;
        case "collect":
          this.#collect(frame, part, offset);
          break;
      }
      if (isComplete && frame.isFinal) this.#endMessage();
    }
    if (!isComplete) return;
    this.#frame = undefined;
    this.#head = empty;
  }

  #control(frame: FrameHead, part: Buffer, isComplete: boolean): void {
    const raw = this.#whole(part, isComplete);
    if (raw === undefined) return;
    const { control, sender } = this.#options;
    const isClose = frame.opcode === opcodes.close;
    const plain = isClose || control !== undefined ? unmasked(raw, frame.mask, 0) : raw;
    if (isClose) checkClose(plain, isUtf8);
    const passed = control?.(plain) ?? plain;
    if (isClose) this.isClosing = true;
    if (passed === plain) {
      this.#emit(this.#head);
      this.#emit(raw);
      return;
    }
    // What has grown beyond the bound of such frames was a reason, or bytes that only their sender knows.
    const payload = passed.length <= maxControlBytes ? passed : passed.subarray(0, isClose ? 2 : maxControlBytes);
    this.#emit(serializeFrame({ isFinal: true, isCompressed: false, opcode: frame.opcode, payload }, sender));
  }

  #stream(frame: FrameHead, part: Buffer, offset: number, isComplete: boolean): void {
    if (frame.payloadBytes > maxWholeFrameBytes) {
      this.#rewrite(unmasked(part, frame.mask, offset), frame.isFinal && isComplete, undefined);
      return;
    }
    const raw = this.#whole(part, isComplete);
    if (raw !== undefined) this.#rewrite(unmasked(raw, frame.mask, 0), frame.isFinal, raw);
  }

  /** The payload of the current frame, once it is there; mostly it came in one part, which is not copied. */
  #whole(part: Buffer, isComplete: boolean): Buffer | undefined {
    if (isComplete && this.#payload.length === 0) return part;
    this.#payload.push(part);
    return isComplete ? this.#payload.take() : undefined;
  }

  /** @param raw the whole payload as it came, when the frame may go on as it is. */
  #rewrite(plain: Buffer, isLast: boolean, raw: Buffer | undefined): void {
    const transform = this.#message?.transform;
    if (transform === undefined) throw new Error("A streamed message without a transform");
    if (!this.#utf8.push(plain)) throw badText();
    const passed = transform.push(plain);
    const rest = isLast ? transform.end() : empty;
    const isFirst = this.#frame?.opcode !== opcodes.continuation;
    const payload = rest.length === 0 ? passed : Buffer.concat([passed, rest]);
    const isSame = payload === plain || payload.equals(plain);
    if (raw !== undefined && isSame && isFirst === !this.#hasBegun) {
      this.#hasBegun = true;
      this.#emit(this.#head);
      this.#emit(raw);
      return;
    }
    if (payload.length === 0 && !isLast) return;
    this.#emitFrame(payload, isLast, false);
  }

  #emitFrame(payload: Buffer, isFinal: boolean, isCompressed: boolean): void {
    const first = this.#message?.isText ? opcodes.text : opcodes.binary;
    const opcode = this.#hasBegun ? opcodes.continuation : first;
    this.#hasBegun = true;
    this.#emit(serializeFrame({ isFinal, isCompressed, opcode, payload }, this.#options.sender));
  }

  #collect(frame: FrameHead, part: Buffer, offset: number): void {
    this.#raw.push(part);
    this.#collected.push(unmasked(part, frame.mask, offset));
    // Heads count, too: fragments may be empty.
    if (this.#raw.length > this.#options.maxMessageBytes) this.#giveUpOn();
  }

  /** The message is too large to be looked into. */
  #giveUpOn(): void {
    // Once a message has been changed, the receiver could not unfold this one as it came.
    if (this.#options.oversize === "refuse" || this.#isChainBroken)
      throw messageTooLarge(this.#options.maxMessageBytes);
    const message = this.#message;
    if (message === undefined) return;
    if (message.transform !== undefined) this.unseenMessages += 1;
    if (!this.#forgets) this.#isBlind = true;
    this.#emit(this.#raw.take());
    this.#collected.take();
    this.#message = { ...message, transform: undefined, plan: "pass" };
  }

  #endMessage(): void {
    const message = this.#message;
    if (message?.plan === "collect") this.#endCollected(message);
    else if (message?.plan === "stream" && !this.#utf8.end()) throw badText();
    this.#message = undefined;
  }

  #endCollected(message: Message): void {
    const plain = this.#unfold(this.#collected.take());
    if (plain === undefined) return;
    const raw = this.#raw.take();
    if (message.isText && !isUtf8(plain)) throw badText();
    const passed = message.transform === undefined ? plain : changedBy(message.transform, plain);
    if (passed === plain && !this.#isChainBroken) {
      this.#emit(raw);
    } else {
      if (passed !== plain && !this.#forgets) this.#isChainBroken = true;
      const { deflate, sender } = this.#options;
      const compressed = deflate === undefined ? undefined : deflateMessage(passed, deflate.windowBits[sender]);
      this.#emitFrame(compressed ?? passed, true, compressed !== undefined);
    }
  }

  #unfold(payload: Buffer): Buffer | undefined {
    try {
      return this.#inflater.inflate(payload, this.#options.maxMessageBytes);
    } catch (error) {
      const mayPass = this.#options.oversize === "pass" && error instanceof BadWebSocket && error.closeCode === 1009;
      if (!mayPass) throw error;
      this.#giveUpOn();
      return undefined;
    }
  }

  /** Joins views that lie side by side in the same memory, so that an unchanged chunk goes on in one piece. */
  #emit(bytes: Buffer): void {
    if (bytes.length === 0) return;
    const last = this.#out.at(-1);
    const isAdjacent = last?.buffer === bytes.buffer && last.byteOffset + last.length === bytes.byteOffset;
    if (last === undefined || !isAdjacent) this.#out.push(bytes);
    else this.#out[this.#out.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + bytes.length);
  }
}

/** The same buffer when the transform changes nothing. */
function changedBy(transform: BodyTransform, plain: Buffer): Buffer {
  const passed = transform.push(plain);
  const rest = transform.end();
  if (rest.length === 0) return passed;
  const joined = Buffer.concat([passed, rest]);
  return joined.equals(plain) ? plain : joined;
}

function badText(): BadWebSocket {
  return new BadWebSocket(1007, "websocket_bad_text", "A text message is not UTF-8");
}
