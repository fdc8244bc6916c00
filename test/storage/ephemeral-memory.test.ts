import { describe, expect, it } from "vitest";
import { SlidingWindows, TokenBuckets } from "../../src/storage/ephemeral-memory.ts";

describe("a token bucket", () => {
  it("starts full, refuses when empty, and refills with time up to its burst", () => {
    const buckets = new TokenBuckets({ rate: 2, burst: 3 });
    expect([1, 2, 3, 4].map(() => buckets.take("a", 0).isAllowed)).toEqual([true, true, true, false]);
    expect(buckets.take("a", 400).isAllowed).toBe(false);
    expect(buckets.take("a", 500)).toEqual({ isAllowed: true, limit: 3, remaining: 0, retryAfterSeconds: 0 });
    expect(buckets.take("a", 1_000_000).remaining).toBe(2);
  });

  it("keeps keys apart and asks for at least one second of patience", () => {
    const buckets = new TokenBuckets({ rate: 100, burst: 1 });
    buckets.take("a", 0);
    expect(buckets.take("b", 0).isAllowed).toBe(true);
    expect(buckets.take("a", 0).retryAfterSeconds).toBe(1);
  });

  it("takes no tokens away when the clock goes back", () => {
    const buckets = new TokenBuckets({ rate: 1, burst: 2 });
    buckets.take("a", 10_000);
    expect(buckets.take("a", 0).isAllowed).toBe(true);
  });
});

describe("a sliding window", () => {
  it("allows max events in any window and does not count refused ones", () => {
    const windows = new SlidingWindows({ max: 2, windowMs: 1000 });
    expect(windows.record("a", 0)).toMatchObject({ isAllowed: true, remaining: 1 });
    expect(windows.record("a", 600)).toMatchObject({ isAllowed: true, remaining: 0 });
    expect(windows.record("a", 900)).toMatchObject({ isAllowed: false, retryAfterSeconds: 1 });
    expect(windows.record("a", 1001).isAllowed).toBe(true);
    expect(windows.record("a", 1500).isAllowed).toBe(false);
    expect(windows.record("a", 1601).isAllowed).toBe(true);
  });

  it("peeks without counting", () => {
    const windows = new SlidingWindows({ max: 1, windowMs: 1000 });
    expect(windows.peek("a", 0).isAllowed).toBe(true);
    expect(windows.peek("a", 0).isAllowed).toBe(true);
    windows.record("a", 0);
    expect(windows.peek("a", 0).isAllowed).toBe(false);
  });

  it("forgets the key used longest ago when strangers invent too many", () => {
    const windows = new SlidingWindows({ max: 1, windowMs: 1_000_000 });
    windows.record("first", 0);
    for (let index = 0; index < 10_000; index++) windows.record(`stranger-${index}`, 0);
    expect(windows.peek("first", 0).isAllowed).toBe(true);
    expect(windows.peek("stranger-9999", 0).isAllowed).toBe(false);
  });
});
