/** Limits as owners send and see them: names and Go durations of the wire (spec of accounts, section 6.11). */
import { parseDuration } from "../../config/variables.ts";
import {
  type RateLimitKnobs,
  type RateLimitProfile,
  type RateLimitTier,
  rateLimitProfiles,
  rateLimitTiers,
} from "../../config.ts";
import { Conflict, InvalidInput } from "../../errors.ts";
import type { EffectiveLimits, Limits, StoredLimits } from "./tiers.ts";

export interface TierPayload {
  readonly rate?: number;
  readonly burst?: number;
  /** A Go duration: `5m0s`. */
  readonly window?: string;
  readonly max?: number;
  readonly concurrency?: number;
}

/** What an owner stores. */
export interface LimitPayload {
  readonly profile?: string;
  readonly overrides: Readonly<Record<string, TierPayload>>;
}

const largestCount = 100_000;
const largestConcurrency = 8192;
/** Below these an instance locks its own owners out. */
const floors = { authMax: 5, globalConcurrency: 32, globalRate: 100 };

/** @throws {Conflict} `rate_limit_locked` when the environment pins the limits. */
export function checkUnlocked(limits: Limits): void {
  if (!limits.effective.isLocked) return;
  throw new Conflict("rate_limit_locked", "Rate limits are locked by AGENT_VAULT_RATELIMIT_LOCK");
}

/**
 * Checks everything about a payload before any of it is stored.
 * @throws {InvalidInput} `invalid_rate_limit`.
 */
export function checkLimitPayload(payload: LimitPayload, limits: Limits): void {
  if (payload.profile !== undefined && payload.profile !== "" && !isProfile(payload.profile)) {
    throw invalid(`profile must be one of: ${rateLimitProfiles.join(", ")}`);
  }
  for (const [tier, knobs] of Object.entries(payload.overrides)) {
    if (!isTier(tier)) throw invalid(`unknown tier "${tier}"; tiers are ${rateLimitTiers.join(", ")}`);
    for (const name of ["rate", "burst", "max"] as const) checkRange(tier, name, knobs[name], largestCount);
    checkRange(tier, "concurrency", knobs.concurrency, largestConcurrency);
    const windowMs = knobs.window === undefined || knobs.window === "" ? 0 : parseDuration(knobs.window);
    if (windowMs === undefined) throw invalid(`${tier}.window must be a duration like 5m or 1h30m`);
  }
  const result = limits.preview(toStored(payload));
  if (result.isOff) return;
  const { AUTH, GLOBAL } = result.tiers;
  if ((AUTH.max ?? 0) < floors.authMax) throw invalid(`AUTH.max must be at least ${floors.authMax}`);
  if ((GLOBAL.concurrency ?? 0) < floors.globalConcurrency) {
    throw invalid(`GLOBAL.concurrency must be at least ${floors.globalConcurrency}`);
  }
  if ((GLOBAL.rate ?? 0) < floors.globalRate) throw invalid(`GLOBAL.rate must be at least ${floors.globalRate}`);
}

/** The effective meaning of a payload; what it cannot understand it leaves out. */
export function toStored(payload: LimitPayload | undefined): StoredLimits | undefined {
  if (payload === undefined) return undefined;
  const overrides: Partial<Record<RateLimitTier, RateLimitKnobs>> = {};
  for (const tier of rateLimitTiers) {
    const knobs = payload.overrides[tier];
    if (knobs === undefined) continue;
    const { window, ...numbers } = knobs;
    const windowMs = window === undefined || window === "" ? undefined : parseDuration(window);
    overrides[tier] = { ...numbers, ...(windowMs !== undefined && { windowMs }) };
  }
  const profile = payload.profile === "" ? undefined : payload.profile;
  if (profile === undefined) return { overrides };
  return { overrides, profile: isProfile(profile) ? profile : "default" };
}

/** The `rate_limit` object of the settings. */
export function formatLimits(limits: EffectiveLimits, profile: string | undefined): object {
  const tiers = Object.fromEntries(
    rateLimitTiers.map((tier) => {
      const { rate, burst, windowMs, max, concurrency, source } = limits.tiers[tier];
      return [
        tier,
        {
          ...(rate && { rate }),
          ...(burst && { burst }),
          ...(windowMs && { window: formatGoDuration(windowMs) }),
          ...(max && { max }),
          ...(concurrency && { concurrency }),
          source,
        },
      ];
    }),
  );
  return { profile: profile || limits.profile, locked: limits.isLocked, off: limits.isOff, tiers };
}

function isProfile(text: string): text is RateLimitProfile {
  return (rateLimitProfiles as readonly string[]).includes(text);
}

function isTier(text: string): text is RateLimitTier {
  return (rateLimitTiers as readonly string[]).includes(text);
}

function checkRange(tier: string, knob: string, value: number | undefined, largest: number): void {
  if (value === undefined || (value >= 0 && value <= largest)) return;
  throw invalid(`${tier}.${knob} must be between 0 and ${largest}`);
}

function invalid(what: string): InvalidInput {
  return new InvalidInput("invalid_rate_limit", `Rate limit: ${what}`);
}

/** As Go prints it: `5m0s`, `1h30m0s`, `1.5s`, `300ms`. */
export function formatGoDuration(durationMs: number): string {
  if (durationMs === 0) return "0s";
  if (durationMs < 1000) return `${durationMs}ms`;
  const hours = Math.floor(durationMs / 3_600_000);
  const minutes = Math.floor((durationMs % 3_600_000) / 60_000);
  const seconds = (durationMs % 60_000) / 1000;
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}
