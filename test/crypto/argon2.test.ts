import { expect, it } from "vitest";
import { deriveKey, hashPassword, verifyPassword } from "../../src/crypto/argon2.ts";

const cheap = { time: 1, memoryKib: 8 * 1024, threads: 1 };

it("computes Argon2id as the reference implementation does", async () => {
  // echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32 (test.c of the reference implementation)
  const key = await deriveKey("password", new TextEncoder().encode("somesalt"), {
    time: 2,
    memoryKib: 65_536,
    threads: 1,
  });
  expect(Buffer.from(key).toString("hex")).toBe("09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
});

it("hashes a password with its own salt and the parameters of the day, and verifies it", async () => {
  const hash = await hashPassword("correct horse");
  expect(hash).toMatchObject({ time: 3, memoryKib: 65_536, threads: 4 });
  expect([hash.hash.length, hash.salt.length]).toEqual([32, 16]);
  expect(await verifyPassword("correct horse", hash)).toBe(true);
  expect(await verifyPassword("correct horsf", hash)).toBe(false);
  expect(await verifyPassword("", hash)).toBe(false);
  expect((await hashPassword("correct horse")).hash).not.toEqual(hash.hash);
});

it("verifies with the parameters that a hash was made with", async () => {
  const salt = new Uint8Array(16).fill(3);
  const hash = await deriveKey("old", salt, cheap);
  expect(await verifyPassword("old", { hash, salt, ...cheap })).toBe(true);
  expect(await verifyPassword("old", { hash, salt, ...cheap, time: 2 })).toBe(false);
});

it("takes passwords of up to 1024 bytes, and says so", async () => {
  const salt = new Uint8Array(16);
  await deriveKey("x".repeat(1024), salt, cheap);
  const tooLong = "é".repeat(513);
  await expect(hashPassword(tooLong)).rejects.toThrow(expect.objectContaining({ code: "password_too_long" }));
  expect(await verifyPassword(tooLong, { hash: new Uint8Array(32), salt, ...cheap })).toBe(false);
});

it("lets many wait, refuses more than that, and serves everyone it let in", async () => {
  const salt = new Uint8Array(16);
  const results = await Promise.allSettled(Array.from({ length: 80 }, () => deriveKey("password", salt, cheap)));
  const refused = results.filter((result) => result.status === "rejected");
  expect(refused).toHaveLength(80 - 2 - 64);
  for (const { reason } of refused) expect(reason).toMatchObject({ code: "busy", status: 503 });
  await deriveKey("password", salt, cheap); // and is free again
});
