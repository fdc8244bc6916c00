import { createHmac, hkdfSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Keyring, type RecordKey } from "../../src/crypto/keyring.ts";

const owner: RecordKey = ["credentials", "c1", "value_sealed"];
const key = (number: number) => ({ number, raw: new Uint8Array(32).fill(number) });
const open = (...numbers: number[]) => Keyring.open(numbers.map(key));
const broken = expect.objectContaining({ code: "seal_broken" });

describe("a keyring", () => {
  it.each([[""], ["sk_live_1"], ["pä\u0000ss\n\u2028"], ["\ufeffwith a byte order mark"], ["x".repeat(200_000)]])(
    "unseals the text it sealed",
    async (text) => {
      const keyring = await open(1);
      expect(await keyring.unsealText(owner, await keyring.seal(owner, text))).toBe(text);
    },
  );

  it("unseals the bytes it sealed, and says so when they are not text", async () => {
    const keyring = await open(1);
    const sealed = await keyring.seal(owner, new Uint8Array([0, 255, 128]));
    expect(await keyring.unseal(owner, sealed)).toEqual(new Uint8Array([0, 255, 128]));
    await expect(keyring.unsealText(owner, sealed)).rejects.toThrow(broken);
  });

  it("writes version, key number, a new nonce each time, ciphertext and tag", async () => {
    const keyring = await open(1, 258);
    const [one, two] = [await keyring.seal(owner, "abc"), await keyring.seal(owner, "abc")];
    expect([...one.subarray(0, 5)]).toEqual([1, 0, 0, 1, 2]);
    expect(one).toHaveLength(1 + 4 + 12 + 3 + 16);
    expect(one.subarray(5, 17)).not.toEqual(two.subarray(5, 17));
    expect(Buffer.from(one).includes("abc")).toBe(false);
  });

  it.each<[RecordKey, string]>([
    [["credentials", "c2", "value_sealed"], "another row"],
    [["proposals", "c1", "value_sealed"], "another table"],
    [["credentials", "c1", "other"], "another column"],
    [["credential", "sc1", "value_sealed"], "the same letters, split elsewhere"],
    [["credentials", "c1value_sealed", ""], "the same letters, joined"],
  ])("does not unseal a value that was moved to %j: %s", async (other) => {
    const keyring = await open(1);
    await expect(keyring.unseal(other, await keyring.seal(owner, "secret"))).rejects.toThrow(broken);
  });

  it("does not unseal a value that was altered in any byte or cut anywhere", async () => {
    const keyring = await open(1, 2);
    const sealed = await keyring.seal(owner, "secret");
    for (let at = 0; at < sealed.length; at += 1) {
      const altered = sealed.with(at, (sealed[at] ?? 0) ^ 3); // turns key number 2 into 1, which is held
      await expect(keyring.unseal(owner, altered), `byte ${at}`).rejects.toThrow(broken);
      await expect(keyring.unseal(owner, sealed.subarray(0, at)), `${at} bytes`).rejects.toThrow(broken);
    }
  });

  it("names the record and not the value when it fails", async () => {
    const sealed = await (await open(1)).seal(owner, "sk_live_1");
    const error = await (await open(2)).unseal(owner, sealed).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ message: expect.stringContaining("credentials.value_sealed of record c1") });
    expect(String(error)).not.toContain("sk_live");
  });

  it("seals under the newest key and opens what older ones sealed", async () => {
    const sealedBefore = await (await open(1)).seal(owner, "old");
    const keyring = await open(2, 1);
    expect(await keyring.unsealText(owner, sealedBefore)).toBe("old");
    const sealedNow = await keyring.seal(owner, "new");
    expect(await (await open(2)).unsealText(owner, sealedNow)).toBe("new");
    await expect((await open(1)).unseal(owner, sealedNow)).rejects.toThrow(broken);
  });

  it("unseals a value that lies in a larger buffer", async () => {
    const keyring = await open(1);
    const sealed = await keyring.seal(owner, "secret");
    const larger = new Uint8Array(100 + sealed.length).fill(7);
    larger.set(sealed, 51);
    expect(await keyring.unsealText(owner, larger.subarray(51, 51 + sealed.length))).toBe("secret");
  });

  it("zeroes the raw keys it was given, also when one is unusable", async () => {
    const good = key(1);
    await Keyring.open([good]);
    expect(good.raw).toEqual(new Uint8Array(32));
    const [other, short] = [key(1), { number: 2, raw: new Uint8Array(16).fill(1) }];
    await expect(Keyring.open([other, short])).rejects.toThrow(RangeError);
    expect(other.raw).toEqual(new Uint8Array(32));
    await expect(Keyring.open([])).rejects.toThrow(expect.objectContaining({ code: "no_data_key" }));
  });

  it("derives one MAC key per purpose from the oldest data key", async () => {
    const info = Buffer.from("\u0000\u0000\u0000\u000fagent-vault mac\u0000\u0000\u0000\u0006e-mail");
    const macKey = Buffer.from(hkdfSync("sha256", new Uint8Array(32).fill(1), "", info, 32));
    const expected = createHmac("sha256", macKey).update("123456").digest("hex");
    const keyring = await open(1, 2);
    expect(await keyring.mac("e-mail", "123456")).toBe(expected);
    expect(await (await open(1)).mac("e-mail", "123456")).toBe(expected);
    expect(await keyring.mac("password", "123456")).not.toBe(expected);
    expect(await (await open(2)).mac("e-mail", "123456")).not.toBe(expected);
  });

  it("does nothing more once it was destroyed", async () => {
    const keyring = await open(1);
    const sealed = await keyring.seal(owner, "secret");
    await keyring.mac("e-mail", "1");
    keyring.destroy();
    await expect(keyring.unseal(owner, sealed)).rejects.toThrow(broken);
    await expect(keyring.seal(owner, "x")).rejects.toThrow(broken);
    await expect(keyring.mac("e-mail", "1")).rejects.toThrow(expect.objectContaining({ code: "no_data_key" }));
  });
});
