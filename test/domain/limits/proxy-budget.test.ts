import { describe, expect, it } from "vitest";
import {
  actorShare,
  type ProxyBudget,
  type ProxyBudgetSettings,
  ProxyBudgets,
  ProxyLimited,
} from "../../../src/domain/limits/proxy-budget.ts";
import type { SharedLevel } from "../../../src/storage/ephemeral.ts";
import { MemoryEphemeral } from "../../../src/storage/ephemeral-memory.ts";

const settings: ProxyBudgetSettings = { isOff: false, rate: 20, burst: 200, concurrency: 64, waitMs: 2_000 };
const key = { sessionId: "session", actorId: "actor", vaultId: "vault" };

function budgetsWith(changed: Partial<ProxyBudgetSettings>): ProxyBudgets {
  return new ProxyBudgets({ ...settings, ...changed }, new MemoryEphemeral());
}

/** How many of `attempts` are let through. */
function countAt(budget: ProxyBudget, attempts: number, nowMs: number): number {
  let counted = 0;
  for (let i = 0; i < attempts; i++) {
    try {
      budget.count(nowMs);
      counted++;
    } catch (error) {
      expect(error).toBeInstanceOf(ProxyLimited);
    }
  }
  return counted;
}

function refusalOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("It was not refused");
}

describe("the rate of a token", () => {
  it("starts at the burst, then follows the rate", () => {
    const budget = budgetsWith({ rate: 2, burst: 5 }).budgetFor(key, 0);
    expect(countAt(budget, 10, 0)).toBe(5);
    expect(countAt(budget, 10, 1_000)).toBe(2);
    expect(countAt(budget, 10, 1_000_000)).toBe(5);
  });

  it("says when trying again is worthwhile", () => {
    const budget = budgetsWith({ rate: 0.1, burst: 1 }).budgetFor(key, 0);
    budget.count(0);
    const refusal = refusalOf(() => budget.count(0));
    expect(refusal).toMatchObject({ status: 429, code: "too_many_requests", retryAfterSeconds: 10 });
    expect(refusal).toMatchObject({ journalCode: "rate_limit_scope", details: { limit: 1 } });
  });

  it("is not won back by a clock that was set back", () => {
    const budget = budgetsWith({ rate: 1, burst: 1 }).budgetFor(key, 60_000);
    budget.count(60_000);
    expect(countAt(budget, 1, 0)).toBe(0);
  });

  it("is one per token: another token of the same actor has its own", () => {
    const budgets = budgetsWith({ rate: 1, burst: 3 });
    expect(countAt(budgets.budgetFor(key, 0), 5, 0)).toBe(3);
    expect(countAt(budgets.budgetFor({ ...key, sessionId: "other" }, 0), 5, 0)).toBe(3);
  });

  it("is not multiplied without end by minting tokens", () => {
    const budgets = budgetsWith({ rate: 1, burst: 3 });
    let counted = 0;
    for (let i = 0; i < 100; i++) counted += countAt(budgets.budgetFor({ ...key, sessionId: `${i}` }, 0), 3, 0);
    expect(counted).toBe(3 * actorShare);
    expect(countAt(budgets.budgetFor({ ...key, actorId: "other" }, 0), 5, 0)).toBe(3);
    expect(countAt(budgets.budgetFor({ ...key, vaultId: "other" }, 0), 5, 0)).toBe(3);
  });

  it("is not started anew by making the limiter forget", () => {
    const budgets = budgetsWith({ rate: 0.001, burst: 1 });
    const budget = budgets.budgetFor(key, 0);
    budget.count(0);
    for (let i = 0; i < 10_001; i++) budgets.budgetFor({ ...key, actorId: `${i}`, sessionId: `${i}` }, 0);
    expect(countAt(budgets.budgetFor(key, 0), 1, 0)).toBe(0);
    expect(budget.isForgotten).toBe(false);
  });

  it("forgets who would find nothing changed, so that memory does not grow with every token there ever was", () => {
    const budgets = budgetsWith({});
    const first = budgets.budgetFor(key, 0);
    for (let i = 0; i < 10_001; i++) budgets.budgetFor({ ...key, sessionId: `${i}` }, 0);
    expect(first.isForgotten).toBe(true);
  });
});

describe("the places of a token", () => {
  it("pass to those who wait, in the order of arrival, and are never taken twice", async () => {
    const budget = budgetsWith({ concurrency: 1, waitMs: 60_000 }).budgetFor(key, 0);
    budget.take();
    const order: number[] = [];
    const { signal } = new AbortController();
    const waiting = [budget.wait(signal).then(() => order.push(1))];
    expect(budget.hasRoom).toBe(false);
    budget.leave();
    expect(budget.hasRoom).toBe(false);
    await Promise.all(waiting);
    expect(order).toEqual([1]);
    budget.leave();
    expect(budget.hasRoom).toBe(true);
  });

  it("are refused when none comes free in time", async () => {
    const budgets = budgetsWith({ concurrency: 1, waitMs: 10 });
    const budget = budgets.budgetFor(key, 0);
    budget.take();
    const refusal = await budget.wait(new AbortController().signal).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ status: 429, code: "too_many_requests", journalCode: "concurrency_scope" });
    expect(budgets.denials).toEqual({ rate: 0, concurrency: 1, streams: 0 });
  });

  it("are waited for by no more requests than there are places", async () => {
    const budget = budgetsWith({ concurrency: 1, waitMs: 60_000 }).budgetFor(key, 0);
    budget.take();
    const first = budget.wait(new AbortController().signal);
    await expect(budget.wait(new AbortController().signal)).rejects.toBeInstanceOf(ProxyLimited);
    budget.leave();
    expect(await first).toBe(true);
  });

  it("are not taken by who stopped waiting", async () => {
    const budget = budgetsWith({ concurrency: 1, waitMs: 60_000 }).budgetFor(key, 0);
    budget.take();
    const leaving = new AbortController();
    const waiting = budget.wait(leaving.signal);
    leaving.abort();
    expect(await waiting).toBe(false);
    budget.leave();
    expect(budget.hasRoom).toBe(true);
  });

  it("are there at once when a limit is raised or switched off", async () => {
    const budgets = budgetsWith({ concurrency: 1, waitMs: 60_000 });
    const budget = budgets.budgetFor(key, 0);
    budget.take();
    const waiting = budget.wait(new AbortController().signal);
    budgets.settings = { ...settings, concurrency: 2 };
    expect(await waiting).toBe(true);
  });

  it("stay counted while the limits are off, so that switching them on is not undone by what was open", () => {
    const budgets = budgetsWith({ isOff: true, concurrency: 1 });
    const budget = budgets.budgetFor(key, 0);
    budget.take();
    budget.take();
    budgets.settings = { ...settings, concurrency: 1 };
    budget.leave();
    expect(budget.hasRoom).toBe(false);
    budget.leave();
    expect(budget.hasRoom).toBe(true);
  });

  it("of all tokens of an actor are bounded together", () => {
    const budgets = budgetsWith({ concurrency: 2 });
    let taken = 0;
    for (let i = 0; i < 50; i++) {
      const budget = budgets.budgetFor({ ...key, sessionId: `${i}` }, 0);
      while (budget.hasRoom) {
        budget.take();
        taken++;
      }
    }
    expect(taken).toBe(2 * actorShare);
  });
});

describe("streams", () => {
  it("do not use up the places of requests, and have places of their own", () => {
    const budget = budgetsWith({ concurrency: 1 }).budgetFor(key, 0);
    budget.takeStream();
    expect(budget.hasRoom).toBe(true);
    expect(refusalOf(() => budget.takeStream())).toMatchObject({ status: 429, journalCode: "concurrency_scope" });
    budget.leaveStream();
    budget.takeStream();
  });

  it("free the place of the request that they began as", () => {
    const budget = budgetsWith({ concurrency: 1 }).budgetFor(key, 0);
    budget.take();
    expect(budget.becomeStream()).toBe(true);
    expect(budget.hasRoom).toBe(true);
    budget.take();
    expect(budget.becomeStream()).toBe(false);
    expect(budget.hasRoom).toBe(false);
  });
});

describe("the level of a budget", () => {
  it("is known to others for as long as somebody draws on it, and what they take counts here", () => {
    const shared = new Map<string, SharedLevel>();
    const budgets = new ProxyBudgets(settings, {
      share: (key, level) => {
        shared.set(key, level);
        return () => void shared.delete(key);
      },
    });
    const budget = budgets.budgetFor(key, 0);
    expect([...shared.keys()]).toEqual(["actor\nactor\nvault", "token\nsession\nactor\nvault"]);
    for (const level of shared.values()) level.tokens = 1;
    budget.count(0);
    expect(() => budget.count(0)).toThrow(ProxyLimited);
    // Enough strangers for everything that makes no difference to be forgotten, a day later.
    for (let at = 0; at < 10_001; at++)
      budgets.budgetFor({ ...key, sessionId: `s${at}`, actorId: `a${at}` }, 86_400_000);
    expect(shared.has("token\nsession\nactor\nvault")).toBe(false);
    expect(shared.has("actor\nactor\nvault")).toBe(false);
  });
});
