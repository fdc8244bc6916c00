import { describe, expect, it } from "vitest";
import { RateLimited, Unavailable } from "../../src/errors.ts";
import { ConnectionCaps } from "../../src/proxy/connection-caps.ts";

const caps = (limits: Partial<ConstructorParameters<typeof ConnectionCaps>[0]>) =>
  new ConnectionCaps({ max: 0, maxPerAddress: 0, maxPerToken: 0, ...limits });

const never = () => {
  throw new Error("nobody has to make room");
};

describe("connections", () => {
  it("are limited in all, loopback included, and a place that is given back is free again", () => {
    const counted = caps({ max: 2 });
    const first = counted.enter("127.0.0.1", never);
    first.prove("one");
    counted.enter("192.0.2.1", never).prove("another");
    expect(() => counted.enter("127.0.0.1", never)).toThrow(Unavailable);
    first.leave();
    counted.enter("127.0.0.1", never);
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
    const first = counted.enter(one, never);
    if (isOne) expect(() => counted.enter(other, never)).toThrow(RateLimited);
    else counted.enter(other, never);
    first.leave();
    counted.enter(one, never);
  });

  it("are not limited by zeros", () => {
    const counted = caps({});
    for (let i = 0; i < 1_000; i++) counted.enter("192.0.2.1", never).prove("one");
    expect(counted.total).toBe(1_000);
  });
});

describe("connections that have shown no token", () => {
  it("make room for the next one, the oldest first", () => {
    const counted = caps({ max: 6 });
    const cut: number[] = [];
    for (let i = 0; i < 8; i++) counted.enter("127.0.0.1", () => cut.push(i));
    expect(cut).toEqual([0, 1, 2, 3, 4]);
    expect(counted.total).toBe(3);
  });

  it("never push out one that has shown a token", () => {
    const counted = caps({ max: 6 });
    const mine = counted.enter("127.0.0.1", never);
    mine.prove("one");
    for (let i = 0; i < 100; i++) counted.enter("127.0.0.1", () => undefined);
    expect(counted.total).toBe(4);
    mine.prove("one");
    expect(counted.total).toBe(4);
  });

  it("are counted once where they leave after they made room", () => {
    const counted = caps({ max: 2 });
    const first = counted.enter("127.0.0.1", () => undefined);
    counted.enter("127.0.0.1", () => undefined);
    first.leave();
    first.prove("too-late");
    expect(counted.total).toBe(1);
  });

  it("make room in all, too, when others have taken most of it", () => {
    const counted = caps({ max: 4 });
    for (const token of ["one", "another", "third"]) counted.enter("127.0.0.1", never).prove(token);
    let isCut = false;
    counted.enter("127.0.0.1", () => {
      isCut = true;
    });
    counted.enter("127.0.0.1", never);
    expect(isCut).toBe(true);
    expect(counted.total).toBe(4);
  });
});

describe("connections with one token", () => {
  it("are limited", () => {
    const counted = caps({ maxPerToken: 1 });
    const first = counted.enter("127.0.0.1", never);
    first.prove("one");
    counted.enter("127.0.0.1", never).prove("another");
    const second = counted.enter("127.0.0.1", never);
    expect(() => second.prove("one")).toThrow(RateLimited);
    first.leave();
    second.prove("one");
  });

  it("are limited to half of all there may be, whatever is set", () => {
    for (const maxPerToken of [0, 100]) {
      const counted = caps({ max: 4, maxPerToken });
      for (let i = 0; i < 2; i++) counted.enter("127.0.0.1", never).prove("one");
      const third = counted.enter("127.0.0.1", never);
      expect(() => third.prove("one")).toThrow(RateLimited);
      third.prove("another");
    }
  });

  it("count for the token that was shown last", () => {
    const counted = caps({ maxPerToken: 1 });
    const place = counted.enter("127.0.0.1", never);
    place.prove("one");
    place.prove("another");
    counted.enter("127.0.0.1", never).prove("one");
    expect(() => counted.enter("127.0.0.1", never).prove("another")).toThrow(RateLimited);
  });
});
