import { describe, expect, it } from "vitest";
import type { DnsAnswer } from "../../src/net/dns.ts";
import { DnsCache } from "../../src/net/dns-cache.ts";

/** A cache over answers that the test gives, one for each time that it asks. */
function cacheWith(answers: readonly (DnsAnswer | Error)[], options: { maxNames?: number } = {}) {
  const clock = { nowMs: 0 };
  const asked: string[] = [];
  const cache = new DnsCache({
    resolve: async (host) => {
      const answer = answers[asked.push(host) - 1];
      if (answer === undefined) throw new Error("asked too often");
      if (answer instanceof Error) throw answer;
      return answer;
    },
    now: () => clock.nowMs,
    leastMs: 1_000,
    mostMs: 300_000,
    unknownMs: 10_000,
    negativeMs: 2_000,
    ...options,
  });
  return { cache, asked, clock };
}

const one = (ttlMs?: number): DnsAnswer => ({ addresses: ["192.0.2.1"], ttlMs });
const other: DnsAnswer = { addresses: ["192.0.2.2"], ttlMs: 60_000 };
const nothing: DnsAnswer = { addresses: [], ttlMs: undefined };

describe("the cache of names", () => {
  it.each([
    { answer: one(60_000), goodMs: 60_000, because: "the answer says so" },
    { answer: one(0), goodMs: 1_000, because: "less is not worth a query for each connection" },
    { answer: one(86_400_000), goodMs: 300_000, because: "nobody waits a day for a moved service" },
    { answer: one(), goodMs: 10_000, because: "nobody said" },
    { answer: nothing, goodMs: 2_000, because: "a name may be made at any time" },
  ])("gives an answer of $answer.ttlMs for $goodMs ms and not one longer: $because", async ({ answer, goodMs }) => {
    const { cache, asked, clock } = cacheWith([answer, other]);
    expect(await cache.lookup("a.example")).toEqual(answer.addresses);
    clock.nowMs = goodMs - 1;
    expect(cache.lookup("a.example")).toEqual(answer.addresses);
    expect(asked).toHaveLength(1);
    clock.nowMs = goodMs;
    expect(await cache.lookup("a.example")).toEqual(other.addresses);
  });

  it("asks once for all who wait", async () => {
    const { cache, asked } = cacheWith([one(60_000)]);
    const answers = await Promise.all(Array.from({ length: 50 }, () => cache.lookup("a.example")));
    expect(new Set(answers.map(String))).toEqual(new Set(["192.0.2.1"]));
    expect(asked).toEqual(["a.example"]);
  });

  it("remembers no failure, and no old answer instead of it", async () => {
    const { cache, clock } = cacheWith([one(1_000), new Error("server is down"), other]);
    await cache.lookup("a.example");
    clock.nowMs = 1_000;
    await expect(cache.lookup("a.example")).rejects.toThrow("server is down");
    expect(await cache.lookup("a.example")).toEqual(other.addresses);
  });

  it("asks again for what it was told to forget, also while an answer is under way", async () => {
    const { cache, asked } = cacheWith([one(60_000), other, one(60_000)]);
    await cache.lookup("a.example");
    cache.forget("a.example");
    const late = cache.lookup("a.example");
    cache.forget("a.example");
    expect(await cache.lookup("a.example")).toEqual(["192.0.2.1"]);
    expect(await late).toEqual(["192.0.2.2"]);
    expect(asked).toHaveLength(3);
  });

  it("keeps names apart, and no more of them than it may", async () => {
    const { cache, asked } = cacheWith([one(60_000), one(60_000), one(60_000), other], { maxNames: 2 });
    for (const host of ["a.example", "b.example", "c.example"]) await cache.lookup(host);
    cache.lookup("b.example");
    cache.lookup("c.example");
    expect(asked).toHaveLength(3);
    expect(await cache.lookup("a.example")).toEqual(["192.0.2.2"]);
  });
});
