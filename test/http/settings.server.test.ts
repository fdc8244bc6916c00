import { afterEach, expect, it } from "vitest";
import { followStoredLimits } from "../../src/domain/limits/follow.ts";
import { ApiServer, describeOnEachEngine, type ScratchDatabase, silentLog } from "../support/api-server.ts";

describeOnEachEngine("instance settings", (openScratch) => {
  const opened: AsyncDisposable[] = [];
  afterEach(async () => {
    for (const part of opened.splice(0).reverse()) await part[Symbol.asyncDispose]();
  });
  const start = async (environment: Record<string, string> = {}, given?: ScratchDatabase) => {
    const database = given ?? (await openScratch());
    const api = await ApiServer.start(database, { environment });
    opened.push(...(given ? [api] : [database, api]));
    return { database, api };
  };
  const settingsOf = (api: ApiServer, token: string) => ({
    get: () => api.expect(200, "GET", "/v1/admin/settings", { token }),
    put: (body: object) => api.call("PUT", "/v1/admin/settings", { token, body }),
    preview: (body: object) => api.call("POST", "/v1/admin/settings/rate-limit/preview", { token, body }),
  });

  it("begin open, without mail, with the profile of the environment", async () => {
    const { api } = await start({ AGENT_VAULT_RATELIMIT_PROFILE: "strict", AGENT_VAULT_RATELIMIT_AUTH_MAX: "30" });
    const { get } = settingsOf(api, await api.registerOwner());
    const settings = await get();
    expect(settings).toMatchObject({ allowed_email_domains: [], invite_only: false, smtp_configured: false });
    expect(settings.rate_limit).toMatchObject({
      profile: "strict",
      locked: false,
      off: false,
      tiers: {
        AUTH: { max: 30, window: "5m0s", source: "env" },
        GLOBAL: { rate: 1000, burst: 2000, concurrency: 256, source: "default" },
        VERIFY_FAIL: { max: 5, source: "default" },
      },
    });
  });

  it("change together or not at all", async () => {
    const { api } = await start({ AGENT_VAULT_RATELIMIT_PROFILE: "default" });
    const { get, put } = settingsOf(api, await api.registerOwner());
    const before = await get();
    const bad = { invite_only: true, allowed_email_domains: ["example.org"], rate_limit: { profile: "OFF" } };
    expect((await put(bad)).status).toBe(400);
    expect(await get()).toEqual(before);
    const good = await put({
      ...bad,
      rate_limit: { profile: "loose", overrides: { AUTH: { max: 70, window: "90s" } } },
    });
    expect(good.body).toMatchObject({ invite_only: true, allowed_email_domains: ["example.org"] });
    expect(good.body.rate_limit).toMatchObject({
      profile: "loose",
      tiers: { AUTH: { max: 70, window: "1m30s", source: "override" } },
    });
    expect(await get()).toEqual(good.body);
    // What is absent or null stays.
    expect((await put({ rate_limit: null })).body).toEqual(good.body);
  });

  it.each([
    [{ profile: "OFF" }, "names are exact"],
    [{ overrides: { auth: { max: 10 } } }, "tiers too"],
    [{ overrides: { AUTH: { max: 4 } } }, "owners would lock themselves out"],
    [{ overrides: { GLOBAL: { concurrency: 31 } } }, "the server would serve nobody"],
    [{ overrides: { GLOBAL: { rate: 99 } } }, "the same by its rate"],
    [{ overrides: { AUTH: { max: 100_001 } } }, "beyond the largest"],
    [{ overrides: { AUTH: { max: -1 } } }, "below nothing"],
    [{ overrides: { PROXY: { concurrency: 8193 } } }, "beyond the largest"],
    [{ overrides: { AUTH: { window: "5" } } }, "a duration has a unit"],
    [{ overrides: { AUTH: { window: "-5m" } } }, "no window ends before it begins"],
    [{ overrides: { AUTH: { max: 1.5 } } }, "no fractions"],
    [{ overrides: [] }, "not an object"],
  ])("refuse the limits %j: %s", async (rateLimit, _because) => {
    const { api } = await start({ AGENT_VAULT_RATELIMIT_PROFILE: "default" });
    const { put } = settingsOf(api, await api.registerOwner());
    expect((await put({ rate_limit: rateLimit })).status).toBe(400);
  });

  it("are previewed without being stored, whatever is asked", async () => {
    const { api } = await start({ AGENT_VAULT_RATELIMIT_PROFILE: "default" });
    const { get, preview } = settingsOf(api, await api.registerOwner());
    const before = await get();
    expect((await preview({ profile: "strict" })).body).toMatchObject({
      profile: "strict",
      tiers: { AUTH: { max: 25 } },
    });
    expect((await preview({ profile: "nonsense", overrides: { TIER: { max: 1 } } })).status).toBe(200);
    expect(await get()).toEqual(before);
  });

  it("leave limits alone that the environment has locked", async () => {
    const { api } = await start({ AGENT_VAULT_RATELIMIT_PROFILE: "default", AGENT_VAULT_RATELIMIT_LOCK: "true" });
    const { get, put, preview } = settingsOf(api, await api.registerOwner());
    expect((await put({ invite_only: true, rate_limit: { profile: "loose" } })).status).toBe(409);
    expect((await preview({ profile: "loose" })).status).toBe(409);
    expect(await get()).toMatchObject({ invite_only: false, rate_limit: { locked: true, profile: "default" } });
    expect((await put({ invite_only: true })).status).toBe(200);
  });

  it("reach another instance of the database, limits included", async () => {
    const { database, api } = await start({ AGENT_VAULT_RATELIMIT_PROFILE: "default" });
    const { put } = settingsOf(api, await api.registerOwner());
    const { api: other } = await start({ AGENT_VAULT_RATELIMIT_PROFILE: "default" }, database);
    const { settings, limits } = other.domain;
    const stop = await followStoredLimits({ settings, limits, changes: other.changes, log: silentLog });
    await other.changes.poll();
    await put({ invite_only: true, rate_limit: { overrides: { AUTH: { max: 6 } } } });
    expect((await other.expect(200, "GET", "/v1/status")).invite_only).toBe(true);
    await other.changes.poll();
    await expect.poll(() => limits.effective.tiers.AUTH.max).toBe(6);
    stop();
  });

  it("are for owners, people and agents alike, and for nobody else", async () => {
    const { api } = await start();
    const owner = await api.registerOwner();
    const agent = await api.addAgent(owner, "owner-agent", { role: "owner" });
    const others = [await api.addUser("member@example.com"), await api.addAgent(owner, "plain", { role: "member" })];
    expect((await api.call("GET", "/v1/admin/settings", { token: agent })).status).toBe(200);
    for (const token of others) {
      const { put, preview } = settingsOf(api, token);
      expect((await api.call("GET", "/v1/admin/settings", { token })).status).toBe(403);
      expect([(await put({ invite_only: true })).status, (await preview({})).status]).toEqual([403, 403]);
    }
    expect((await api.call("GET", "/v1/admin/settings")).status).toBe(401);
  });
});
