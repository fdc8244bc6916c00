/** What every `KeyProvider` must do. Call it from the test of a provider. */
import { describe, expect, it } from "vitest";
import type { KeyProvider } from "../../src/crypto/kms/provider.ts";

export interface KeyProviderCase {
  readonly name: string;
  open(): Promise<KeyProvider>;
  /** Another provider of the same kind with another secret; undefined for the one that has no secret. */
  readonly openOther?: () => Promise<KeyProvider>;
}

export function describeKeyProvider({ name, open, openOther }: KeyProviderCase): void {
  const dataKey = () => Uint8Array.from({ length: 32 }, (_, at) => at * 7);
  const context = "agent-vault/data-key/instance-a/1";

  describe(`key provider ${name}`, () => {
    it("unwraps what it wrapped, also with a provider opened anew", async () => {
      const wrapped = await (await open()).wrap(dataKey(), context);
      expect(await (await open()).unwrap(wrapped, context)).toEqual(dataKey());
    });

    it("leaves the key that it wraps as it is, and hands out copies", async () => {
      const provider = await open();
      const key = dataKey();
      const wrapped = await provider.wrap(key, context);
      expect(key).toEqual(dataKey());
      (await provider.unwrap(wrapped, context))?.fill(0);
      key.fill(0);
      expect(await provider.unwrap(wrapped, context)).toEqual(dataKey());
    });

    if (!openOther) return;

    it("keeps the key out of the wrapped bytes", async () => {
      const wrapped = await (await open()).wrap(dataKey(), context);
      expect(Buffer.from(wrapped).includes(Buffer.from(dataKey().subarray(0, 8)))).toBe(false);
    });

    it("opens nothing under the context of another instance or key number", async () => {
      const provider = await open();
      const wrapped = await provider.wrap(dataKey(), context);
      for (const other of ["agent-vault/data-key/instance-b/1", "agent-vault/data-key/instance-a/2", ""]) {
        expect(await provider.unwrap(wrapped, other), other).toBeUndefined();
      }
    });

    it("opens nothing that another secret wrapped", async () => {
      const wrapped = await (await openOther()).wrap(dataKey(), context);
      expect(await (await open()).unwrap(wrapped, context)).toBeUndefined();
    });

    it("opens nothing that was altered in any byte, cut or extended", async () => {
      const provider = await open();
      const wrapped = await provider.wrap(dataKey(), context);
      for (let at = 0; at < wrapped.length; at += 1) {
        const altered = wrapped.with(at, (wrapped[at] ?? 0) ^ 1);
        expect(await provider.unwrap(altered, context), `byte ${at}`).toBeUndefined();
      }
      for (const cut of [
        new Uint8Array(),
        wrapped.subarray(0, 1),
        wrapped.subarray(0, -1),
        Uint8Array.from([...wrapped, 0]),
      ]) {
        expect(await provider.unwrap(cut, context), `${cut.length} bytes`).toBeUndefined();
      }
    });
  });
}
