import { describe, expect, it } from "vitest";
import { cidr, parseAuthority, parseHost } from "../../src/net/address.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";
import { defaultDeniedPorts, parsePortRanges } from "../../src/net/ports.ts";

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
    "192.31.196.1",
    "192.52.193.1",
    "192.175.48.1",
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
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "100:0:0:1::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "4000::1",
    "2606:4700::5efe:a00:1",
    "2606:4700::200:5efe:7f00:1",
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
    "2606:4700::5efe:808:808",
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
    "169.254.0.23",
    "169.254.42.42",
    "192.0.0.192",
    "fd00:42::42",
    "fd00:c1::a9fe:a9fe",
    "fe80::a9fe:a9fe",
    "2606:4700::5efe:a9fe:a9fe",
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
    expect(policy.denies(ip, 14321, [cidr("0.0.0.0/0"), cidr("::/0")])).toBe("own_listener");
    reopen();
    expect(policy.denies(ip, 14321)).toBeUndefined();
  });
});

describe("the networks of a vault", () => {
  const policy = new NetworkPolicy({
    allowPrivateRanges: false,
    allowlist: ["10.1.0.0/16"],
    vaultAllowlist: ["10.2.0.0/16", "fd00:1::/32"],
  });

  it.each([
    { ip: "10.1.0.1", networks: undefined, denial: undefined, because: "the instance opens it to every vault" },
    { ip: "10.2.0.1", networks: undefined, denial: "special_address", because: "only vaults that ask get it" },
    { ip: "10.2.0.1", networks: ["10.2.0.0/24"], denial: undefined, because: "this vault asks" },
    { ip: "::ffff:10.2.0.1", networks: ["10.2.0.0/24"], denial: undefined, because: "it is the same address" },
    { ip: "fd00:1::1", networks: ["fd00:1::/64"], denial: undefined, because: "this vault asks" },
    { ip: "10.2.1.1", networks: ["10.2.0.0/24"], denial: "special_address", because: "it asks for another part" },
    { ip: "10.1.0.1", networks: ["10.2.0.0/24"], denial: "special_address", because: "its own list is the whole list" },
    { ip: "10.1.0.1", networks: [], denial: "special_address", because: "an empty list is public addresses only" },
    { ip: "10.3.0.1", networks: ["10.0.0.0/8"], denial: "special_address", because: "the instance does not offer it" },
    { ip: "127.0.0.1", networks: ["0.0.0.0/0"], denial: "special_address", because: "the instance does not offer it" },
    { ip: "169.254.169.254", networks: ["0.0.0.0/0"], denial: "metadata_service", because: "nobody gets it" },
    { ip: "8.8.8.8", networks: [], denial: undefined, because: "public addresses are not a matter of networks" },
  ])("$ip with $networks: $because", ({ ip, networks, denial }) => {
    expect(policy.denies(ip, 443, networks?.map(cidr))).toBe(denial);
  });

  it("stay shut for a vault that names others, where the instance opens all", () => {
    expect(open.denies("10.0.0.1", 443, [cidr("10.9.0.0/16")])).toBe("special_address");
    expect(open.denies("10.9.0.1", 443, [cidr("10.9.0.0/16")])).toBeUndefined();
  });

  it.each([
    ["10.1.0.0/16", true],
    ["10.2.3.4", true],
    ["fd00:1:2::/48", true],
    ["10.0.0.0/8", false],
    ["0.0.0.0/0", false],
    ["127.0.0.1", false],
    ["nonsense", false],
  ])("may hold %s: %s", (network, may) => {
    expect(policy.mayOpen(network)).toBe(may);
  });
});

describe("the ports", () => {
  const range = (text: string) => parsePortRanges(text) ?? [];
  const ports = (allowed: string | undefined, denied: string) =>
    new NetworkPolicy({
      allowPrivateRanges: false,
      allowlist: [],
      ports: { allowed: allowed === undefined ? undefined : range(allowed), denied: range(denied) },
    });

  it.each([22, 23, 25, 53, 465, 587, 993, 6000, 6379, 11211])("%i is shut by default", (port) => {
    expect(ports(undefined, defaultDeniedPorts).denies("8.8.8.8", port)).toBe("port");
    expect(ports(undefined, defaultDeniedPorts).deniesName("api.example", port)).toBe("port");
  });

  it.each([80, 443, 3000, 5432, 8080, 8443, 9200, 65535])("%i is open by default", (port) => {
    expect(ports(undefined, defaultDeniedPorts).denies("8.8.8.8", port)).toBeUndefined();
  });

  it("are only those of the list where there is one, less those that are shut", () => {
    const policy = ports("443,8000-8100", "8022");
    for (const port of [443, 8000, 8100]) expect(policy.deniesPort(port)).toBeUndefined();
    for (const port of [80, 7999, 8022, 8101]) expect(policy.deniesPort(port)).toBe("port");
  });

  it.each(["x", "0", "65536", "5-4", "1-", "-1", "1-2-3", "80;443", "+80"])("are not read from %j", (text) => {
    expect(parsePortRanges(text)).toBeUndefined();
  });
});

describe("names that another program resolves", () => {
  it.each(["localhost", "api.localhost", "metadata.google.internal", "instance-data.ec2.internal"])(
    "%s stays shut, because no address can be checked",
    (name) => {
      expect(open.deniesName(name, 443)).toBe("special_name");
    },
  );

  it("may be any other", () => {
    expect(strict.deniesName("api.stripe.com", 443)).toBeUndefined();
  });
});
