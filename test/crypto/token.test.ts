import { expect, it } from "vitest";
import { mintToken, randomHex, tokenDigest, uuidv4, uuidv7 } from "../../src/crypto/token.ts";

it("mints 256 random bits behind a prefix", () => {
  const [one, two] = [mintToken("av_agt_"), mintToken("av_agt_")];
  expect(one).toMatch(/^av_agt_[0-9a-f]{64}$/);
  expect(one).not.toBe(two);
});

it("digests the whole token, prefix included", () => {
  // printf av_sess_abc | sha256sum
  expect(tokenDigest("av_sess_abc")).toBe("5840041113b370e6b5baed88b28fe9fd0081cfd63ddef07502859f5a617f5f08");
  expect(tokenDigest("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(tokenDigest("av_agt_abc")).not.toBe(tokenDigest("av_sess_abc"));
});

it("gives random bytes as twice as many hex characters", () => expect(randomHex(10)).toMatch(/^[0-9a-f]{20}$/));

it("gives random UUIDs of version 4", () => {
  expect(uuidv4()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

it("puts the millisecond into a UUID of version 7", () => {
  // RFC 9562, appendix A.6: 2022-02-22T19:22:22Z
  expect(uuidv7(0x017f22e279b0)).toMatch(/^017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

it("only grows within one process, also within one millisecond", () => {
  const ids = Array.from({ length: 2_000 }, (_, at) => uuidv7(1_700_000_000_000 + Math.floor(at / 1_000)));
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
});
