/** The first message of a TLS client, read without answering it (RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3). */

/** What has arrived is one of these, whatever comes behind. */
export type HelloReading =
  | { readonly kind: "incomplete" }
  | { readonly kind: "not_tls" }
  /** `name` is lower-case; undefined when the client names nobody. */
  | { readonly kind: "hello"; readonly name: string | undefined };

/** A hello with post-quantum key shares has some 2 KiB; nothing honest comes near this. */
const maxHelloBytes = 16 * 1024;
/** Honest clients use one record, or a few; each of them is work for whoever looks at them again with every byte. */
const maxRecords = 64;
const incomplete: HelloReading = { kind: "incomplete" };
const notTls: HelloReading = { kind: "not_tls" };

/** @param bytes everything from the start of the connection. */
export function readClientHello(bytes: Buffer): HelloReading {
  const message = joinRecords(bytes);
  if (message === undefined) return notTls;
  if (message.length < 4) return incomplete;
  if (message[0] !== 1) return notTls;
  const length = message.readUIntBE(1, 3);
  if (length > maxHelloBytes) return notTls;
  if (message.length < 4 + length) return incomplete;
  try {
    return { kind: "hello", name: serverName(message.subarray(4, 4 + length)) };
  } catch {
    return notTls;
  }
}

/** The handshake bytes of the records so far; undefined when these are none. */
function joinRecords(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  let total = 0;
  // The header of the message, in which its length is; it may be cut into records as well.
  let header = Buffer.alloc(0);
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== 22 || (bytes.length > at + 1 && bytes[at + 1] !== 3)) return undefined;
    if (bytes.length < at + 5) break;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > 16_384 || parts.length >= maxRecords) return undefined;
    const part = bytes.subarray(at + 5, at + 5 + length);
    parts.push(part);
    total += part.length;
    if (total > maxHelloBytes + 4) return undefined;
    at += 5 + length;
    if (header.length < 4) header = Buffer.concat([header, part]).subarray(0, 4);
    if (header.length === 4 && 4 + header.readUIntBE(1, 3) <= total) break; // what follows is the client's own business
  }
  return Buffer.concat(parts);
}

/** @throws when a length does not fit. */
function serverName(body: Buffer): string | undefined {
  const reader = new Reader(body);
  reader.skip(2 + 32); // version, random
  reader.vector(1); // session id
  reader.vector(2); // cipher suites
  reader.vector(1); // compression methods
  if (reader.isAtEnd) return undefined;
  const extensions = new Reader(reader.vector(2));
  if (!reader.isAtEnd) throw new Error("surplus");
  let name: string | undefined;
  while (!extensions.isAtEnd) {
    const type = extensions.number(2);
    const value = extensions.vector(2);
    if (type !== 0) continue;
    // Two of them would be read in two ways.
    if (name !== undefined) throw new Error("repeated");
    name = hostName(new Reader(value));
  }
  return name;
}

function hostName(extension: Reader): string {
  const list = new Reader(extension.vector(2));
  const type = list.number(1);
  const name = list.vector(2);
  if (type !== 0 || !list.isAtEnd || !extension.isAtEnd || name.length === 0) throw new Error("no single host name");
  return name.toString("latin1").toLowerCase();
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  skip(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new Error("too short");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(size: number): number {
    return this.skip(size).readUIntBE(0, size);
  }

  /** Bytes behind a length of `size` bytes. */
  vector(size: number): Buffer {
    return this.skip(this.number(size));
  }
}
