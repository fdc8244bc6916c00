import { describe, expect, it } from "vitest";
import { parseAuthority, parseHost } from "../../src/net/address.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";

const strict = new NetworkPolicy({ allowPrivateRanges: false, allowlist: [] });
const open = new NetworkPolicy({ allowPrivateRanges: true, allowlist: [] });

describe("an authority", () => {
  it.each([
    ["API.Stripe.com:443", { host: "api.stripe.com", port: 443 }],
    ["api.stripe.com.:443", { host: "api.stripe.com", port: 443 }],
    ["[0:0:0:0:0:0:0:1]:8080", { host: "::1", port: 8080 }],
    ["[::ffff:1.2.3.4]:1", { host: "::ffff:102:304", port: 1 }],
    ["1.2.3.4:65535", { host: "1.2.3.4", port: 65535 }],
    ["a_b.example:1", { host: "a_b.example", port: 1 }],
    ["localhost:1", { host: "localhost", port: 1 }],
    ["xn--bcher-kva.example:1", { host: "xn--bcher-kva.example", port: 1 }],
  ])("%s is read as %o", (text, expected) => {
    expect(parseAuthority(text)).toEqual(expected);
  });

  it.each([
    "",
    ":443",
    "a",
    "a:",
    "a:0",
    "a:65536",
    "a:4294967739",
    "a:+1",
    "a:1:2",
    "a..b:1",
    ".a:1",
    "a..:1",
    "-a:1",
    "a-:1",
    "u@a:1",
    "a/b:1",
    "a?b:1",
    "a%20:1",
    "*:1",
    "a,b:1",
    "ü.de:1",
    `${"a".repeat(64)}:1`,
    "::1:1",
    "[::1:1",
    "[::1]x:1",
    "[::1%25lo]:1",
    "[fe80::1%lo]:1",
    "[1.2.3.4]:1",
    "[::1::]:1",
    "[1:2:3:4:5:6:7:8:9]:1",
    "[::1.2.3]:1",
    "127.1:1",
    "0177.0.0.1:1",
    "0x7f.0.0.1:1",
    "2130706433:1",
    "0x7f000001:1",
    "127.0.0.1.:1",
    "127.0.0.256:1",
    "a.1:1",
    "a.0x1:1",
  ])("%s is refused", (text) => {
    expect(() => parseAuthority(text)).toThrow();
  });

  it("keeps names with numbers inside", () => {
    expect(parseHost("1e100.net")).toBe("1e100.net");
    expect(parseHost("4.3.2.1.in-addr.arpa")).toBe("4.3.2.1.in-addr.arpa");
  });
});

describe("the network policy", () => {
  it.each([
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.1.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "4000::1",
  ])("blocks %s unless private ranges are allowed", (ip) => {
    expect(strict.denies(ip, 443)).toBe("special_address");
    expect(open.denies(ip, 443)).toBeUndefined();
  });

  it.each([
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2606:4700::1111",
    "2a00::1",
    "2001:4860::8888",
  ])("allows %s", (ip) => {
    expect(strict.denies(ip, 443)).toBeUndefined();
  });

  it.each([
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001::5601:5601",
    "64:ff9b:1:a9fe:a9:fe00::",
  ])("never allows %s", (ip) => {
    const generous = new NetworkPolicy({ allowPrivateRanges: false, allowlist: ["0.0.0.0/0", "::/0"] });
    for (const policy of [strict, open, generous]) expect(policy.denies(ip, 80)).toBe("metadata_service");
  });

  it.each(["", "localhost", "127.1", "0x7f000001", "fe80::1%eth0", "1.2.3.4 "])("blocks %j: it is no address", (ip) => {
    expect(open.denies(ip, 80)).toBe("not_an_address");
  });

  it("opens what the allowlist names, and takes no entry that is not an address", () => {
    const policy = new NetworkPolicy({
      allowPrivateRanges: false,
      allowlist: [" 10.1.0.0/16", "::1"],
    });
    expect(policy.denies("10.1.2.3", 80)).toBeUndefined();
    expect(policy.denies("::ffff:10.1.2.3", 80)).toBeUndefined();
    expect(policy.denies("::1", 80)).toBeUndefined();
    expect(policy.denies("10.2.0.0", 80)).toBe("special_address");
    for (const entry of ["nonsense", "1.2.3.4/40", "fe80::1%eth0"]) {
      expect(() => new NetworkPolicy({ allowPrivateRanges: false, allowlist: [entry] })).toThrow(entry);
    }
  });

  it.each([
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::",
  ])("keeps %s shut at our own port, whatever is allowed", (ip) => {
    const policy = new NetworkPolicy({ allowPrivateRanges: true, allowlist: [] });
    const reopen = policy.protect({ host: "0.0.0.0", port: 14321 });
    expect(policy.denies(ip, 14321)).toBe("own_listener");
    expect(policy.denies(ip, 14320)).toBeUndefined();
    reopen();
    expect(policy.denies(ip, 14321)).toBeUndefined();
  });
});
