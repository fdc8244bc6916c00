/** Bearer tokens and random identifiers. */
import { hash, randomBytes, randomFillSync, randomUUID } from "node:crypto";

export type TokenPrefix = "av_sess_" | "av_agt_" | "av_uinv_" | "av_appr_" | "av_inv_" | "av_oast_";

/** A bearer token: `prefix` and 256 random bits as 64 lowercase hex characters. */
export function mintToken(prefix: TokenPrefix): string {
  return prefix + randomHex(32);
}

/**
 * What is stored in place of a token: SHA-256 of the whole token, prefix included, as lowercase hex.
 * A token is 256 random bits, so it cannot be guessed from its digest and needs no salt and no slow hash.
 */
export function tokenDigest(token: string): string {
  return hash("sha256", token, "hex");
}

/** `bytes` random bytes as lowercase hex, twice as many characters. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString("hex");
}

/** A random UUID (RFC 9562, section 5.4). */
export function uuidv4(): string {
  return randomUUID();
}

/**
 * A time-ordered UUID (RFC 9562, section 5.7) for the millisecond `nowMs`.
 *
 * Ids of one process made under a clock that does not go back only grow: the 12 bits after the time count within one
 * millisecond (section 6.2, method 1) from a random number below 2^11, which leaves room for 2,048 ids.
 */
export function uuidv7(nowMs: number = Date.now()): string {
  if (poolAt + bytesPerId > pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  const ms = Math.trunc(nowMs);
  if (ms === last.ms && last.count < 0xfff) last.count += 1;
  else {
    last.ms = ms;
    last.count = randomAt(8) & 0x7ff;
    writeHex(0, 8, Math.floor(ms / 0x10000));
    writeHex(9, 4, ms % 0x10000);
  }
  writeHex(14, 4, 0x7000 | last.count);
  writeHex(19, 4, 0x8000 | (randomAt(0) & 0x3fff));
  writeHex(24, 4, randomAt(2));
  writeHex(28, 4, randomAt(4));
  writeHex(32, 4, randomAt(6));
  poolAt += bytesPerId;
  return text.toString("latin1");
}

/** Every request has an id: asking the system for randomness each time costs more than the rest of making one. */
const pool = new Uint8Array(4000);
const bytesPerId = 10;
let poolAt = pool.length;

/** Random bytes that nobody else gets, as a number of 16 bits. */
function randomAt(offset: number): number {
  return ((pool[poolAt + offset] ?? 0) << 8) | (pool[poolAt + offset + 1] ?? 0);
}

/** The time of the last id, which many share and which stays in `text`, and their count. */
const last = { ms: -1, count: 0 };
const text = Buffer.from("00000000-0000-0000-0000-000000000000", "latin1");
const hexDigits = Buffer.from("0123456789abcdef", "latin1");

function writeHex(at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i -= 1) {
    text[i] = hexDigits[rest & 15] ?? 0;
    rest >>>= 4;
  }
}
