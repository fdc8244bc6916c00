import { describe, expect, it } from "vitest";
import { resolveWithServers, resolveWithSystem } from "../../src/net/dns.ts";
import { DnsCache } from "../../src/net/dns-cache.ts";
import { DnsServer } from "../support/dns-server.ts";

const zones = {
  "both.test": { a: ["192.0.2.1", "192.0.2.2"], aaaa: ["2001:db8::1"], ttl: 40 },
  "four.test": { a: ["192.0.2.4"], ttl: 7 },
  "six.test": { aaaa: ["2001:db8::6"], ttl: 9 },
  "empty.test": {},
  "slow-six.test": { a: ["192.0.2.5"], ttl: 5, fails: "silent-aaaa" },
  "broken.test": { fails: "servfail" },
} as const;

describe("DNS servers that are named", () => {
  it.each([
    ["both.test", { addresses: ["2001:db8::1", "192.0.2.1", "192.0.2.2"], ttlMs: 40_000 }],
    ["four.test", { addresses: ["192.0.2.4"], ttlMs: 7_000 }],
    ["six.test", { addresses: ["2001:db8::6"], ttlMs: 9_000 }],
    ["empty.test", { addresses: [], ttlMs: undefined }],
    ["missing.test", { addresses: [], ttlMs: undefined }],
    ["slow-six.test", { addresses: ["192.0.2.5"], ttlMs: 5_000 }],
  ])("answer for %s, with its time to live", async (name, answer) => {
    await using server = await DnsServer.start(zones);
    const got = await resolveWithServers([server.address])(name);
    expect({ ...got, addresses: [...got.addresses].sort() }).toEqual({
      ...answer,
      addresses: [...answer.addresses].sort(),
    });
  });

  it("that cannot say are not taken to say no", async () => {
    await using server = await DnsServer.start(zones);
    await expect(resolveWithServers([server.address])("broken.test")).rejects.toThrow();
  });

  it("are asked again when the time to live is over, and not before", async () => {
    await using server = await DnsServer.start({ "api.test": { a: ["192.0.2.1"], ttl: 30 } });
    const clock = { nowMs: 0 };
    const cache = new DnsCache({ resolve: resolveWithServers([server.address]), now: () => clock.nowMs });
    expect(await cache.lookup("api.test")).toEqual(["192.0.2.1"]);
    server.zones["api.test"] = { a: ["192.0.2.9"], ttl: 30 };
    clock.nowMs = 29_900;
    expect(await cache.lookup("api.test")).toEqual(["192.0.2.1"]);
    clock.nowMs = 30_001;
    expect(await cache.lookup("api.test")).toEqual(["192.0.2.9"]);
    expect(server.queries.filter((query) => query === "A api.test")).toHaveLength(2);
  });
});

describe("the system's resolver", () => {
  it("knows this machine by name, and says no for a name that cannot exist", async () => {
    const { addresses } = await resolveWithSystem("localhost");
    expect(addresses.every((address) => address === "127.0.0.1" || address === "::1")).toBe(true);
    expect(addresses.length).toBeGreaterThan(0);
  });

  it("reads the old spellings of addresses as what they are, which is why the answer is what gets checked", async () => {
    for (const spelling of ["127.1", "0177.0.0.1", "2130706433", "0x7f000001"]) {
      const { addresses } = await resolveWithSystem(spelling);
      expect(addresses.filter((address) => address !== "127.0.0.1")).toEqual([]);
    }
  });
});
