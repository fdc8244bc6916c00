import { createSocket, type Socket } from "node:dgram";

/** Records of one name; a name without an entry does not exist. */
export interface Zone {
  readonly a?: readonly string[];
  readonly aaaa?: readonly string[];
  readonly ttl?: number;
  /** What the server does instead of answering. */
  readonly fails?: "servfail" | "silent" | "silent-aaaa";
}

const types = { a: 1, aaaa: 28 } as const;

/** A DNS server on a port of its own, whose records a test can change as it likes. */
export class DnsServer implements AsyncDisposable {
  readonly zones: Record<string, Zone>;
  /** `A name` or `AAAA name`, one entry for each query. */
  readonly queries: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket, zones: Record<string, Zone>) {
    this.#socket = socket;
    this.zones = zones;
    socket.on("message", (query, peer) => {
      const answer = this.#answer(query);
      if (answer) socket.send(answer, peer.port, peer.address);
    });
  }

  static async start(zones: Record<string, Zone>): Promise<DnsServer> {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    return new DnsServer(socket, zones);
  }

  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  #answer(query: Buffer): Buffer | undefined {
    const { name, end } = readName(query);
    const isAaaa = query.readUInt16BE(end) === types.aaaa;
    this.queries.push(`${isAaaa ? "AAAA" : "A"} ${name}`);
    const zone = this.zones[name];
    if (zone?.fails === "silent" || (zone?.fails === "silent-aaaa" && isAaaa)) return undefined;
    const addresses = (isAaaa ? zone?.aaaa : zone?.a) ?? [];
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    const code = zone === undefined ? 3 : zone.fails === "servfail" ? 2 : 0;
    header.writeUInt16BE(0x8180 | code, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(addresses.length, 6);
    const records = addresses.map((address) => record(isAaaa, address, zone?.ttl ?? 60));
    return Buffer.concat([header, query.subarray(12, end + 4), ...records]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }
}

/** The name of the question, and where it ends. */
function readName(query: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length !== 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), end: at + 1 };
}

function record(isAaaa: boolean, address: string, ttl: number): Buffer {
  const data = isAaaa ? ipv6(address) : Buffer.from(address.split(".").map(Number));
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc00c, 0); // the name of the question
  head.writeUInt16BE(isAaaa ? types.aaaa : types.a, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(ttl, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function ipv6(text: string): Buffer {
  const [head = "", tail] = text.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [first, last] = [groups(head), groups(tail ?? "")];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
