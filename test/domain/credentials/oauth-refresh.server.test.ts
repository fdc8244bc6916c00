import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Secret } from "../../../src/crypto/secret.ts";
import type { InjectedHeader, Injection, VaultSnapshot } from "../../../src/domain/vaults/snapshot.ts";
import { describeEachDatabase } from "../../support/database.ts";
import { OAuthProvider } from "../../support/oauth-provider.ts";
import {
  buildVaultWorld,
  closedOutbound,
  makeKeyring,
  type VaultWorld,
  defaultVaultId as vaultId,
  type WorldOptions,
} from "../../support/vault-world.ts";

const key = "TOKEN";
const minute = 60_000;

describeEachDatabase("OAuth tokens in the data plane", (open, engine) => {
  let provider: OAuthProvider;

  beforeEach(async () => {
    provider = await OAuthProvider.start();
  });
  afterEach(() => provider[Symbol.asyncDispose]());

  /** An instance with a service `api` whose credential is connected. */
  async function connected(options: WorldOptions = {}): Promise<VaultWorld> {
    const here = await buildVaultWorld(await open(), { outbound: provider.outbound(), ...options });
    const service = { name: "api", host: "api.example.com", auth: { type: "bearer", token: key } };
    await here.services.upsert(here.owner, vaultId, [service]);
    const refreshToken = provider.mintRefreshToken();
    await here.oauth.upload(here.owner, {
      vaultId,
      key,
      accessToken: { kind: "none" },
      refreshToken: { kind: "set", value: new Secret(refreshToken) },
      tokenUrl: provider.tokenUrl,
      clientId: provider.clientId,
      clientSecret: { kind: "set", value: new Secret(provider.clientSecret) },
      tokenAuthMethod: undefined,
    });
    provider.tokenRequests.splice(0);
    return here;
  }

  function serviceOf(snapshot: VaultSnapshot) {
    const target = { scheme: "https", host: "api.example.com", port: 443, path: "/", method: "GET" } as const;
    const found = snapshot.match(target);
    if (found.kind !== "service") throw new Error(found.kind);
    return found.service;
  }

  /** What a request through the vault would carry now. */
  async function headers(here: VaultWorld): Promise<readonly InjectedHeader[]> {
    return (await injection(here)).headers;
  }

  async function injection({ snapshots }: VaultWorld): Promise<Injection> {
    const snapshot = snapshots.current(vaultId) ?? (await snapshots.load(vaultId));
    return snapshot.injectionFor(serviceOf(snapshot));
  }

  async function token(here: VaultWorld): Promise<string> {
    const [header] = await headers(here);
    return (header?.value ?? "").replace("Bearer ", "");
  }

  async function row({ database }: VaultWorld) {
    return database.db.selectFrom("credential_oauth").selectAll().executeTakeFirstOrThrow();
  }

  async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
    for (let waited = 0; !(await isTrue()); waited += 1) {
      if (waited > 500) throw new Error("it did not happen within five seconds");
      await sleep(10);
    }
  }

  it("are used as they are until five minutes before their end", async () => {
    const here = await connected();
    const first = await token(here);
    expect(provider.accepts(first)).toBe(true);
    here.clock.advance(54 * minute);
    expect(await token(here)).toBe(first);
    await here.refresher.close();
    expect(provider.tokenRequests).toEqual([]);
  });

  it("are renewed ahead in the background, while the old one serves", async () => {
    const here = await connected();
    const first = await token(here);
    here.clock.advance(56 * minute);
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    provider.misbehave = async () => {
      await held;
      return false;
    };
    // The provider does not answer, and every request goes on with the token that is still good.
    const during = await Promise.all(Array.from({ length: 20 }, () => token(here)));
    expect(new Set(during)).toEqual(new Set([first]));
    release();
    await until(async () => (await token(here)) !== first);
    expect(provider.accepts(await token(here))).toBe(true);
    expect(provider.refreshes()).toHaveLength(1);
  });

  it("are renewed once for all who wait in a process", async () => {
    const here = await connected();
    const first = await token(here);
    here.clock.advance(61 * minute);
    const after = await Promise.all(Array.from({ length: 50 }, () => token(here)));
    expect(new Set(after).size).toBe(1);
    expect(after[0]).not.toBe(first);
    expect(provider.refreshes()).toHaveLength(1);
    expect(provider.refreshes()[0]?.form.get("client_secret")).toBe(provider.clientSecret);
  });

  // Two writers of one SQLite file in one thread would wait for each other; there is one server per file.
  if (engine === "postgres") {
    it("are renewed once for all who wait in two processes on one database", async () => {
      const keyring = await makeKeyring();
      const here = await connected({ keyring });
      const there = await buildVaultWorld(await open({ shared: true }), {
        keyring,
        clock: here.clock,
        owner: here.owner,
        outbound: provider.outbound(),
      });
      for (let round = 0; round < 5; round += 1) {
        // Both have the vault in memory, and neither hears of what the other does.
        await Promise.all([here.snapshots.load(vaultId), there.snapshots.load(vaultId)]);
        here.clock.advance(61 * minute);
        provider.tokenRequests.splice(0);
        provider.misbehave = async () => {
          await sleep(50);
          return false;
        };
        const both = [here, there].flatMap((world) => Array.from({ length: 10 }, () => token(world)));
        const after = await Promise.all(both);
        expect(new Set(after).size).toBe(1);
        expect(provider.refreshes()).toHaveLength(1);
      }
      // A provider that ends the connection when a used refresh token comes again was never given a reason to.
      expect(provider.replays).toBe(0);
    });

    it("are left to the process that is at it, however long that takes", async () => {
      const keyring = await makeKeyring();
      const here = await connected({ keyring, extendEveryMs: 20 });
      const there = await buildVaultWorld(await open({ shared: true }), {
        keyring,
        clock: here.clock,
        owner: here.owner,
        outbound: provider.outbound(),
      });
      here.clock.advance(61 * minute);
      provider.misbehave = async () => {
        // Three quarters of a claim's life at a time, with a turn to extend it in between.
        for (let step = 0; step < 3; step += 1) {
          const before = (await row(here)).refresh_lease_until;
          here.clock.advance(15_000);
          await until(async () => (await row(here)).refresh_lease_until !== before);
        }
        return false;
      };
      const [one, other] = await Promise.all([token(here), token(there)]);
      expect(one).toBe(other);
      expect(provider.refreshes()).toHaveLength(1);
    });
  }

  it("follow the refresh tokens as they rotate, and keep the old one where the provider sends none", async () => {
    const here = await connected();
    for (let round = 0; round < 3; round += 1) {
      here.clock.advance(61 * minute);
      expect(provider.accepts(await token(here))).toBe(true);
    }
    provider.rotates = false;
    for (let round = 0; round < 3; round += 1) {
      here.clock.advance(61 * minute);
      expect(provider.accepts(await token(here))).toBe(true);
    }
    const sent = provider.refreshes().map(({ form }) => form.get("refresh_token"));
    expect(new Set(sent.slice(0, 4)).size).toBe(4);
    expect(new Set(sent.slice(3)).size).toBe(1);
    expect(provider.replays).toBe(0);
  });

  it("do not depend on the request that began the refresh", async () => {
    const here = await connected();
    here.clock.advance(61 * minute);
    // The agent goes away at once: nobody holds on to this promise.
    void token(here);
    await until(async () => (await row(here)).last_refreshed_at === new Date(here.clock.now()).toISOString());
    expect(provider.accepts(await token(here))).toBe(true);
    expect(provider.refreshes()).toHaveLength(1);
  });

  it("are written down before the server ends", async () => {
    const here = await connected();
    here.clock.advance(61 * minute);
    provider.misbehave = async () => {
      await sleep(100);
      return false;
    };
    void token(here);
    await until(() => provider.refreshes().length === 1);
    const before = (await row(here)).revision;
    await here.refresher.close();
    expect((await row(here)).revision).not.toBe(before);
  });

  it("are refreshed by another process when one died in the middle of it", async () => {
    const keyring = await makeKeyring();
    const here = await connected({ keyring });
    here.clock.advance(61 * minute);
    const until = new Date(here.clock.now() + 500).toISOString();
    await here.database.db
      .updateTable("credential_oauth")
      .set({ refresh_lease_owner: "a process that is gone", refresh_lease_until: until })
      .execute();
    const waiting = token(here);
    await sleep(150);
    expect(provider.refreshes()).toEqual([]);
    here.clock.advance(1_000);
    expect(provider.accepts(await waiting)).toBe(true);
    expect(provider.refreshes()).toHaveLength(1);
  });

  it("are written down although the database is away for a moment", async () => {
    const here = await connected();
    here.clock.advance(61 * minute);
    const { database } = here;
    const transaction = database.transaction.bind(database);
    let failures = 0;
    provider.misbehave = () => {
      // From here on, until it has failed twice.
      database.transaction = ((run: never) => {
        failures += 1;
        if (failures > 2) return transaction(run);
        return Promise.reject(new Error("the database is away"));
      }) as typeof database.transaction;
      return false;
    };
    const after = await token(here);
    expect(failures).toBeGreaterThan(2);
    expect(provider.accepts(after)).toBe(true);
    provider.misbehave = undefined;
    here.clock.advance(61 * minute);
    expect(provider.accepts(await token(here))).toBe(true);
    expect(provider.replays).toBe(0);
  });

  it("give way to what was set by hand during the refresh", async () => {
    const here = await connected();
    here.clock.advance(61 * minute);
    provider.misbehave = async () => {
      await here.credentials.set(here.owner, vaultId, new Map([[key, new Secret("by-hand")]]));
      return false;
    };
    await token(here).catch(() => undefined);
    provider.misbehave = undefined;
    expect(await token(here)).toBe("by-hand");
    expect(await here.credentials.list(vaultId)).toEqual([{ key, type: "static" }]);
  });

  it.each([
    { what: "invalid_grant", status: 400, body: '{"error":"invalid_grant","error_description":"leak-7"}', hint: true },
    { what: "a server error", status: 500, body: "leak-7", hint: false },
    { what: "nonsense", status: 200, body: "<html>leak-7", hint: false },
  ])(
    "refuse with oauth_refresh_failed on $what, and leave the provider alone for a while",
    async ({ status, body, hint }) => {
      const here = await connected();
      const first = await token(here);
      provider.misbehave = (_request, response) => {
        response.writeHead(status);
        response.end(body);
        return true;
      };
      // While the token is good nobody notices.
      here.clock.advance(56 * minute);
      expect(await token(here)).toBe(first);
      await here.refresher.close();
      expect(provider.refreshes()).toHaveLength(1);
      here.clock.advance(3 * minute + 30_000);
      for (let again = 0; again < 5; again += 1) await token(here);
      await here.refresher.close();
      const asked = provider.refreshes().length;
      expect(asked).toBeLessThanOrEqual(2);
      here.clock.advance(minute);
      const failures = await Promise.all(
        Array.from({ length: 10 }, () => token(here).catch((error: unknown) => error)),
      );
      for (const failure of failures) {
        expect(failure).toMatchObject({
          status: 502,
          code: "oauth_refresh_failed",
          details: { credential_keys: [key] },
        });
      }
      expect(provider.refreshes().length).toBeLessThanOrEqual(asked + 1);
      expect(
        JSON.stringify(failures.map((one) => ({ ...(one as object), message: (one as Error).message }))),
      ).not.toContain("leak-7");
      expect((failures[0] as { hint?: string }).hint !== undefined).toBe(hint);
      const { last_refresh_error: said } = await row(here);
      expect(said).toContain("token endpoint");
      expect(said).not.toContain("leak-7");
      // The provider is back, and the pause is over.
      provider.misbehave = undefined;
      here.clock.advance(11 * minute);
      expect(provider.accepts(await token(here))).toBe(true);
      expect((await row(here)).last_refresh_error).toBeNull();
    },
  );

  it("end the call to a provider that does not end", async () => {
    const here = await connected({ tokenCallLimits: { timeoutMs: 300, maxBytes: 1_000 } });
    here.clock.advance(61 * minute);
    provider.misbehave = (_request, response) => {
      response.write("{");
      return true;
    };
    await expect(token(here)).rejects.toMatchObject({ code: "oauth_refresh_failed" });
    expect((await row(here)).last_refresh_error).toContain("in time");
    expect((await row(here)).refresh_lease_owner).toBeNull();
  });

  it("are not connected before there is a token", async () => {
    const here = await connected();
    await here.oauth.disconnect(here.owner, vaultId, key);
    await expect(token(here)).rejects.toMatchObject({ status: 502, code: "oauth_not_connected" });
  });

  it("are renewed when an upstream refuses them, once for all whom it refused", async () => {
    const here = await connected();
    const snapshot = await here.snapshots.load(vaultId);
    const service = serviceOf(snapshot);
    const refused = await snapshot.injectionFor(service);
    expect(refused.isRenewable).toBe(true);
    const renewed = await Promise.all(Array.from({ length: 30 }, () => snapshot.renewedInjection(service, refused)));
    expect(provider.refreshes()).toHaveLength(1);
    expect(new Set(renewed.map((next) => next?.headers[0]?.value)).size).toBe(1);
    expect(provider.accepts((renewed[0]?.headers[0]?.value ?? "").replace("Bearer ", ""))).toBe(true);
    // Somebody who was refused before, and learns of it late, through the old picture and through the new one.
    for (const one of [snapshot, await here.snapshots.load(vaultId)]) {
      await one.injectionFor(serviceOf(one));
      expect(await one.renewedInjection(serviceOf(one), refused)).toEqual(renewed[0]);
    }
    expect(provider.refreshes()).toHaveLength(1);
  });

  it("are not renewed again and again for an upstream that refuses every token", async () => {
    const here = await connected();
    let refused = await injection(here);
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const snapshot = await here.snapshots.load(vaultId);
      const next = await snapshot.renewedInjection(serviceOf(snapshot), refused);
      refused = next ?? refused;
    }
    expect(provider.refreshes()).toHaveLength(1);
    here.clock.advance(61_000);
    const snapshot = await here.snapshots.load(vaultId);
    expect(await snapshot.renewedInjection(serviceOf(snapshot), refused)).toBeDefined();
    expect(provider.refreshes()).toHaveLength(2);
  });

  it("stay as they are when nothing better is to be had", async () => {
    const here = await connected();
    const snapshot = await here.snapshots.load(vaultId);
    const refused = await snapshot.injectionFor(serviceOf(snapshot));
    provider.misbehave = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    expect(await snapshot.renewedInjection(serviceOf(snapshot), refused)).toBeUndefined();
    await here.credentials.set(here.owner, vaultId, new Map([[key, new Secret("static")]]));
    const after = await here.snapshots.load(vaultId);
    expect(await after.renewedInjection(serviceOf(after), refused)).toBeUndefined();
    expect((await after.injectionFor(serviceOf(after))).isRenewable).toBe(false);
  });

  it("that live only minutes are not refreshed with every request", async () => {
    provider.expiresInSeconds = 120;
    const here = await connected();
    here.clock.advance(1_000);
    await token(here);
    await until(() => provider.refreshes().length === 1);
    await here.refresher.close();
    for (let again = 0; again < 5; again += 1) await token(here);
    here.clock.advance(59_000);
    await token(here);
    await here.refresher.close();
    expect(provider.refreshes()).toHaveLength(1);
    here.clock.advance(2_000);
    await token(here);
    await until(() => provider.refreshes().length === 2);
  });

  it.each([
    { name: "private", options: { allowPrivateRanges: false }, says: "network policy" },
    { name: "metadata", options: { addresses: ["169.254.169.254"] }, says: "metadata" },
    { name: "untrusted", options: { trusts: false }, says: "certificate" },
  ])("are not asked for at a token endpoint that is $name", async ({ options, says }) => {
    const keyring = await makeKeyring();
    const here = await connected({ keyring });
    const there = await buildVaultWorld(await open({ shared: true }), {
      keyring,
      clock: here.clock,
      owner: here.owner,
      outbound: provider.outbound(options),
    });
    here.clock.advance(61 * minute);
    await expect(token(there)).rejects.toMatchObject({ code: "oauth_refresh_failed" });
    expect((await row(there)).last_refresh_error).toContain(says);
    expect(provider.tokenRequests).toEqual([]);
  });

  it("note their use in batches", async () => {
    const here = await connected({ outbound: provider.outbound() });
    for (let again = 0; again < 20; again += 1) await token(here);
    const lastUsed = async () => (await here.credentials.describePage(vaultId)).items[0]?.lastUsedAt;
    expect(await lastUsed()).toBeUndefined();
    await here.usage.flush();
    expect(await lastUsed()).toBe(new Date(here.clock.now()).toISOString());
    // Another instance that is behind does not turn the time back.
    const { id } = await here.database.db.selectFrom("credentials").select("id").executeTakeFirstOrThrow();
    const later = new Date(here.clock.now() + minute).toISOString();
    await here.database.db.updateTable("credentials").set({ last_used_at: later }).where("id", "=", id).execute();
    here.usage.note(id);
    await here.usage.flush();
    expect(await lastUsed()).toBe(later);
  });

  it(`never hold the database while the provider thinks (${engine})`, async () => {
    const here = await connected();
    here.clock.advance(61 * minute);
    let isWritten = false;
    provider.misbehave = async () => {
      await here.services.upsert(here.owner, vaultId, [
        { name: "other", host: "other.example.com", auth: { type: "passthrough" } },
      ]);
      isWritten = true;
      return false;
    };
    expect(provider.accepts(await token(here))).toBe(true);
    expect(isWritten).toBe(true);
  });

  it("reach nothing through a way out that is closed", async () => {
    const keyring = await makeKeyring();
    const here = await connected({ keyring });
    const outbound = closedOutbound();
    const there = await buildVaultWorld(await open({ shared: true }), {
      keyring,
      clock: here.clock,
      owner: here.owner,
      outbound,
    });
    const upload = there.oauth.upload(here.owner, {
      vaultId,
      key: "OTHER",
      accessToken: { kind: "none" },
      refreshToken: { kind: "set", value: new Secret("rt-secret") },
      tokenUrl: `http://127.0.0.1:${provider.port}/token?admin=1`,
      clientId: "c",
      clientSecret: { kind: "keep" },
      tokenAuthMethod: undefined,
    });
    await expect(upload).rejects.toMatchObject({ code: "oauth_refresh_token_refused" });
    await expect(upload).rejects.not.toThrow("admin=1");
    expect(await here.credentials.list(vaultId)).toHaveLength(1);
    expect(provider.tokenRequests).toEqual([]);
  });
});
