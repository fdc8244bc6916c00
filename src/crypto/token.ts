/** Bearer tokens and random identifiers. */
import { hash, randomBytes, randomUUID } from "node:crypto";

export type TokenPrefix = "av_sess_" | "av_agt_" | "av_uinv_" | "av_appr_" | "av_inv_";

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
  const bytes = nextRandom16();
  const ms = Math.trunc(nowMs);
  const count = ms === last.ms && last.count < 0xfff ? last.count + 1 : bytes.readUInt16BE(6) & 0x7ff;
  last = { ms, count };
  bytes.writeUIntBE(ms, 0, 6);
  bytes.writeUInt16BE(0x7000 | count, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

let last = { ms: -1, count: 0 };

/** Every request has an id: asking the system for 16 bytes each time costs more than the rest of making one. */
let pool = Buffer.alloc(0);

/** 16 bytes that nobody else gets; the caller may write into them. */
function nextRandom16(): Buffer {
  if (pool.length < 16) pool = randomBytes(4096);
  const bytes = pool.subarray(0, 16);
  pool = pool.subarray(16);
  return bytes;
}
