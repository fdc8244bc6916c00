import { createPublicKey, verify } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createSigningKey, loadSigningKey, sign, VerifyingKey } from "../../src/crypto/signing.ts";

const message = new TextEncoder().encode("how far the chain had come");

async function signed() {
  const { publicKeyPem, pkcs8 } = await createSigningKey();
  const signature = await sign(await loadSigningKey(pkcs8), message);
  return { publicKeyPem, signature, key: await VerifyingKey.parse(publicKeyPem) };
}

describe("a signature", () => {
  it("holds for its message and key, and for nothing else", async () => {
    const { signature, key } = await signed();
    const stranger = await signed();
    expect(await key.verifies(message, signature)).toBe(true);
    expect(await key.verifies(new TextEncoder().encode("another"), signature)).toBe(false);
    expect(await stranger.key.verifies(message, signature)).toBe(false);
  });

  it("can be checked with another implementation", async () => {
    const { publicKeyPem, signature } = await signed();
    const key = { key: createPublicKey(publicKeyPem), dsaEncoding: "ieee-p1363" } as const;
    expect(verify("sha256", message, key, Buffer.from(signature, "base64"))).toBe(true);
  });

  it.each([
    { change: (text: string) => `${text} `, because: "a blank is not part of it" },
    { change: (text: string) => text.replace(/=+$/, ""), because: "the padding is" },
    { change: (text: string) => text.slice(0, 40), because: "half of it is none" },
    { change: () => "", because: "nothing is none" },
    { change: () => Buffer.alloc(64).toString("base64"), because: "zeros are none" },
  ])("has one form: $because", async ({ change }) => {
    const { signature, key } = await signed();
    expect(await key.verifies(message, change(signature))).toBe(false);
  });
});

describe("a public key", () => {
  it("is known by the digest of what it is, not of how it is written", async () => {
    const { publicKeyPem, key } = await signed();
    const wrapped = publicKeyPem.replaceAll("\n", "\r\n");
    expect((await VerifyingKey.parse(`a comment\n${wrapped}`)).id).toBe(key.id);
    expect(key.id).toMatch(/^[0-9a-f]{32}$/);
  });

  it.each(["", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])("is not %j", async (text) => {
    await expect(VerifyingKey.parse(text)).rejects.toMatchObject({ code: "invalid_public_key" });
  });
});
