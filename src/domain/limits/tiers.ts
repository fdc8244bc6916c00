/** Which limit applies to whom (spec of accounts, section 4): profiles, what the environment and the settings change. */
import { type RateLimitKnobs, type RateLimitProfile, type RateLimitTier, rateLimitTiers } from "../../config.ts";
import { RateLimited } from "../../errors.ts";
import type { Buckets, Ephemeral, Soon, Verdict, Windows } from "../../storage/ephemeral.ts";
import type { Clock } from "../clock.ts";
import { type ProxyBudgetSettings, ProxyBudgets } from "./proxy-budget.ts";
import { Slots } from "./slots.ts";

export type TierKnobs = Readonly<Partial<Record<RateLimitTier, RateLimitKnobs>>>;

/** What the environment says; it comes from the configuration. */
export interface LimitEnvironment {
  readonly profile: RateLimitProfile;
  /** The stored settings are ignored and cannot be changed. */
  readonly isLocked: boolean;
  readonly knobs: TierKnobs;
}

/** What an owner stored. */
export interface StoredLimits {
  readonly profile?: RateLimitProfile;
  readonly overrides: TierKnobs;
}

export interface EffectiveTier extends RateLimitKnobs {
  readonly source: "env" | "override" | "default";
}

export interface EffectiveLimits {
  readonly profile: RateLimitProfile;
  readonly isLocked: boolean;
  readonly isOff: boolean;
  readonly tiers: Readonly<Record<RateLimitTier, EffectiveTier>>;
}

const defaults: Readonly<Record<RateLimitTier, RateLimitKnobs>> = {
  AUTH: { max: 50, windowMs: 5 * 60_000 },
  PROXY: { rate: 20, burst: 200, concurrency: 64 },
  AUTHED: { rate: 10, burst: 240 },
  GLOBAL: { rate: 2000, burst: 4000, concurrency: 512 },
  VERIFY_FAIL: { max: 10 },
};

const scales: Readonly<Record<RateLimitProfile, number>> = { default: 1, strict: 0.5, loose: 2, off: 1 };

/** Profile, then the environment's knobs, then what an owner stored: the stored values win unless the limits are locked. */
export function resolveLimits(environment: LimitEnvironment, stored: StoredLimits | undefined): EffectiveLimits {
  const settings = environment.isLocked ? undefined : stored;
  const profile = settings?.profile ?? environment.profile;
  const isOff = profile === "off";
  const tiers = Object.fromEntries(
    rateLimitTiers.map((tier): [RateLimitTier, EffectiveTier] => {
      const fromEnvironment = environment.profile === "off" ? undefined : environment.knobs[tier];
      const fromSettings = settings?.overrides[tier];
      const source = fromEnvironment !== undefined ? "env" : fromSettings !== undefined ? "override" : "default";
      if (isOff) return [tier, { source }];
      return [tier, { ...scaled(tier, profile), ...fromEnvironment, ...withoutZeros(fromSettings), source }];
    }),
  ) as Record<RateLimitTier, EffectiveTier>;
  return { profile, isLocked: environment.isLocked, isOff, tiers };
}

function scaled(tier: RateLimitTier, profile: RateLimitProfile): RateLimitKnobs {
  const knobs = defaults[tier];
  const scale = scales[profile];
  return {
    ...(knobs.rate !== undefined && { rate: knobs.rate * scale }),
    ...(knobs.burst !== undefined && { burst: knobs.burst * scale }),
    ...(knobs.max !== undefined && { max: knobs.max * scale }),
    ...(knobs.concurrency !== undefined && { concurrency: knobs.concurrency * scale }),
    ...(knobs.windowMs !== undefined && { windowMs: knobs.windowMs }),
  };
}

/** In stored overrides a zero means "inherit". */
function withoutZeros(knobs: RateLimitKnobs | undefined): RateLimitKnobs {
  if (knobs === undefined) return {};
  return Object.fromEntries(Object.entries(knobs).filter(([, value]) => value !== 0));
}

/** How long a request waits for a slot of its tier. */
const globalWaitMs = 500;
const proxyWaitMs = 2_000;

const allowed: Verdict = { isAllowed: true, limit: 0, remaining: 0, retryAfterSeconds: 0 };

export interface LimitsOptions {
  readonly clock: Clock;
  readonly environment: LimitEnvironment;
  /** Where counts are kept. */
  readonly ephemeral: Ephemeral;
}

/** The limiters of one process. Reconfigured in place: keys keep their state. */
export class Limits {
  readonly #clock: Clock;
  readonly #environment: LimitEnvironment;
  #effective: EffectiveLimits;
  readonly #global: Buckets;
  readonly #globalSlots: Slots;
  readonly #auth: Windows;
  readonly #authed: Buckets;
  /** What tokens may do through the proxy. */
  readonly proxy: ProxyBudgets;

  constructor({ ephemeral, ...options }: LimitsOptions) {
    this.#clock = options.clock;
    this.#environment = options.environment;
    this.#effective = resolveLimits(options.environment, undefined);
    this.#global = ephemeral.buckets("global", bucketOf(this.#effective, "GLOBAL"));
    this.#globalSlots = new Slots(slotsOf(this.#effective, "GLOBAL", globalWaitMs));
    this.#auth = ephemeral.windows("auth", windowOf(this.#effective));
    this.#authed = ephemeral.buckets("authed", bucketOf(this.#effective, "AUTHED"));
    this.proxy = new ProxyBudgets(proxyOf(this.#effective), ephemeral);
  }

  /** Takes over what an owner stored, or its absence. */
  configure(stored: StoredLimits | undefined): void {
    this.#effective = resolveLimits(this.#environment, stored);
    this.#global.settings = bucketOf(this.#effective, "GLOBAL");
    this.#globalSlots.settings = slotsOf(this.#effective, "GLOBAL", globalWaitMs);
    this.#auth.settings = windowOf(this.#effective);
    this.#authed.settings = bucketOf(this.#effective, "AUTHED");
    this.proxy.settings = proxyOf(this.#effective);
  }

  get effective(): EffectiveLimits {
    return this.#effective;
  }

  /** What would hold if `stored` were stored. */
  preview(stored: StoredLimits | undefined): EffectiveLimits {
    return resolveLimits(this.#environment, stored);
  }

  /**
   * Every request to the API: a rate and a number in flight.
   * @returns what gives the place back.
   * @throws {RateLimited}
   */
  async enterGlobal(): Promise<() => void> {
    if (this.#effective.isOff) return () => undefined;
    return enter(this.#global, this.#globalSlots, "", this.#clock.now());
  }

  /** An attempt to authenticate, or another anonymous request. Refused attempts are not counted. */
  recordAuth(key: string): Soon<Verdict> {
    return this.#effective.isOff ? allowed : this.#auth.record(key, this.#clock.now());
  }

  /** Is `key` still within its budget? Counts nothing. */
  peekAuth(key: string): Soon<Verdict> {
    return this.#effective.isOff ? allowed : this.#auth.peek(key, this.#clock.now());
  }

  takeAuthed(key: string): Soon<Verdict> {
    return this.#effective.isOff ? allowed : this.#authed.take(key, this.#clock.now());
  }

  /** Wrong passwords per account and client. Holds with the profile `off` too: it guards what people remember. */
  get passwordFailures(): { readonly max: number; readonly windowMs: number } {
    return windowOf(this.#effective);
  }

  /** Wrong codes per address before its codes are burned. Holds with the profile `off` too: it guards six digits. */
  get maxCodeFailures(): number {
    return this.#effective.tiers.VERIFY_FAIL.max ?? defaults.VERIFY_FAIL.max ?? 10;
  }
}

async function enter(buckets: Buckets, slots: Slots, key: string, nowMs: number): Promise<() => void> {
  const taken = buckets.take(key, nowMs);
  const verdict = taken instanceof Promise ? await taken : taken;
  if (!verdict.isAllowed) throw tooManyRequests(verdict);
  const release = await slots.enter(key);
  if (release === undefined) {
    throw tooManyRequests({ isAllowed: false, limit: slots.settings.concurrency, remaining: 0, retryAfterSeconds: 1 });
  }
  return release;
}

/** The refusal of every tier. */
export class TooManyRequests extends RateLimited {
  readonly verdict: Verdict;

  constructor(verdict: Verdict) {
    super("too_many_requests", "Too many requests, try again later", {
      retryAfterSeconds: verdict.retryAfterSeconds,
    });
    this.verdict = verdict;
  }
}

export function tooManyRequests(verdict: Verdict): TooManyRequests {
  return new TooManyRequests(verdict);
}

function bucketOf(limits: EffectiveLimits, tier: RateLimitTier) {
  const knobs = { ...defaults[tier], ...limits.tiers[tier] };
  return { rate: knobs.rate ?? 0, burst: knobs.burst ?? 0 };
}

function slotsOf(limits: EffectiveLimits, tier: RateLimitTier, waitMs: number) {
  return { concurrency: limits.tiers[tier].concurrency ?? defaults[tier].concurrency ?? 1, waitMs };
}

function proxyOf(limits: EffectiveLimits): ProxyBudgetSettings {
  return {
    isOff: limits.isOff,
    ...bucketOf(limits, "PROXY"),
    ...slotsOf(limits, "PROXY", proxyWaitMs),
  };
}

function windowOf(limits: EffectiveLimits) {
  const knobs = { ...defaults.AUTH, ...limits.tiers.AUTH };
  return { max: knobs.max ?? 0, windowMs: knobs.windowMs ?? 0 };
}
