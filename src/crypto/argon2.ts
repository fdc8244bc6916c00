/** Argon2id (RFC 9106): wrapping keys from the master password, and the hashes of people's passwords. */
import * as nodeCrypto from "node:crypto";
import { InvalidInput, Unavailable } from "../errors.ts";

export interface Argon2Parameters {
  readonly time: number;
  readonly memoryKib: number;
  readonly threads: number;
}

export interface PasswordHash {
  readonly hash: Uint8Array;
  readonly salt: Uint8Array;
  readonly time: number;
  readonly memoryKib: number;
  readonly threads: number;
}

/** 3 passes over 64 MiB in 4 lanes (spec; RFC 9106, section 4, second recommendation). */
export const currentParameters: Argon2Parameters = { time: 3, memoryKib: 65_536, threads: 4 };

export const saltBytes = 16;
const outputBytes = 32;
/** Longer passwords add nothing but work for whoever sends them (spec 15.9). */
export const maxPasswordBytes = 1024;
/** Each run takes 64 MiB and a core: two at once bound what strangers who sign in can make us spend. */
const maxRunning = 2;
const maxWaiting = 64;

/** @throws {InvalidInput} `password_too_long` above 1024 bytes. @throws {Unavailable} when too many wait already. */
export async function hashPassword(password: string): Promise<PasswordHash> {
  const salt = nodeCrypto.getRandomValues(new Uint8Array(saltBytes));
  return { hash: await deriveKey(password, salt, currentParameters), salt, ...currentParameters };
}

/** False for a password that no account can have, too. @throws {Unavailable} when too many wait already. */
export async function verifyPassword(password: string, hash: PasswordHash): Promise<boolean> {
  if (password === "" || Buffer.byteLength(password) > maxPasswordBytes) return false;
  const computed = await deriveKey(password, hash.salt, hash, hash.hash.length);
  return nodeCrypto.timingSafeEqual(computed, hash.hash);
}

/**
 * 32 bytes (or `length`) from a password. The work runs off the event loop.
 * @throws {InvalidInput} `password_too_long`. @throws {Unavailable} `busy` when too many wait already.
 */
export async function deriveKey(
  password: string,
  salt: Uint8Array,
  parameters: Argon2Parameters,
  length: number = outputBytes,
): Promise<Uint8Array> {
  const message = new TextEncoder().encode(password);
  if (message.length > maxPasswordBytes) {
    throw new InvalidInput("password_too_long", `A password may have at most ${maxPasswordBytes} bytes`);
  }
  await enter();
  begun += 1;
  try {
    return await compute({ message, salt, length, ...parameters });
  } finally {
    message.fill(0);
    leave();
  }
}

interface Derivation extends Argon2Parameters {
  readonly message: Uint8Array;
  readonly salt: Uint8Array;
  readonly length: number;
}

function compute({ message, salt, length, time, memoryKib, threads }: Derivation): Promise<Uint8Array> {
  // Bun and Node (from 24.7) have it; Deno 2.9 does not.
  if (typeof nodeCrypto.argon2 !== "function")
    return computeInWasm({ message, salt, length, time, memoryKib, threads });
  const options = { message, nonce: salt, parallelism: threads, tagLength: length, memory: memoryKib, passes: time };
  return new Promise((resolve, reject) => {
    nodeCrypto.argon2("argon2id", options, (error, result) =>
      error ? reject(error) : resolve(new Uint8Array(result)),
    );
  });
}

/** The shape of the one function of hash-wasm that is used. */
interface WasmArgon2 {
  argon2id(options: {
    readonly password: Uint8Array;
    readonly salt: Uint8Array;
    readonly parallelism: number;
    readonly iterations: number;
    readonly memorySize: number;
    readonly hashLength: number;
    readonly outputType: "binary";
  }): Promise<Uint8Array>;
}

/** Blocks the event loop while it computes, unlike the native one: for development on Deno. */
async function computeInWasm({ message, salt, length, time, memoryKib, threads }: Derivation): Promise<Uint8Array> {
  // A specifier that is not a literal keeps the WASM out of the compiled binary, which never needs it.
  const specifier: string = "hash-wasm";
  const { argon2id } = (await import(specifier)) as WasmArgon2;
  return argon2id({
    password: message,
    salt,
    parallelism: threads,
    iterations: time,
    memorySize: memoryKib,
    hashLength: length,
    outputType: "binary",
  });
}

// A property of the process, not of an object: its memory and cores are what is bounded.
let running = 0;
let begun = 0;

/** How often this process has paid for a derivation. Whoever wants answers to cost the same compares this, not times. */
export function derivationsBegun(): number {
  return begun;
}

const waiting: (() => void)[] = [];

async function enter(): Promise<void> {
  if (running < maxRunning) {
    running += 1;
    return;
  }
  if (waiting.length >= maxWaiting) {
    throw new Unavailable("busy", "Too many passwords are being checked at the moment", { retryAfterSeconds: 5 });
  }
  // The one who leaves hands its place over, so `running` stays as it is.
  await new Promise<void>((resolve) => waiting.push(resolve));
}

function leave(): void {
  const next = waiting.shift();
  if (next) next();
  else running -= 1;
}
