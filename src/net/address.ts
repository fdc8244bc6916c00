import { InvalidInput } from "../errors.ts";

/** Hosts, ports and IP addresses as they are written, in one spelling from here on. */

export interface Authority {
  /** A lower-case DNS name without trailing dot, or an IP address in its shortest form without brackets. */
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `host:port` or `[v6]:port`. Nothing else may be there: no user, no path, no zone.
 *
 * @throws {InvalidInput} `invalid_host` or `invalid_port`.
 */
export function parseAuthority(text: string, defaultPort?: number): Authority {
  const bracket = text.startsWith("[") ? text.indexOf("]") + 1 : 0;
  if (text.startsWith("[") && bracket === 0) throw badHost("An IPv6 address must end with a bracket");
  const colon = text.indexOf(":", bracket);
  if (colon === -1 && defaultPort === undefined) throw badPort();
  if (bracket > 0 && colon !== bracket && text.length !== bracket)
    throw badHost("After an IPv6 address comes its port");
  const host = parseHost(colon === -1 ? text : text.slice(0, colon));
  return { host, port: colon === -1 ? (defaultPort ?? 0) : parsePort(text.slice(colon + 1)) };
}

/** @throws {InvalidInput} `invalid_port` for anything but 1 to 65535 in decimal digits. */
export function parsePort(text: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65535) throw badPort();
  return port;
}

const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * A host in its one spelling: `API.Example.com.` becomes `api.example.com`, `[0::1]` becomes `::1`.
 *
 * Names whose last label is a number (`127.1`, `0x7f000001`, `2130706433`) are refused: resolvers read them as
 * addresses, and which one is a matter of taste.
 *
 * @throws {InvalidInput} `invalid_host`.
 */
export function parseHost(text: string): string {
  if (text.startsWith("[")) {
    const bytes = text.endsWith("]") ? parseIpv6(text.slice(1, -1)) : undefined;
    if (!bytes) throw badHost("Between brackets there must be an IPv6 address without a zone");
    return formatIp(bytes);
  }
  const name = (text.endsWith(".") ? text.slice(0, -1) : text).toLowerCase();
  if (name === "" || name.length > 253) throw badHost("A host must have 1 to 253 characters");
  const labels = name.split(".");
  if (isNumber(labels.at(-1) ?? "")) {
    if (text.endsWith(".") || !parseIpv4(name))
      throw badHost("An IPv4 address must be four decimal numbers from 0 to 255");
    return name;
  }
  if (!labels.every((part) => label.test(part))) {
    throw badHost(
      "A host name must consist of letters, digits, hyphens, underscores and dots (use the xn-- form for others)",
    );
  }
  return name;
}

/** The end of a name that is a number to the WHATWG URL parser, and so to many clients. */
function isNumber(part: string): boolean {
  return /^([0-9]+|0x[0-9a-f]*)$/.test(part);
}

export function isIpLiteral(host: string): boolean {
  return parseIp(host) !== undefined;
}

/** `host:port`, with the brackets that an IPv6 address needs. */
export function formatAuthority({ host, port }: Authority): string {
  return `${bracketed(host)}:${port}`;
}

export function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** The 4 or 16 bytes of an address, without brackets; undefined for anything else, zones included. */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? "", halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (!head || !tail) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail]);
}

/** Groups between colons as bytes; the last may be dotted decimal when nothing follows it. */
function parseGroups(text: string, mayEndDotted: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [at, group] of groups.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else {
      const dotted = mayEndDotted && at === groups.length - 1 ? parseIpv4(group) : undefined;
      if (!dotted) return undefined;
      bytes.push(...dotted);
    }
  }
  return bytes.length > 16 ? undefined : bytes;
}

/** Dotted decimal, or RFC 5952 without its dotted exceptions. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start += 1) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (best.start === -1) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}

export interface Cidr {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/** `10.0.0.0/8`, `::1` or `::1/128`; undefined when it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = "", bitsText, ...more] = text.trim().split("/");
  const bytes = parseIp(address);
  if (!bytes || more.length > 0) return undefined;
  const max = bytes.length * 8;
  if (bitsText === undefined) return { bytes, bits: max };
  const bits = /^[0-9]{1,3}$/.test(bitsText) ? Number(bitsText) : max + 1;
  return bits > max ? undefined : { bytes, bits };
}

export function cidrHolds({ bytes, bits }: Cidr, address: Uint8Array): boolean {
  if (bytes.length !== address.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i += 1) if (bytes[i] !== address[i]) return false;
  const rest = bits & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((bytes[whole] ?? 0) & mask) === ((address[whole] ?? 0) & mask);
}

/** As `parseCidr`, for what was checked before, or stands in the code. @throws {Error} when it is neither. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed) throw new Error(`${text} is not an address or network`);
  return parsed;
}

const mapped = cidr("::ffff:0:0/96");

/** An IPv4-mapped IPv6 address is the IPv4 address: the kernel dials it as such. */
export function unmapIp(bytes: Uint8Array): Uint8Array {
  return cidrHolds(mapped, bytes) ? bytes.subarray(12) : bytes;
}

/** Is every address of `inner` in `outer`? */
export function cidrCovers(outer: Cidr, inner: Cidr): boolean {
  return outer.bits <= inner.bits && cidrHolds(outer, inner.bytes);
}

/** What limits count as one client: one person owns a whole /64 of IPv6. */
export function limitKeyOf(address: string): string {
  const bytes = parseIp(address);
  const plain = bytes && unmapIp(bytes);
  if (plain === undefined) return address;
  return plain.length === 16 ? `${formatIp(plain.slice().fill(0, 8))}/64` : formatIp(plain);
}

const loopbacks = ["127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"].map(cidr);

/** Does dialling it reach this machine without a name for it? The unspecified addresses do, on Linux. */
export function isLoopback(bytes: Uint8Array): boolean {
  const address = unmapIp(bytes);
  return loopbacks.some((range) => cidrHolds(range, address));
}

/** Is this a way to write the loopback interface, so that what listens on it is reached from this machine alone? */
export function isLoopbackHost(host: string): boolean {
  if (host.toLowerCase() === "localhost") return true;
  const bytes = parseIp(host);
  if (bytes === undefined) return false;
  const address = unmapIp(bytes);
  return address.length === 4 ? address[0] === 127 : address.every((byte, at) => byte === (at === 15 ? 1 : 0));
}

function badHost(message: string): InvalidInput {
  return new InvalidInput("invalid_host", message);
}

function badPort(): InvalidInput {
  return new InvalidInput("invalid_port", "The target must be host:port with a port from 1 to 65535");
}
