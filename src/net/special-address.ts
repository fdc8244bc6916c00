import { type Cidr, cidr, cidrHolds, unmapIp } from "./address.ts";

/** Which addresses are not ordinary public ones, and where an address may lead besides where it says. */

/** An interface identifier that carries an IPv4 address, under any prefix at all: ISATAP, RFC 5214, section 6.1. */
function isIsatap(bytes: Uint8Array): boolean {
  return bytes.length === 16 && (bytes[8] ?? 0) <= 3 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
}

/** Where transition mechanisms keep the IPv4 address that a packet may end at. */
const embeddings: readonly { readonly range: Cidr; readonly read: (bytes: Uint8Array) => Uint8Array }[] = [
  { range: cidr("::ffff:0:0/96"), read: (bytes) => bytes.subarray(12) }, // mapped, RFC 4291
  { range: cidr("::/96"), read: (bytes) => bytes.subarray(12) }, // compatible, RFC 4291
  { range: cidr("::ffff:0:0:0/96"), read: (bytes) => bytes.subarray(12) }, // translated, RFC 2765
  { range: cidr("64:ff9b::/96"), read: (bytes) => bytes.subarray(12) }, // NAT64, RFC 6052
  { range: cidr("64:ff9b:1::/48"), read: (bytes) => bytes.subarray(12) }, // local NAT64, RFC 8215
  {
    range: cidr("64:ff9b:1::/48"),
    read: (bytes) => Uint8Array.of(bytes[6] ?? 0, bytes[7] ?? 0, bytes[9] ?? 0, bytes[10] ?? 0),
  },
  { range: cidr("2002::/16"), read: (bytes) => bytes.subarray(2, 6) }, // 6to4, RFC 3056
  { range: cidr("2001::/32"), read: (bytes) => bytes.subarray(4, 8) }, // Teredo server, RFC 4380
  { range: cidr("2001::/32"), read: (bytes) => bytes.subarray(12).map((byte) => byte ^ 0xff) }, // Teredo client
];

/** Every IPv4 address that dialling this one could reach. */
export function embeddedAddresses(bytes: Uint8Array): Uint8Array[] {
  if (bytes.length === 4) return [];
  const found = embeddings.filter(({ range }) => cidrHolds(range, bytes)).map(({ read }) => read(bytes));
  if (isIsatap(bytes)) found.push(bytes.subarray(12));
  return found;
}

/** The IANA registry of special-purpose IPv4 addresses (RFC 6890 and later), as of 2025, and multicast. */
const specialIpv4 = [
  "0.0.0.0/8", // this network
  "10.0.0.0/8", // private
  "100.64.0.0/10", // shared by carriers, and by overlay networks
  "127.0.0.0/8", // loopback
  "169.254.0.0/16", // link-local
  "172.16.0.0/12", // private
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.31.196.0/24", // AS112
  "192.52.193.0/24", // AMT
  "192.88.99.0/24", // 6to4 relays, deprecated
  "192.168.0.0/16", // private
  "192.175.48.0/24", // AS112
  "198.18.0.0/15", // benchmarking
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "224.0.0.0/4", // multicast
  "240.0.0.0/4", // reserved, and broadcast
].map(cidr);

/** Global unicast is 2000::/3: whatever lies outside is loopback, local, multicast or not assigned. */
const globalIpv6 = cidr("2000::/3");
/** The registry of special-purpose IPv6 addresses, as far as it lies inside of global unicast. */
const specialIpv6 = [
  "2001::/23", // protocol assignments: Teredo, benchmarking, ORCHID, drone identifiers and more
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4
  "2620:4f:8000::/48", // AS112
  "3fff::/20", // documentation
].map(cidr);
const nat64 = cidr("64:ff9b::/96");

/**
 * Is this address anything but an ordinary public one? NAT64 addresses are what they embed, and an ISATAP address is
 * special when that is what it embeds; every other way to wrap an IPv4 address is special by itself.
 */
export function isSpecialAddress(bytes: Uint8Array): boolean {
  const address = unmapIp(bytes);
  if (address.length === 4) return specialIpv4.some((range) => cidrHolds(range, address));
  if (cidrHolds(nat64, address)) return isSpecialAddress(address.subarray(12));
  if (!cidrHolds(globalIpv6, address) || specialIpv6.some((range) => cidrHolds(range, address))) return true;
  return isIsatap(address) && isSpecialAddress(address.subarray(12));
}

/** Whatever is configured, these stay shut: they hand out the machine's own cloud credentials. */
const metadataServices = [
  "169.254.169.254", // AWS, GCP, Azure, Oracle, DigitalOcean, Hetzner, IBM and most others
  "169.254.170.2", // ECS tasks
  "169.254.170.23", // EKS pods
  "169.254.0.23", // Tencent
  "169.254.42.42", // Scaleway
  "100.100.100.200", // Alibaba
  "168.63.129.16", // Azure's host
  "192.0.0.192", // Oracle, earlier
  "fd00:ec2::254", // AWS
  "fd00:ec2::23", // EKS pods
  "fd00:42::42", // Scaleway
  "fd00:c1::a9fe:a9fe", // Oracle
  "fd20:ce::254", // GCP
  "fe80::a9fe:a9fe", // OpenStack
].map(cidr);

export function isMetadataService(address: Uint8Array): boolean {
  return metadataServices.some((range) => cidrHolds(range, address));
}

const metadataNames: ReadonlySet<string> = new Set([
  "instance-data",
  "instance-data.ec2.internal",
  "metadata",
  "metadata.goog",
  "metadata.google.internal",
  "metadata.tencentyun.com",
]);

/** Names that stand for a special address. They matter where only another program resolves names. */
export function isSpecialName(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || metadataNames.has(host);
}
