/** Data keys wrapped under a key that Argon2id derives from the master password. */
import { Corrupt } from "../../errors.ts";
import { importKey, openBox, sealBox } from "../aead.ts";
import { type Argon2Parameters, currentParameters, deriveKey, saltBytes } from "../argon2.ts";
import type { Secret } from "../secret.ts";
import type { KeyProvider } from "./provider.ts";

/** What is stored, in clear, beside the wrapped keys: enough to derive the wrapping key again from the password. */
export interface PasswordRecord extends Argon2Parameters {
  readonly salt: Uint8Array;
}

/**
 * Wrapped layout: version (1 byte) | nonce (12) | ciphertext (32) | tag (16), AES-256-GCM. The version and the context
 * are authenticated.
 */
export class PasswordKeyProvider implements KeyProvider {
  readonly label = "password";
  readonly record: PasswordRecord;
  readonly #wrappingKey: CryptoKey;

  private constructor(record: PasswordRecord, wrappingKey: CryptoKey) {
    this.record = record;
    this.#wrappingKey = wrappingKey;
  }

  /** With a new salt and, unless told otherwise, today's cost. @throws {InvalidInput} `password_too_long`. */
  static create(password: Secret, cost: Argon2Parameters = currentParameters): Promise<PasswordKeyProvider> {
    const salt = crypto.getRandomValues(new Uint8Array(saltBytes));
    return PasswordKeyProvider.open(password, { ...cost, salt });
  }

  /** Takes about half a second and 64 MiB. A wrong password shows when something is unwrapped. */
  static async open(password: Secret, record: PasswordRecord): Promise<PasswordKeyProvider> {
    const derived = await deriveKey(password.reveal(), record.salt, record);
    try {
      return new PasswordKeyProvider(record, await importKey(derived));
    } finally {
      derived.fill(0);
    }
  }

  async wrap(key: Uint8Array, context: string): Promise<Uint8Array> {
    const box = await sealBox(this.#wrappingKey, key, associatedData(context));
    return Uint8Array.from([wrapVersion, ...box]);
  }

  async unwrap(wrapped: Uint8Array, context: string): Promise<Uint8Array | undefined> {
    if (wrapped[0] !== wrapVersion) return undefined;
    return openBox(this.#wrappingKey, wrapped.subarray(1), associatedData(context));
  }
}

const wrapVersion = 1;

function associatedData(context: string): Uint8Array {
  return new TextEncoder().encode(`${wrapVersion}/${context}`);
}

export function formatPasswordRecord({ time, memoryKib, threads, salt }: PasswordRecord): string {
  return JSON.stringify({
    algorithm: "argon2id",
    time,
    memoryKib,
    threads,
    salt: Buffer.from(salt).toString("base64"),
  });
}

/**
 * Bounded, because whoever can write to the database could otherwise ask for terabytes at the next start, or for a
 * cost so low that the password is soon guessed from the next rewrap.
 * @throws {Corrupt} `key_protection_broken`.
 */
export function parsePasswordRecord(text: string): PasswordRecord {
  const broken = () => new Corrupt("key_protection_broken", "The record of how the master password is used is damaged");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw broken();
  }
  const { algorithm, time, memoryKib, threads, salt } = (value ?? {}) as Partial<Record<string, unknown>>;
  if (algorithm !== "argon2id" || typeof salt !== "string") throw broken();
  const bytes = new Uint8Array(Buffer.from(salt, "base64"));
  const isSound = isWithin(time, 1, 100) && isWithin(memoryKib, 8 * 1024, 4 * 1024 * 1024) && isWithin(threads, 1, 64);
  if (!isSound || bytes.length < saltBytes) throw broken();
  return { time, memoryKib, threads, salt: bytes } as PasswordRecord;
}

function isWithin(value: unknown, least: number, most: number): boolean {
  return Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
}
