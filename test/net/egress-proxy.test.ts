import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { Egress, EgressProxy } from "../../src/net/egress-proxy.ts";
import { NoProxy } from "../../src/net/no-proxy.ts";

describe("an egress proxy", () => {
  it.each([
    ["http://proxy.example:3128", { scheme: "http", host: "proxy.example", port: 3128 }],
    ["HTTP://Proxy.Example:3128/", { scheme: "http", host: "proxy.example", port: 3128 }],
    ["proxy.example:3128", { scheme: "http", host: "proxy.example", port: 3128 }],
    ["http://proxy.example", { scheme: "http", host: "proxy.example", port: 80 }],
    ["https://proxy.example", { scheme: "https", host: "proxy.example", port: 443 }],
    ["socks5://10.0.0.1", { scheme: "socks5", host: "10.0.0.1", port: 1080 }],
    ["socks5h://[fd00::0:1]:9050", { scheme: "socks5h", host: "fd00::1", port: 9050 }],
    ["http://user:p%40ss@proxy.example:8080", { scheme: "http", host: "proxy.example", port: 8080 }],
  ])("is read from %s", (text, expected) => {
    expect(EgressProxy.parse(text)).toMatchObject(expected);
  });

  it.each([
    "",
    "ftp://proxy.example",
    "socks4://proxy.example",
    "http://",
    "http://proxy.example:0",
    "http://proxy.example:70000",
    "http://proxy.example:3128/path",
    "http://a b",
    "http://2130706433:80",
    "http://[::1",
    "http://user:%zz@proxy.example",
    "http://us%3Aer:x@proxy.example",
    `socks5://user:${"x".repeat(256)}@proxy.example`,
  ])("is not read from %j", (text) => {
    expect(EgressProxy.parse(text)).toBeUndefined();
  });

  it("shows its login to the proxy and to nobody else", () => {
    const proxy = EgressProxy.parse("http://user:pr0xy%3Asecret@proxy.example");
    expect(proxy?.authorization).toBe(`Basic ${Buffer.from("user:pr0xy:secret").toString("base64")}`);
    expect(proxy?.login).toEqual({ username: "user", password: "pr0xy:secret" });
    const shown = [inspect(proxy, { depth: 9, showHidden: true }), JSON.stringify({ proxy }), String(proxy)].join();
    expect(shown).not.toMatch(/pr0xy|secret|user/);
  });

  it("is known to lead back here by the port and any name of this machine", () => {
    const leads = (text: string) => EgressProxy.parse(text)?.leadsTo("10.0.0.5", [14321, 14322]);
    for (const host of ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.0.0.5", "[::ffff:127.0.0.1]"]) {
      expect(leads(`http://${host}:14322`)).toBe(true);
    }
    expect(leads("http://127.0.0.1:3128")).toBe(false);
    expect(leads("http://10.0.0.6:14322")).toBe(false);
  });
});

describe("the exceptions of an egress proxy", () => {
  it.each([
    ["example.com", "example.com", 443, true, "the name"],
    ["example.com", "api.example.com", 443, true, "what is below the name"],
    ["example.com", "badexample.com", 443, false, "another name with the same end"],
    [".example.com", "api.example.com", 443, true, "below"],
    [".example.com", "example.com", 443, false, "only below"],
    ["*.example.com", "api.example.com", 443, true, "the same with a star"],
    ["*.example.com", "example.com", 443, false, "the same with a star"],
    ["EXAMPLE.com", "example.com", 443, true, "case does not matter"],
    ["example.com:8443", "example.com", 8443, true, "with this port"],
    ["example.com:8443", "example.com", 443, false, "with this port only"],
    ["10.0.0.0/8", "10.1.2.3", 443, true, "the network"],
    ["10.0.0.0/8", "::ffff:a01:203", 443, true, "the same address as IPv6"],
    ["10.0.0.0/8", "11.0.0.1", 443, false, "another network"],
    ["10.0.0.0/8", "ten.example", 443, false, "a name is not looked up for this"],
    ["10.1.2.3", "10.1.2.3", 443, true, "the address"],
    ["10.1.2.3:8080", "10.1.2.3", 443, false, "with this port only"],
    ["[fd00::1]:8080", "fd00::1", 8080, true, "an IPv6 address with its port"],
    ["fd00::/8", "fd12::1", 443, true, "an IPv6 network"],
    ["a.example, b.example", "b.example", 443, true, "a list"],
    ["a.example b.example", "b.example", 443, true, "a list with spaces"],
    ["*", "anything.example", 443, true, "everything"],
    ["", "anything.example", 443, false, "nothing"],
    ["", "localhost", 443, true, "this machine, always"],
    ["", "127.0.0.1", 443, true, "this machine, always"],
    ["", "::1", 443, true, "this machine, always"],
  ])("%j and %s:%i: %s, %s", (list, host, port, covers, _because) => {
    const parsed = NoProxy.parse(list);
    expect(parsed instanceof NoProxy && parsed.covers(host, port)).toBe(covers);
  });

  it.each(["a..b", "10.0.0.0/99", "exa mple/x", "http://a.example", "a.example:99999", "10.*"])(
    "cannot be read from %j",
    (list) => {
      expect(typeof NoProxy.parse(list)).toBe("string");
    },
  );
});

describe("the way of a target", () => {
  const https = EgressProxy.parse("http://proxy.example:3128");
  const http = EgressProxy.parse("socks5h://socks.example");
  const except = NoProxy.parse("inside.example") as NoProxy;
  const egress = new Egress({ https, http, except, resolvesNames: false });

  it("is by its scheme, and direct for exceptions", () => {
    expect(egress.routeFor("https", { host: "a.example", port: 443 })).toEqual({ proxy: https, resolvesNames: false });
    expect(egress.routeFor("http", { host: "a.example", port: 80 })).toEqual({ proxy: http, resolvesNames: true });
    expect(egress.describe()).toEqual({ https: "http://proxy.example:3128", http: "socks5h://socks.example:1080" });
    expect(egress.routeFor("https", { host: "inside.example", port: 443 })).toBeUndefined();
  });
});
