import { describe, expect, it } from "vitest";
import { RateLimited, Unavailable } from "../../src/errors.ts";
import { ConnectionCaps } from "../../src/proxy/connection-caps.ts";

const caps = (limits: Partial<ConstructorParameters<typeof ConnectionCaps>[0]>) =>
  new ConnectionCaps({ max: 0, maxPerAddress: 0, maxTunnelsPerToken: 0, ...limits });

describe("connections", () => {
  it("are limited in all, loopback included, and a place that is given back is free again", () => {
    const counted = caps({ max: 2 });
    counted.enter("127.0.0.1");
    counted.enter("192.0.2.1");
    expect(() => counted.enter("127.0.0.1")).toThrow(Unavailable);
    counted.leave("192.0.2.1");
    counted.enter("127.0.0.1");
    expect(counted.total).toBe(2);
    expect(counted.denials).toBe(1);
  });

  it.each([
    { one: "192.0.2.1", other: "192.0.2.1", isOne: true, because: "it is the same" },
    { one: "192.0.2.1", other: "192.0.2.2", isOne: false, because: "neighbours are two" },
    { one: "192.0.2.1", other: "::ffff:192.0.2.1", isOne: true, because: "a mapped address is the IPv4 address" },
    { one: "::ffff:192.0.2.1", other: "::ffff:192.0.2.2", isOne: false, because: "mapped addresses are no /64" },
    { one: "2001:db8::1", other: "2001:db8::2", isOne: true, because: "one person owns a whole /64" },
    { one: "2001:db8::1", other: "2001:db8:0:1::1", isOne: false, because: "another /64" },
    { one: "127.0.0.1", other: "127.0.0.1", isOne: false, because: "containers come from loopback" },
    { one: "::1", other: "::1", isOne: false, because: "so do they by IPv6" },
    { one: "::ffff:127.0.0.1", other: "::ffff:127.0.0.1", isOne: false, because: "and on a socket of both" },
  ])("from $one and $other are of one client: $isOne, for $because", ({ one, other, isOne }) => {
    const counted = caps({ maxPerAddress: 1 });
    counted.enter(one);
    if (isOne) expect(() => counted.enter(other)).toThrow(RateLimited);
    else counted.enter(other);
    counted.leave(one);
    counted.enter(one);
  });

  it("are not limited by zeros", () => {
    const counted = caps({});
    for (let i = 0; i < 1_000; i++) counted.enter("192.0.2.1");
    expect(counted.total).toBe(1_000);
  });
});

describe("tunnels", () => {
  it("are limited by their token", () => {
    const counted = caps({ maxTunnelsPerToken: 1 });
    counted.openTunnel("one");
    counted.openTunnel("another");
    expect(() => counted.openTunnel("one")).toThrow(RateLimited);
    counted.closeTunnel("one");
    counted.openTunnel("one");
  });
});
