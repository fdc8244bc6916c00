/** The data keys while the server runs, and the records sealed under them. The format is in docs/records.md. */
import { Corrupt } from "../errors.ts";
import { type Bytes, encodeParts, importKey, openBox, sealBox } from "./aead.ts";

/** The record that holds a sealed value. It is authenticated with the value: a value copied elsewhere does not open. */
export type RecordKey = readonly [table: string, row: string, column: string];

/** A data key before it is imported: 32 bytes, numbered from 1. */
export interface RawDataKey {
  readonly number: number;
  readonly raw: Uint8Array;
}

const recordVersion = 1;
const headerBytes = 5;

/**
 * Seals and unseals values for the records that hold them.
 *
 * Layout: version (1 byte) | key number (4, big-endian) | nonce (12) | ciphertext and tag (16 or more).
 * The header is authenticated too. The highest key number seals; every held number opens.
 */
export class Keyring {
  #keys: ReadonlyMap<number, CryptoKey>;
  #activeNumber: number;
  #macRoot: CryptoKey | undefined;
  readonly #macKeys = new Map<string, Promise<CryptoKey>>();

  private constructor(keys: ReadonlyMap<number, CryptoKey>, activeNumber: number, macRoot: CryptoKey) {
    this.#keys = keys;
    this.#activeNumber = activeNumber;
    this.#macRoot = macRoot;
  }

  /**
   * Imports the data keys so that they cannot be exported again, and zeroes the raw bytes it was given.
   * `mac` derives from the lowest number, so it stays the same until that key is retired.
   */
  static async open(dataKeys: readonly RawDataKey[]): Promise<Keyring> {
    try {
      const sorted = [...dataKeys].sort((a, b) => a.number - b.number);
      const [oldest, newest] = [sorted[0], sorted.at(-1)];
      if (!oldest || !newest) throw new Corrupt("no_data_key", "The database holds no data key");
      const keys = new Map<number, CryptoKey>();
      for (const { number, raw } of sorted) keys.set(number, await importKey(raw));
      const macRoot = await crypto.subtle.importKey("raw", oldest.raw as Bytes, "HKDF", false, ["deriveKey"]);
      return new Keyring(keys, newest.number, macRoot);
    } finally {
      for (const { raw } of dataKeys) raw.fill(0);
    }
  }

  async seal(owner: RecordKey, plaintext: string | Uint8Array): Promise<Uint8Array> {
    const bytes = typeof plaintext === "string" ? new TextEncoder().encode(plaintext) : plaintext;
    const header = new Uint8Array(headerBytes);
    header[0] = recordVersion;
    new DataView(header.buffer).setUint32(1, this.#activeNumber);
    const box = await sealBox(this.#key(this.#activeNumber, owner), bytes, associatedData(header, owner));
    return concat(header, box);
  }

  /** @throws {Corrupt} `seal_broken` if the value was altered, moved, or sealed under a key we do not hold. */
  async unseal(owner: RecordKey, sealed: Uint8Array): Promise<Uint8Array> {
    const header = sealed.subarray(0, headerBytes);
    if (header.length < headerBytes || header[0] !== recordVersion) throw broken(owner, "its format is unknown");
    const number = new DataView(header.buffer, header.byteOffset, headerBytes).getUint32(1);
    const key = this.#key(number, owner);
    const plaintext = await openBox(key, sealed.subarray(headerBytes), associatedData(header, owner));
    if (!plaintext) throw broken(owner, "it was altered, or moved from another record");
    return plaintext;
  }

  /** @throws {Corrupt} as `unseal`, and when the value is not UTF-8. */
  async unsealText(owner: RecordKey, sealed: Uint8Array): Promise<string> {
    const bytes = await this.unseal(owner, sealed);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw broken(owner, "it is not text");
    }
  }

  /**
   * HMAC-SHA-256 of `message`, as lowercase hex, under a key made for `purpose` (HKDF-SHA-256, RFC 5869).
   * For values too short to be hashed bare, such as six-digit codes.
   */
  async mac(purpose: string, message: string): Promise<string> {
    const key = await this.#macKey(purpose);
    const tag = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(message));
    return Buffer.from(tag).toString("hex");
  }

  /** Forgets the keys. Whatever is asked afterwards fails. */
  destroy(): void {
    this.#keys = new Map();
    this.#macRoot = undefined;
    this.#macKeys.clear();
  }

  #key(number: number, owner: RecordKey): CryptoKey {
    const key = this.#keys.get(number);
    if (key) return key;
    throw broken(owner, this.#keys.size === 0 ? "the keys were forgotten" : `data key ${number} is not held`);
  }

  #macKey(purpose: string): Promise<CryptoKey> {
    const known = this.#macKeys.get(purpose);
    if (known) return known;
    if (!this.#macRoot) throw new Corrupt("no_data_key", "The keys were forgotten");
    const info = encodeParts(["agent-vault mac", purpose]);
    const key = crypto.subtle.deriveKey(
      { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info },
      this.#macRoot,
      { name: "HMAC", hash: "SHA-256", length: 256 },
      false,
      ["sign"],
    );
    this.#macKeys.set(purpose, key);
    return key;
  }
}

function associatedData(header: Uint8Array, owner: RecordKey): Bytes {
  return concat(header, encodeParts(owner));
}

function concat(first: Uint8Array, second: Uint8Array): Bytes {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

function broken([table, row, column]: RecordKey, why: string): Corrupt {
  return new Corrupt("seal_broken", `The sealed value in ${table}.${column} of record ${row} does not open: ${why}`);
}
