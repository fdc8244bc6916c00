import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Keyring } from "../../../src/crypto/keyring.ts";
import { valueRecord } from "../../../src/domain/credentials/credential.ts";
import type { OAuthRefresher } from "../../../src/domain/credentials/oauth-refresh.ts";
import { CredentialResolver } from "../../../src/domain/credentials/resolve.ts";
import { parseService } from "../../../src/domain/services/definition.ts";
import { HeaderRenderer } from "../../../src/domain/vaults/header-renderer.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

it("forgets the values it rendered after a minute, also when nobody asks for them again", async () => {
  const keyring = await Keyring.open([{ number: 1, raw: new Uint8Array(32).fill(1) }]);
  const sealed = await keyring.seal(valueRecord("c"), "sk_live");
  const service = parseService(
    { name: "api", host: "api.example.com", auth: { type: "bearer", token: "KEY" } },
    { allowsInternalNames: false },
  );
  const renderer = new HeaderRenderer({
    credentials: new Map([["KEY", { id: "c", key: "KEY", type: "static", sealed }]]),
    resolver: new CredentialResolver({
      keyring,
      clock: { now: () => 0 },
      onUse: () => undefined,
      // A static value asks nobody.
      refresher: {} as OAuthRefresher,
    }),
    // The clock stands still: what is gone is gone because of the timer alone.
    clock: { now: () => 0 },
  });
  await renderer.injectionFor(service);
  vi.advanceTimersByTime(59_000);
  expect(renderer.injectionFor(service)).toEqual({
    headers: [{ name: "Authorization", value: "Bearer sk_live" }],
    values: new Map([["KEY", "sk_live"]]),
    isRenewable: false,
  });
  vi.advanceTimersByTime(1_000);
  expect(renderer.injectionFor(service)).toBeInstanceOf(Promise);
});
