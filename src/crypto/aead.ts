/**
 * AES-256-GCM with associated data, through WebCrypto.
 *
 * Layout of a box: nonce (12 bytes) | ciphertext | tag (16). Nonces are random, so one key seals at most 2^32 boxes
 * (NIST SP 800-38D, section 8.3).
 */

export const keyBytes = 32;
export const nonceBytes = 12;
export const tagBytes = 16;

/** Bytes as WebCrypto takes them. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Imports `raw` as a key that cannot be exported again. The caller still owns `raw` and zeroes it. */
export async function importKey(raw: Uint8Array): Promise<CryptoKey> {
  if (raw.length !== keyBytes) throw new RangeError(`an AES-256 key has ${keyBytes} bytes, not ${raw.length}`);
  return crypto.subtle.importKey("raw", owned(raw), "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** Encrypts `plaintext` under a fresh nonce, authenticated together with `associatedData`. */
export async function sealBox(key: CryptoKey, plaintext: Uint8Array, associatedData: Uint8Array): Promise<Bytes> {
  const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes));
  const sealed = await crypto.subtle.encrypt(parameters(nonce, associatedData), key, owned(plaintext));
  const box = new Uint8Array(nonceBytes + sealed.byteLength);
  box.set(nonce);
  box.set(new Uint8Array(sealed), nonceBytes);
  return box;
}

/** The plaintext of `box`; undefined when key, associated data or any bit of the box is not what was sealed. */
export async function openBox(key: CryptoKey, box: Uint8Array, associatedData: Uint8Array): Promise<Bytes | undefined> {
  if (box.length < nonceBytes + tagBytes) return undefined;
  const nonce = owned(box.subarray(0, nonceBytes));
  const sealed = owned(box.subarray(nonceBytes));
  try {
    return new Uint8Array(await crypto.subtle.decrypt(parameters(nonce, associatedData), key, sealed));
  } catch (error) {
    // WebCrypto says only that the operation failed, which here means that the tag did not verify.
    if (error instanceof DOMException && error.name === "OperationError") return undefined;
    throw error;
  }
}

function parameters(iv: Bytes, associatedData: Uint8Array) {
  return { name: "AES-GCM", iv, additionalData: owned(associatedData), tagLength: tagBytes * 8 };
}

/** WebCrypto refuses views of shared memory, and so do its types: copy only those. */
function owned(bytes: Uint8Array): Bytes {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Bytes) : new Uint8Array(bytes);
}

/**
 * Joins texts so that no two lists give the same bytes: each is UTF-8 with its length before it (4 bytes, big-endian).
 * Plain concatenation would make ("ab", "c") and ("a", "bc") the same record.
 */
export function encodeParts(parts: readonly string[]): Bytes {
  const encoded = parts.map((part) => new TextEncoder().encode(part));
  const bytes = new Uint8Array(encoded.reduce((sum, part) => sum + 4 + part.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const part of encoded) {
    view.setUint32(at, part.length);
    bytes.set(part, at + 4);
    at += 4 + part.length;
  }
  return bytes;
}
