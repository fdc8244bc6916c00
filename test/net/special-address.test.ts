import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cidr, formatIp, parseHost, parseIp } from "../../src/net/address.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";

const strict = new NetworkPolicy({ allowPrivateRanges: false, allowlist: [] });
const open = new NetworkPolicy({ allowPrivateRanges: true, allowlist: ["0.0.0.0/0", "::/0"] });
const owned = new NetworkPolicy({ allowPrivateRanges: true, allowlist: ["0.0.0.0/0"] });
owned.protect({ host: "0.0.0.0", port: 14322 });

/** Ranges as numbers, written down apart from the ones in the code. */
const privateRanges: readonly (readonly [string, string])[] = [
  ["0.0.0.0", "0.255.255.255"],
  ["10.0.0.0", "10.255.255.255"],
  ["100.64.0.0", "100.127.255.255"],
  ["127.0.0.0", "127.255.255.255"],
  ["169.254.0.0", "169.254.255.255"],
  ["172.16.0.0", "172.31.255.255"],
  ["192.0.0.0", "192.0.0.255"],
  ["192.0.2.0", "192.0.2.255"],
  ["192.31.196.0", "192.31.196.255"],
  ["192.52.193.0", "192.52.193.255"],
  ["192.88.99.0", "192.88.99.255"],
  ["192.168.0.0", "192.168.255.255"],
  ["192.175.48.0", "192.175.48.255"],
  ["198.18.0.0", "198.19.255.255"],
  ["198.51.100.0", "198.51.100.255"],
  ["203.0.113.0", "203.0.113.255"],
  ["224.0.0.0", "255.255.255.255"],
];

const numberOf = (text: string) => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
const octetsOf = (address: number) => [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff);
const dotted = (address: number) => octetsOf(address).join(".");
const bounds = privateRanges.map(([first, last]) => ({ min: numberOf(first), max: numberOf(last) }));
const isPrivate = (address: number) => bounds.some(({ min, max }) => min <= address && address <= max);

const privateAddress = fc.oneof(...bounds.map((range) => fc.integer(range)));
const publicAddress = fc.integer({ min: 0, max: 0xffffffff }).filter((address) => !isPrivate(address));
const metadata = fc.constantFrom("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16").map(numberOf);
const loopback = fc.integer({ min: numberOf("127.0.0.0"), max: numberOf("127.255.255.255") });

/** Every way that inet_aton, and so many a resolver, reads an IPv4 address. */
function spellingsOfIpv4(address: number): fc.Arbitrary<string> {
  const part = (value: number) =>
    fc.constantFrom(
      String(value),
      `0${value.toString(8)}`,
      `000${value.toString(8)}`,
      `0x${value.toString(16)}`,
      `0X${value.toString(16).toUpperCase()}`,
      `0x0000${value.toString(16)}`,
    );
  const [a = 0, b = 0, c = 0, d = 0] = octetsOf(address);
  const forms = [[a, b, c, d], [a, b, c * 256 + d], [a, (b * 256 + c) * 256 + d], [address]];
  return fc
    .oneof(...forms.map((parts) => fc.tuple(...parts.map(part)).map((texts) => texts.join("."))))
    .chain((text) => fc.constantFrom(text, `${text}.`, `[${text}]`));
}

const hex = (value: number) => value.toString(16);

/** Every IPv6 address that carries an IPv4 address somewhere inside. */
function wrappingsOf(address: number): fc.Arbitrary<string> {
  const [high, low] = [hex(address >>> 16), hex(address & 0xffff)];
  const [flippedHigh, flippedLow] = [hex((address >>> 16) ^ 0xffff), hex((address & 0xffff) ^ 0xffff)];
  const [a = 0, b = 0, c = 0, d = 0] = octetsOf(address);
  return fc.constantFrom(
    `::ffff:${dotted(address)}`,
    `::ffff:${high}:${low}`,
    `0:0:0:0:0:FFFF:${high}:${low}`,
    `::${dotted(address)}`,
    `::ffff:0:${dotted(address)}`,
    `64:ff9b::${dotted(address)}`,
    `64:FF9B::${high}:${low}`,
    `64:ff9b:1::${dotted(address)}`,
    `64:ff9b:1:${hex(a * 256 + b)}:${hex(c)}:${hex(d * 256)}::`,
    `2002:${high}:${low}::1`,
    `2001:0:${high}:${low}::1`,
    `2001::${flippedHigh}:${flippedLow}`,
    `2a00:1::5efe:${dotted(address)}`,
    `2a00:1::200:5efe:${dotted(address)}`,
  );
}

/** All the ways to write the same 16 bytes. */
function spellingsOfIpv6(text: string): fc.Arbitrary<string> {
  const bytes = parseIp(text) ?? new Uint8Array(16);
  const groups = Array.from({ length: 8 }, (_, at) => (bytes[at * 2] ?? 0) * 256 + (bytes[at * 2 + 1] ?? 0));
  const full = groups.map((group) => hex(group).padStart(4, "0")).join(":");
  const tail = `${groups.slice(0, 6).map(hex).join(":")}:${bytes.slice(12).join(".")}`;
  return fc.constantFrom(text, full, full.toUpperCase(), tail, groups.map(hex).join(":"), formatIp(bytes));
}

/** What the proxy makes of a host that an agent writes: refused, or an address that the policy sees, or a name. */
function judge(policy: NetworkPolicy, host: string, port = 443): string | undefined {
  let read: string;
  try {
    read = parseHost(host);
  } catch {
    return "refused";
  }
  // A spelling that is taken for a name would go to a resolver.
  if (!parseIp(read)) return undefined;
  return policy.denies(read, port);
}

describe("an address, however it is written", () => {
  it("is refused or seen as private when it is a private IPv4 address", () => {
    const spelling = privateAddress.chain((address) => spellingsOfIpv4(address));
    fc.assert(
      fc.property(spelling, (text) => {
        expect(judge(strict, text)).toBeDefined();
      }),
      { numRuns: 3_000 },
    );
  });

  it("is refused or blocked when it is a metadata service, whatever is allowed", () => {
    const spelling = metadata.chain((address) =>
      fc.oneof(
        spellingsOfIpv4(address),
        wrappingsOf(address)
          .chain(spellingsOfIpv6)
          .map((text) => `[${text}]`),
      ),
    );
    fc.assert(
      fc.property(spelling, (text) => {
        expect(["refused", "metadata_service"]).toContain(judge(open, text));
      }),
      { numRuns: 3_000 },
    );
  });

  it("is private when a private IPv4 address is anywhere inside of an IPv6 address", () => {
    const spelling = privateAddress.chain(wrappingsOf).chain(spellingsOfIpv6);
    fc.assert(
      fc.property(spelling, (text) => {
        expect(judge(strict, `[${text}]`)).toBeDefined();
        // What comes from a resolver has no brackets and is not read by parseHost.
        expect(strict.denies(text, 443)).toBeDefined();
      }),
      { numRuns: 3_000 },
    );
  });

  it("is ours at our port when it leads to this machine, whatever is allowed", () => {
    const spelling = loopback.chain((address) =>
      fc.oneof(
        spellingsOfIpv4(address),
        wrappingsOf(address)
          .chain(spellingsOfIpv6)
          .map((text) => `[${text}]`),
      ),
    );
    fc.assert(
      fc.property(fc.oneof(spelling, fc.constantFrom("[::]", "[::1]", "0.0.0.0", "[0::0.0.0.1]")), (text) => {
        expect(["refused", "own_listener"]).toContain(judge(owned, text, 14322));
      }),
      { numRuns: 3_000 },
    );
  });

  it("is allowed in its plain form when it is a public IPv4 address", () => {
    fc.assert(
      fc.property(publicAddress, (address) => {
        const expected = address === numberOf("168.63.129.16") ? "metadata_service" : undefined;
        expect(judge(strict, dotted(address))).toBe(expected);
        expect(judge(strict, `[::ffff:${dotted(address)}]`)).toBe(expected);
        expect(judge(strict, `[64:ff9b::${dotted(address)}]`)).toBe(expected);
      }),
      { numRuns: 3_000 },
    );
  });

  it("is never read with a zone", () => {
    const zone = fc.constantFrom("%lo", "%1", "%25eth0", "%", "%00");
    fc.assert(
      fc.property(fc.constantFrom("fe80::1", "::1", "2a00::1"), zone, (address, suffix) => {
        expect(judge(open, `[${address}${suffix}]`)).toBe("refused");
        expect(open.denies(`${address}${suffix}`, 443)).toBe("not_an_address");
      }),
    );
  });

  it("opens to a list only where every bit of its network agrees", () => {
    const bits = fc.integer({ min: 8, max: 32 });
    fc.assert(
      fc.property(privateAddress, privateAddress, bits, (inside, other, length) => {
        const network = `${dotted(inside)}/${length}`;
        const policy = new NetworkPolicy({ allowPrivateRanges: false, allowlist: [network] });
        const agrees = Math.floor(inside / 2 ** (32 - length)) === Math.floor(other / 2 ** (32 - length));
        const isMetadata = policy.denies(dotted(other), 443) === "metadata_service";
        expect(isMetadata || (policy.denies(dotted(other), 443) === undefined) === agrees).toBe(true);
        expect(strict.denies(dotted(other), 443, [cidr(network)])).toBeDefined();
      }),
      { numRuns: 2_000 },
    );
  });
});
