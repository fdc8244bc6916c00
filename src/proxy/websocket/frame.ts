import { randomBytes } from "node:crypto";
import { BadWebSocket } from "./bad-websocket.ts";

/** Frames of the WebSocket protocol (RFC 6455, section 5). */

export const opcodes = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** Who sends: clients mask every frame, servers none (section 5.1). */
export type Sender = "client" | "server";

export interface FrameHead {
  readonly isFinal: boolean;
  /** With permessage-deflate: the message that begins here is compressed (RFC 7692, section 6). */
  readonly isCompressed: boolean;
  readonly opcode: number;
  /** Undefined for frames of servers. */
  readonly mask: Buffer | undefined;
  readonly payloadBytes: number;
}

export const isControl = (opcode: number): boolean => opcode >= 0x8;

const maxControlBytes = 125;
const maxHeadBytes = 14;

/** How long a head is, by its first two bytes. */
export function headBytes(second: number): number {
  const length = second & 0x7f;
  return 2 + (length === 127 ? 8 : length === 126 ? 2 : 0) + (second & 0x80 ? 4 : 0);
}

export interface FrameRules {
  readonly sender: Sender;
  /** Was permessage-deflate agreed on? */
  readonly mayCompress: boolean;
}

/**
 * Reads a head, of which `bytes` holds exactly the bytes.
 *
 * @throws {BadWebSocket} for all that section 5.2 forbids: reserved bits and opcodes, a mask that is missing or should be,
 * a length that is not written in its shortest form, a control frame that is long or a fragment.
 */
export function parseFrameHead(bytes: Buffer, rules: FrameRules): FrameHead {
  const [first = 0, second = 0] = bytes;
  const opcode = first & 0x0f;
  const isFinal = (first & 0x80) !== 0;
  const isCompressed = (first & 0x40) !== 0;
  const isMasked = (second & 0x80) !== 0;
  if (opcode > opcodes.pong || (opcode > opcodes.binary && opcode < opcodes.close))
    throw violation("a reserved opcode");
  if ((first & 0x30) !== 0) throw violation("a reserved bit set");
  if (isCompressed && (!rules.mayCompress || (opcode !== opcodes.text && opcode !== opcodes.binary))) {
    throw violation("the bit for compression set where it means nothing");
  }
  if (isMasked !== (rules.sender === "client"))
    throw violation(isMasked ? "a mask, from a server" : "no mask, from a client");
  const payloadBytes = payloadBytesOf(bytes, second & 0x7f);
  if (isControl(opcode) && (!isFinal || payloadBytes > maxControlBytes)) {
    throw violation("a control opcode, and is a fragment or longer than 125 bytes");
  }
  const mask = isMasked ? Buffer.from(bytes.subarray(bytes.length - 4)) : undefined;
  return { isFinal, isCompressed, opcode, mask, payloadBytes };
}

function payloadBytesOf(bytes: Buffer, short: number): number {
  if (short < 126) return short;
  if (short === 126) {
    const length = bytes.readUInt16BE(2);
    if (length < 126) throw violation("a length that is not in its shortest form");
    return length;
  }
  const high = bytes.readUInt32BE(2);
  const length = high * 2 ** 32 + bytes.readUInt32BE(6);
  if (high > 0x1fffff) throw violation("a length past all reason");
  if (length < 65_536) throw violation("a length that is not in its shortest form");
  return length;
}

export interface OutgoingFrame {
  readonly isFinal: boolean;
  readonly isCompressed: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

/** A frame as bytes, its length in the shortest form. Of a client, it is masked with a fresh random key (section 5.3). */
export function serializeFrame(frame: OutgoingFrame, sender: Sender): Buffer {
  const { payload } = frame;
  const isMasked = sender === "client";
  const bytes = Buffer.allocUnsafe(maxHeadBytes + payload.length);
  bytes[0] = (frame.isFinal ? 0x80 : 0) | (frame.isCompressed ? 0x40 : 0) | frame.opcode;
  const maskBit = isMasked ? 0x80 : 0;
  let at = 2;
  if (payload.length < 126) bytes[1] = maskBit | payload.length;
  else if (payload.length < 65_536) {
    bytes[1] = maskBit | 126;
    at = bytes.writeUInt16BE(payload.length, 2);
  } else {
    bytes[1] = maskBit | 127;
    at = bytes.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  if (!isMasked) {
    payload.copy(bytes, at);
    return bytes.subarray(0, at + payload.length);
  }
  const mask = randomBytes(4);
  mask.copy(bytes, at);
  applyMask(payload, mask, 0, bytes, at + 4);
  return bytes.subarray(0, at + 4 + payload.length);
}

/**
 * Masks or unmasks (section 5.3) `source` into `target` at `at`. `offset` is where in the frame's payload the source
 * begins. Four bytes at a time, where they lie so that a word can be made of them.
 */
export function applyMask(source: Buffer, mask: Buffer, offset: number, target: Buffer, at: number): void {
  const { length } = source;
  source.copy(target, at);
  if (length < worthWordsBytes) {
    maskBytes(target, at, at + length, mask, offset);
    return;
  }
  const untilAligned = (4 - ((target.byteOffset + at) & 3)) & 3;
  maskBytes(target, at, at + untilAligned, mask, offset);
  const words = new Uint32Array(target.buffer, target.byteOffset + at + untilAligned, (length - untilAligned) >> 2);
  const turned = Uint8Array.from({ length: 4 }, (_, i) => mask[(offset + untilAligned + i) & 3] ?? 0);
  const key = new Uint32Array(turned.buffer)[0] ?? 0;
  for (let i = 0; i < words.length; i += 1) words[i] = (words[i] ?? 0) ^ key;
  const done = untilAligned + words.length * 4;
  maskBytes(target, at + done, at + length, mask, offset + done);
}

/** Below this, making the views takes longer than it saves. */
const worthWordsBytes = 512;

function maskBytes(bytes: Buffer, from: number, to: number, mask: Buffer, offset: number): void {
  for (let i = from; i < to; i += 1) bytes[i] = (bytes[i] ?? 0) ^ (mask[(offset + i - from) & 3] ?? 0);
}

export function unmasked(payload: Buffer, mask: Buffer | undefined, offset: number): Buffer {
  if (mask === undefined) return payload;
  const plain = Buffer.allocUnsafe(payload.length);
  applyMask(payload, mask, offset, plain, 0);
  return plain;
}

/** A Close frame with a status code and a short ASCII reason. */
export function closeFrame(code: number, reason: string, sender: Sender): Buffer {
  const payload = Buffer.alloc(2 + reason.length);
  payload.writeUInt16BE(code, 0);
  payload.write(reason, 2, "latin1");
  return serializeFrame(
    { isFinal: true, isCompressed: false, opcode: opcodes.close, payload: payload.subarray(0, maxControlBytes) },
    sender,
  );
}

/** @throws {BadWebSocket} for the body of a Close frame that section 7.4 forbids. */
export function checkClose(payload: Buffer, isUtf8: (bytes: Buffer) => boolean): void {
  if (payload.length === 0) return;
  if (payload.length === 1) throw violation("half a status code");
  const code = payload.readUInt16BE(0);
  const isDefined = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006;
  if (!isDefined && (code < 3000 || code > 4999)) throw violation("a status code that must not be sent");
  if (!isUtf8(payload.subarray(2)))
    throw new BadWebSocket(1007, "websocket_bad_text", "A reason to close is not UTF-8");
}

export function violation(what: string): BadWebSocket {
  return new BadWebSocket(1002, "websocket_bad_frame", `A frame has ${what} (RFC 6455)`);
}
