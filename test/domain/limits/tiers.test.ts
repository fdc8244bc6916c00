import { describe, expect, it } from "vitest";
import { parseDuration } from "../../../src/config/variables.ts";
import {
  checkLimitPayload,
  formatGoDuration,
  formatLimits,
  type LimitPayload,
  toStored,
} from "../../../src/domain/limits/stored.ts";
import { Limits, resolveLimits } from "../../../src/domain/limits/tiers.ts";
import { InvalidInput } from "../../../src/errors.ts";
import { MemoryEphemeral } from "../../../src/storage/ephemeral-memory.ts";

const clock = { now: () => 0 };
const plain = { profile: "default", isLocked: false, knobs: {} } as const;

describe("effective limits", () => {
  it("halve and double with the profile", () => {
    expect(resolveLimits({ ...plain, profile: "strict" }, undefined).tiers.AUTH.max).toBe(25);
    expect(resolveLimits({ ...plain, profile: "loose" }, undefined).tiers.GLOBAL.concurrency).toBe(1024);
  });

  it("take the environment over the profile, and what an owner stored over both", () => {
    const environment = { ...plain, knobs: { AUTH: { max: 7 }, PROXY: { rate: 1 } } };
    const limits = resolveLimits(environment, { profile: "loose", overrides: { AUTH: { max: 9 } } });
    expect(limits.tiers.AUTH).toMatchObject({ max: 9, source: "env" });
    expect(limits.tiers.PROXY).toMatchObject({ rate: 1, burst: 400, source: "env" });
    expect(limits.tiers.AUTHED).toMatchObject({ rate: 20, source: "default" });
  });

  it("ignore what is stored while locked", () => {
    const limits = resolveLimits({ ...plain, isLocked: true }, { profile: "off", overrides: {} });
    expect(limits.isOff).toBe(false);
    expect(limits.profile).toBe("default");
  });

  it("take a stored zero as inherited", () => {
    expect(resolveLimits(plain, { overrides: { AUTH: { max: 0, windowMs: 60_000 } } }).tiers.AUTH).toMatchObject({
      max: 50,
      windowMs: 60_000,
      source: "override",
    });
  });

  it("print as the settings show them", () => {
    expect(formatLimits(resolveLimits(plain, undefined), undefined)).toEqual({
      profile: "default",
      locked: false,
      off: false,
      tiers: {
        AUTH: { window: "5m0s", max: 50, source: "default" },
        PROXY: { rate: 20, burst: 200, concurrency: 64, source: "default" },
        AUTHED: { rate: 10, burst: 240, source: "default" },
        GLOBAL: { rate: 2000, burst: 4000, concurrency: 512, source: "default" },
        VERIFY_FAIL: { max: 10, source: "default" },
      },
    });
  });
});

describe("limiters", () => {
  it("can be switched on after a start with profile off, and keep guarding codes while off", async () => {
    const limits = new Limits({ clock, environment: { ...plain, profile: "off" }, ephemeral: new MemoryEphemeral() });
    expect(limits.maxCodeFailures).toBe(10);
    for (let index = 0; index < 300; index++) expect((await limits.takeAuthed("a")).isAllowed).toBe(true);
    limits.configure({ profile: "default", overrides: { AUTHED: { burst: 1 } } });
    expect((await limits.takeAuthed("a")).isAllowed).toBe(true);
    expect((await limits.takeAuthed("a")).isAllowed).toBe(false);
  });

  it("reach requests under way through the proxy when an owner changes them", () => {
    const limits = new Limits({ clock, environment: { ...plain, profile: "off" }, ephemeral: new MemoryEphemeral() });
    const budget = limits.proxy.budgetFor({ sessionId: "s", actorId: "a", vaultId: "v" }, 0);
    for (let index = 0; index < 70; index++) budget.take();
    expect(budget.hasRoom).toBe(true);
    limits.configure({ profile: "default", overrides: {} });
    expect(budget.hasRoom).toBe(false);
    limits.configure({ profile: "loose", overrides: {} });
    expect(budget.hasRoom).toBe(true);
  });
});

describe("what an owner sends", () => {
  const limits = new Limits({ clock, environment: plain, ephemeral: new MemoryEphemeral() });

  it.each([
    [{ profile: "OFF", overrides: {} }, "profiles are exact"],
    [{ overrides: { auth: {} } }, "tier names are exact"],
    [{ overrides: { AUTH: { max: 100_001 } } }, "too large"],
    [{ overrides: { AUTHED: { rate: -1 } } }, "negative"],
    [{ overrides: { PROXY: { concurrency: 8193 } } }, "too many at once"],
    [{ overrides: { AUTH: { window: "5" } } }, "a bare number is no duration"],
    [{ overrides: { AUTH: { window: "-5m" } } }, "a negative window"],
    [{ overrides: { AUTH: { max: 4 } } }, "owners would lock themselves out"],
    [{ overrides: { GLOBAL: { rate: 99 } } }, "below the floor"],
    [{ overrides: { GLOBAL: { concurrency: 31 } } }, "below the floor"],
  ] satisfies [LimitPayload, string][])("%j is refused: %s", (payload: LimitPayload, _because) => {
    expect(() => checkLimitPayload(payload, limits)).toThrow(InvalidInput);
  });

  it("may be anything while the profile is off", () => {
    expect(() => checkLimitPayload({ profile: "off", overrides: { AUTH: { max: 1 } } }, limits)).not.toThrow();
    expect(toStored({ profile: "", overrides: { AUTH: { window: "90s" } } })).toEqual({
      overrides: { AUTH: { windowMs: 90_000 } },
    });
  });
});

describe("Go durations", () => {
  it.each([
    ["300ms", 300, "300ms"],
    ["5m", 300_000, "5m0s"],
    ["1h30m", 5_400_000, "1h30m0s"],
    ["1.5s", 1500, "1.5s"],
    ["0", 0, "0s"],
  ])("%s is %i ms, printed %s", (text, durationMs, printed) => {
    expect(parseDuration(text)).toBe(durationMs);
    expect(formatGoDuration(durationMs)).toBe(printed);
  });
});
