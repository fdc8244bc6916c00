import { ErrorCode, Http2ConnectionError } from "./http2-error.ts";

/**
 * The Huffman code of header strings (RFC 7541, section 5.2 and appendix B). It is canonical, so the lengths of the
 * codes are all there is to write down: codes of one length follow each other in the order of their bytes.
 */

/** Bits per byte value; the last one is of the end of the string. */
// biome-ignore format: sixteen to a line
const lengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

const endOfString = 256;

/** The code of each byte value and of the end, as a number of that many bits. */
export const huffmanCodes: readonly { readonly code: number; readonly bits: number }[] = canonicalCodes();

function canonicalCodes(): { code: number; bits: number }[] {
  const codes = lengths.map((bits) => ({ code: 0, bits }));
  const inOrder = lengths.map((bits, symbol) => ({ bits, symbol })).sort((a, b) => a.bits - b.bits);
  let code = 0;
  let width = 0;
  for (const { bits, symbol } of inOrder) {
    code *= 2 ** (bits - width);
    width = bits;
    codes[symbol] = { code, bits };
    code += 1;
  }
  return codes;
}

/** In `steps`: the four bits completed this byte, bits 8 to 15; which node follows, bits 0 to 7. */
const emits = 0x1_0000;
/** The code of the end was completed, which must never be written. */
const isEnd = 0x2_0000;

/**
 * Four bits at a time: for each inner node of the tree and each half of a byte, what comes out and where it leads. No
 * code is shorter than five bits, so at most one byte comes out.
 */
const { steps, mayStop } = compile();

function compile(): { steps: Int32Array; mayStop: Uint8Array } {
  const children: number[][] = [[0, 0]];
  for (let symbol = 0; symbol <= endOfString; symbol += 1) {
    const { code, bits } = huffmanCodes[symbol] ?? { code: 0, bits: 0 };
    let node = 0;
    for (let bit = bits - 1; bit > 0; bit -= 1) {
      const side = (code >>> bit) & 1;
      const pair = children[node] ?? [];
      if (pair[side] === 0) {
        pair[side] = children.length;
        children.push([0, 0]);
      }
      node = pair[side] ?? 0;
    }
    (children[node] ?? [])[code & 1] = -1 - symbol; // negative: a leaf
  }
  const steps = new Int32Array(children.length * 16);
  for (let start = 0; start < children.length; start += 1) {
    for (let half = 0; half < 16; half += 1) {
      let node = start;
      let step = 0;
      for (let bit = 3; bit >= 0; bit -= 1) {
        const next = children[node]?.[(half >> bit) & 1] ?? 0;
        if (next >= 0) node = next;
        else {
          const symbol = -1 - next;
          step |= symbol === endOfString ? isEnd : emits | (symbol << 8);
          node = 0;
        }
      }
      steps[start * 16 + half] = step | node;
    }
  }
  // What fills up the last byte is the beginning of the end's code: up to seven ones (section 5.2).
  const mayStop = new Uint8Array(children.length);
  for (let node = 0, depth = 0; depth <= 7; depth += 1) {
    mayStop[node] = 1;
    node = children[node]?.[1] ?? 0;
  }
  return { steps, mayStop };
}

/** A byte takes at least five bits. */
const mostPerByte = 8 / 5;

/**
 * Decodes to latin1: one character per byte.
 *
 * @throws {Http2ConnectionError} on padding that is too long or not of ones, and on the end inside of the string.
 */
export function decodeHuffman(bytes: Buffer, start: number, end: number): string {
  const decoded = Buffer.allocUnsafe(Math.ceil((end - start) * mostPerByte));
  let length = 0;
  let node = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    for (let half = 4; half >= 0; half -= 4) {
      const step = steps[node * 16 + ((byte >> half) & 0xf)] ?? 0;
      if ((step & emits) !== 0) {
        decoded[length] = (step >> 8) & 0xff;
        length += 1;
      }
      if ((step & isEnd) !== 0) throw badHuffman();
      node = step & 0xff;
    }
  }
  if (mayStop[node] !== 1) throw badHuffman();
  return decoded.toString("latin1", 0, length);
}

function badHuffman(): Http2ConnectionError {
  return new Http2ConnectionError(ErrorCode.compressionError, "A Huffman-coded string is malformed");
}
