/** Signatures that anybody can check: ECDSA on P-256 with SHA-256, through WebCrypto (FIPS 186-5). */
import { hash } from "node:crypto";
import { InvalidInput } from "../errors.ts";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export interface NewSigningKey {
  readonly publicKeyPem: string;
  /** PKCS #8, DER: to be sealed, then overwritten. */
  readonly pkcs8: Uint8Array;
}

export async function createSigningKey(): Promise<NewSigningKey> {
  const pair = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
  const der = await crypto.subtle.exportKey("spki", pair.publicKey);
  return {
    publicKeyPem: pemOf(Buffer.from(der)),
    pkcs8: new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey)),
  };
}

/** The key can sign, and cannot be exported again. */
export async function loadSigningKey(pkcs8: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey("pkcs8", Uint8Array.from(pkcs8), algorithm, false, ["sign"]);
}

/** @returns r and s, 32 bytes each (IEEE P1363), as base64. */
export async function sign(key: CryptoKey, message: Uint8Array): Promise<string> {
  return Buffer.from(await crypto.subtle.sign(algorithm, key, Uint8Array.from(message))).toString("base64");
}

export class VerifyingKey {
  /** First 32 hex characters of the SHA-256 of the key (DER, SubjectPublicKeyInfo). */
  readonly id: string;
  readonly #key: CryptoKey;

  private constructor(id: string, key: CryptoKey) {
    this.id = id;
    this.#key = key;
  }

  /** @throws {InvalidInput} `invalid_public_key` unless it is a P-256 public key in PEM. */
  static async parse(pem: string): Promise<VerifyingKey> {
    const base64 = /-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----/.exec(pem)?.[1] ?? "";
    const der = Buffer.from(base64, "base64");
    try {
      return new VerifyingKey(
        keyId(der),
        await crypto.subtle.importKey("spki", Uint8Array.from(der), algorithm, true, ["verify"]),
      );
    } catch (cause) {
      throw new InvalidInput("invalid_public_key", "This is not a public key (P-256, PEM)", { cause });
    }
  }

  /** @param signature as `sign` gives it. */
  async verifies(message: Uint8Array, signature: string): Promise<boolean> {
    const bytes = Uint8Array.from(Buffer.from(signature, "base64"));
    // Base64 is read leniently, so a text is only taken in the one form that `sign` gives.
    if (bytes.length !== 64 || Buffer.from(bytes).toString("base64") !== signature) return false;
    return crypto.subtle.verify(algorithm, this.#key, bytes, Uint8Array.from(message));
  }
}

function keyId(der: Uint8Array): string {
  return hash("sha256", der, "hex").slice(0, 32);
}

function pemOf(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN PUBLIC KEY-----\n${lines.join("\n")}\n-----END PUBLIC KEY-----\n`;
}
