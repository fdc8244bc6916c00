/** Bearer tokens and random identifiers. */
import { hash, randomBytes, randomUUID } from "node:crypto";

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
  const ms = Math.trunc(nowMs);
  if (ms === last.ms && last.count < 0xfff) last.count += 1;
  else last = { ms, count: Number.parseInt(nextDigits(4), 16) & 0x7ff, prefix: prefixOf(ms) };
  const random = nextDigits(16);
  const variant = "89ab".charAt(Number.parseInt(random.charAt(0), 16) & 3);
  return `${last.prefix}-${(0x7000 | last.count).toString(16)}-${variant}${random.slice(1, 4)}-${random.slice(4)}`;
}

/** The time of the last id, which many share, and their count. */
let last = { ms: -1, count: 0, prefix: "" };

function prefixOf(ms: number): string {
  const digits = ms.toString(16).padStart(12, "0");
  return `${digits.slice(0, 8)}-${digits.slice(8)}`;
}

/** Every request has an id: asking the system for randomness each time costs more than the rest of making one. */
let pool = "";
let poolAt = 0;

/** Random hex digits that nobody else gets. */
function nextDigits(count: number): string {
  if (poolAt + count > pool.length) {
    pool = randomHex(4096);
    poolAt = 0;
  }
  poolAt += count;
  return pool.slice(poolAt - count, poolAt);
}
