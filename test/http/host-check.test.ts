import { describe, expect, it } from "vitest";
import { Forbidden } from "../../src/errors.ts";
import { HostCheck } from "../../src/http/host-check.ts";

function check(
  host: string | null,
  options: { bound?: string; base?: string; trusted?: string[]; peer?: string } = {},
) {
  const { bound = "127.0.0.1", base = "http://127.0.0.1:14321", trusted = [], peer = "127.0.0.1" } = options;
  const hostCheck = new HostCheck({ boundHost: bound, baseUrl: base, trustedProxies: trusted });
  return () => hostCheck.require(host, peer);
}

describe("a server on the loopback interface", () => {
  it.each([
    ["evil.example", "the name of a page that points it here"],
    ["evil.example:14321", "with our port"],
    ["127.0.0.1.evil.example", "a name that begins like an address"],
    ["localhost.evil.example", "a name that begins like ours"],
    ["evil.notlocalhost", "a name that ends like ours"],
    ["printer.local", "names of mDNS are anybody's"],
    ["evil.example@127.0.0.1", "not a host at all"],
    ["127.0.0.1, evil.example", "two"],
    ["2130706433", "an address that only some read as one"],
  ])("refuses %j: %s", (host, _because) => {
    expect(check(host)).toThrow(Forbidden);
  });

  it.each([
    ["127.0.0.1:14321", "its address"],
    ["localhost:14321", "its name"],
    ["LOCALHOST.", "spelt differently"],
    ["vault:14321", "a name from this machine's file of hosts: names of registries have a dot"],
    ["vault.localhost", "names below localhost stay on the machine"],
    ["[::1]:14321", "its other address"],
    ["192.168.1.9:8080", "an address cannot be rebound, and may be a forwarded port"],
    ["host.docker.internal:14321", "how containers call this machine"],
    [null, "no browser leaves it out"],
  ])("answers %j: %s", (host, _because) => {
    expect(check(host)).not.toThrow();
  });

  it("answers to the name of its base URL, on every port", () => {
    const base = "https://Vault.example.com";
    expect(check("vault.example.com", { base })).not.toThrow();
    expect(check("vault.example.com:8443", { base })).not.toThrow();
    expect(check("other.example.com", { base })).toThrow(Forbidden);
  });

  it("answers to any name that a trusted proxy passes on, and to no other peer's", () => {
    const trusted = ["10.0.0.0/8"];
    expect(check("vault.example.com", { trusted, peer: "::ffff:10.1.2.3" })).not.toThrow();
    expect(check("vault.example.com", { trusted, peer: "127.0.0.1" })).toThrow(Forbidden);
  });

  it.each(["127.0.0.1", "127.9.9.9", "localhost", "::1", "::ffff:127.0.0.1"])("is one that listens on %s", (bound) => {
    expect(check("evil.example", { bound })).toThrow(Forbidden);
  });
});

it.each(["0.0.0.0", "::", "10.0.0.5", "vault.example.com"])(
  "a server on %s is called by names of all kinds",
  (bound) => {
    expect(check("vault", { bound })).not.toThrow();
  },
);
