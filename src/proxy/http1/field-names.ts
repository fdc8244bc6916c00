import { nameBytes } from "./bytes.ts";

/**
 * Names of header fields as they are compared: in lower case, and everything but letters and digits as `-`. CGI and its
 * descendants make `_` of some of those or of all, so `X_Api_Key` and `X.Api.Key` beside an injected `X-Api-Key` would be
 * a second opinion on who is calling.
 *
 * A head is read byte by byte anyway, so the comparable form of each name is hashed on the way; a name that nobody has a
 * rule for never becomes a string.
 */

/** The comparable form of a name. */
export function comparableName(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, "-");
}

const hyphen = 0x2d;

/** In `foldedBytes`: a byte that is neither letter, digit nor hyphen, so the name is not spelled the usual way. */
export const oddSpelling = 0x80;

/** For each byte that may stand in a name its comparable form, with `oddSpelling` where that applies; 0 for the others. */
export const foldedBytes = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (nameBytes[byte] !== 1) return 0;
  const character = String.fromCharCode(byte).toLowerCase();
  if (/[a-z0-9-]/.test(character)) return character.charCodeAt(0);
  return hyphen | oddSpelling;
});

/** FNV-1a over the comparable form; attackers can make names that collide, and gain one comparison of bytes by it. */
export const hashBasis = 0x811c9dc5 | 0;
const hashPrime = 0x01000193;

/** @param folded from `foldedBytes`. */
export function addToHash(hash: number, folded: number): number {
  return Math.imul(hash ^ (folded & 0x7f), hashPrime);
}

function hashOf(comparable: string): number {
  let hash = hashBasis;
  for (let i = 0; i < comparable.length; i += 1) hash = addToHash(hash, comparable.charCodeAt(i));
  return hash;
}

/** From comparable names to positive numbers, asked with the bytes of a name and their hash. */
export class NameTable {
  readonly #mask: number;
  readonly #hashes: Int32Array;
  readonly #values: Int32Array;
  readonly #names: readonly string[];

  /** @param entries a later one with the same name wins. */
  constructor(entries: Iterable<readonly [comparable: string, value: number]>) {
    const values = new Map(entries);
    let size = 8;
    while (size < values.size * 4) size *= 2;
    this.#mask = size - 1;
    this.#hashes = new Int32Array(size);
    this.#values = new Int32Array(size);
    const names = new Array<string>(size).fill("");
    for (const [name, value] of values) {
      const hash = hashOf(name);
      let slot = hash & this.#mask;
      while (this.#values[slot] !== 0) slot = (slot + 1) & this.#mask;
      this.#hashes[slot] = hash;
      this.#values[slot] = value;
      names[slot] = name;
    }
    this.#names = names;
  }

  /** The value of the name that stands in `bytes`, or 0. */
  find(hash: number, bytes: Uint8Array, start: number, end: number): number {
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const value = this.#values[slot] ?? 0;
      if (value === 0) return 0;
      if (this.#hashes[slot] === hash && isSame(this.#names[slot] ?? "", bytes, start, end)) return value;
    }
  }

  /** The value of a name in any spelling, or 0. */
  findName(name: string): number {
    const comparable = comparableName(name);
    const slot = this.#names.indexOf(comparable);
    return slot === -1 ? 0 : (this.#values[slot] ?? 0);
  }
}

function isSame(comparable: string, bytes: Uint8Array, start: number, end: number): boolean {
  if (comparable.length !== end - start) return false;
  for (let i = 0; i < comparable.length; i += 1) {
    if (((foldedBytes[bytes[start + i] ?? 0] ?? 0) & 0x7f) !== comparable.charCodeAt(i)) return false;
  }
  return true;
}

/** Names that the codec or the proxy has rules for. Below 32, so that a set of them is one number. */
export const Field = {
  connection: 1,
  keepAlive: 2,
  proxyAuthenticate: 3,
  proxyAuthorization: 4,
  proxyConnection: 5,
  te: 6,
  transferEncoding: 7,
  upgrade: 8,
  vault: 9,
  host: 10,
  contentLength: 11,
  trailer: 12,
  expect: 13,
  authorization: 14,
  xApiKey: 15,
  apiKey: 16,
  altSvc: 17,
  setCookie: 18,
  setCookie2: 19,
  webSocketKey: 20,
  webSocketAccept: 21,
  acceptEncoding: 22,
  contentEncoding: 23,
  webSocketExtensions: 24,
  contentType: 25,
} as const;

export type FieldId = (typeof Field)[keyof typeof Field];

const spelled: readonly (readonly [string, FieldId])[] = [
  ["connection", Field.connection],
  ["keep-alive", Field.keepAlive],
  ["proxy-authenticate", Field.proxyAuthenticate],
  ["proxy-authorization", Field.proxyAuthorization],
  ["proxy-connection", Field.proxyConnection],
  ["te", Field.te],
  ["transfer-encoding", Field.transferEncoding],
  ["upgrade", Field.upgrade],
  ["x-vault", Field.vault],
  ["host", Field.host],
  ["content-length", Field.contentLength],
  ["trailer", Field.trailer],
  ["expect", Field.expect],
  ["authorization", Field.authorization],
  ["x-api-key", Field.xApiKey],
  ["api-key", Field.apiKey],
  ["alt-svc", Field.altSvc],
  ["set-cookie", Field.setCookie],
  ["set-cookie2", Field.setCookie2],
  ["sec-websocket-key", Field.webSocketKey],
  ["sec-websocket-accept", Field.webSocketAccept],
  ["accept-encoding", Field.acceptEncoding],
  ["content-encoding", Field.contentEncoding],
  ["sec-websocket-extensions", Field.webSocketExtensions],
  ["content-type", Field.contentType],
];

export const fieldTable = new NameTable(spelled);

/** A set of `Field`s, as one bit each. */
export function fieldSet(...ids: readonly FieldId[]): number {
  return ids.reduce((set, id) => set | (1 << id), 0);
}
