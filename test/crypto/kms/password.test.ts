import { expect, it } from "vitest";
import { currentParameters } from "../../../src/crypto/argon2.ts";
import {
  formatPasswordRecord,
  PasswordKeyProvider,
  type PasswordRecord,
  parsePasswordRecord,
} from "../../../src/crypto/kms/password.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import { describeKeyProvider } from "../../conformance/key-provider.ts";

// The cheapest cost that is allowed: what is tested here does not depend on it.
const record: PasswordRecord = { time: 1, memoryKib: 8 * 1024, threads: 1, salt: new Uint8Array(16).fill(9) };

describeKeyProvider({
  name: "password",
  open: () => PasswordKeyProvider.open(new Secret("correct horse"), record),
  openOther: () => PasswordKeyProvider.open(new Secret("Correct horse"), record),
});

it("takes a new salt and today's cost for a new password", async () => {
  const [one, two] = [
    await PasswordKeyProvider.create(new Secret("same")),
    await PasswordKeyProvider.create(new Secret("same")),
  ];
  expect(one.record).toMatchObject(currentParameters);
  expect(one.record.salt).not.toEqual(two.record.salt);
});

it("stores what it needs to derive the key again, and reads it back", () => {
  expect(parsePasswordRecord(formatPasswordRecord(record))).toEqual(record);
});

it.each([
  ["", "it is empty"],
  ["null", "it is not an object"],
  ["{", "it is not JSON"],
  ['{"algorithm":"argon2i","time":3,"memoryKib":65536,"threads":4,"salt":"AAAAAAAAAAAAAAAAAAAAAA=="}', "algorithm"],
  ['{"algorithm":"argon2id","time":3,"memoryKib":65536,"threads":4,"salt":"AAAA"}', "the salt is short"],
  ['{"algorithm":"argon2id","time":0,"memoryKib":65536,"threads":4,"salt":"AAAAAAAAAAAAAAAAAAAAAA=="}', "no passes"],
  [
    '{"algorithm":"argon2id","time":3,"memoryKib":8,"threads":4,"salt":"AAAAAAAAAAAAAAAAAAAAAA=="}',
    "hardly any memory",
  ],
  [
    '{"algorithm":"argon2id","time":3,"memoryKib":1e12,"threads":4,"salt":"AAAAAAAAAAAAAAAAAAAAAA=="}',
    "too much memory",
  ],
  [
    '{"algorithm":"argon2id","time":3.5,"memoryKib":65536,"threads":4,"salt":"AAAAAAAAAAAAAAAAAAAAAA=="}',
    "not a number of passes",
  ],
])("refuses the record %s: %s", (text) => {
  expect(() => parsePasswordRecord(text)).toThrow(expect.objectContaining({ code: "key_protection_broken" }));
});
