/** Rules for passwords of people, and their stored form. Hashing itself is `crypto/argon2.ts`. */
import {
  currentParameters,
  hashPassword,
  maxPasswordBytes,
  type PasswordHash,
  saltBytes,
  verifyPassword,
} from "../../crypto/argon2.ts";
import { InvalidInput, Unauthenticated } from "../../errors.ts";

const minBytes = 8;

/** @throws {InvalidInput} `invalid_password`. */
export function checkNewPassword(password: string): void {
  const length = Buffer.byteLength(password);
  if (length < minBytes) throw new InvalidInput("invalid_password", "Password must be at least 8 characters");
  checkPasswordLength(password);
}

/** For a password that is compared rather than set. @throws {InvalidInput} `invalid_password`. */
export function checkPasswordLength(password: string): void {
  if (Buffer.byteLength(password) > maxPasswordBytes) {
    throw new InvalidInput("invalid_password", `Password must be at most ${maxPasswordBytes} bytes`);
  }
}

/** The columns of `users` that hold a password. */
export interface PasswordColumns {
  readonly password_hash: Uint8Array;
  readonly password_salt: Uint8Array;
  readonly kdf_time: number;
  readonly kdf_memory: number;
  readonly kdf_threads: number;
}

export async function hashForStorage(password: string): Promise<PasswordColumns> {
  const hash = await hashPassword(password);
  return {
    password_hash: hash.hash,
    password_salt: hash.salt,
    kdf_time: hash.time,
    kdf_memory: hash.memoryKib,
    kdf_threads: hash.threads,
  };
}

/** The same work as a real comparison, for addresses that have no account: the time must not tell. */
const nobody: PasswordHash = {
  hash: new Uint8Array(32),
  salt: new Uint8Array(saltBytes).fill(7),
  ...currentParameters,
};

/** False for a wrong password, and, after the same work, when there is no account. */
export async function isPasswordOf(columns: PasswordColumns | undefined, password: string): Promise<boolean> {
  if (columns === undefined) {
    await verifyPassword(password, nobody);
    return false;
  }
  return verifyPassword(password, {
    hash: columns.password_hash,
    salt: columns.password_salt,
    time: columns.kdf_time,
    memoryKib: columns.kdf_memory,
    threads: columns.kdf_threads,
  });
}

/** One sentence, whatever was wrong. */
export function invalidLogin(): Unauthenticated {
  return new Unauthenticated("invalid_login", "Invalid email or password");
}

export function wrongPassword(): Unauthenticated {
  return new Unauthenticated("wrong_password", "The current password is wrong");
}
