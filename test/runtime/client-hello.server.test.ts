import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createServerContext, requestedName, terminateTls } from "../../src/runtime/tls.ts";
import { TestAuthority } from "../support/test-authority.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 150) };

/** Whatever a stranger sends where a ClientHello belongs: the process that reads it serves everybody. */
describe("a ClientHello", () => {
  let door: Door;
  let authority: TestAuthority;
  let hello: Buffer;

  beforeAll(async () => {
    authority = await TestAuthority.create();
    door = await Door.open(authority);
    hello = await captureHello("api.example.test");
  });

  afterAll(() => door[Symbol.asyncDispose]());

  it("may come in any pieces, and partly ahead of the answer to CONNECT", async () => {
    const property = fc.asyncProperty(
      fc.nat(hello.length),
      fc.array(fc.nat(hello.length), { maxLength: 4 }),
      async (early, places) => {
        const rest = cut(hello.subarray(early), places);
        const answer = await door.send(hello.subarray(0, early), rest);
        // 0x16 0x03: a handshake record, the ServerHello.
        expect(answer.subarray(0, 2)).toEqual(Buffer.of(0x16, 0x03));
      },
    );
    await fc.assert(property, { numRuns: Math.ceil(runs.numRuns / 3) });
  });

  it("that is damaged ends its connection and nothing else", async () => {
    const edit = fc.record({ at: fc.nat(2000), remove: fc.nat(4), insert: fc.uint8Array({ maxLength: 4 }) });
    const property = fc.asyncProperty(
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.nat(600),
      async (edits, early) => {
        const damaged = edits.reduce((all, { at, remove, insert }) => {
          const start = at % (all.length + 1);
          return Buffer.concat([all.subarray(0, start), insert, all.subarray(start + remove)]);
        }, hello);
        await door.send(damaged.subarray(0, early), [damaged.subarray(early)]);
      },
    );
    await fc.assert(property, runs);
    expect(await nameAsRead("still.example.test")).toBe("still.example.test");
  });

  it("that is none ends its connection and nothing else", async () => {
    const property = fc.asyncProperty(
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.concat([Buffer.of(22, 3, 1, 0, bytes.length), bytes])),
        fc
          .constantFrom("GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01\xff\xff", "\x80\x2e\x01\x00\x02")
          .map((text) => Buffer.from(text, "latin1")),
      ),
      async (bytes) => {
        const answer = await door.send(Buffer.from(bytes), []);
        // An alert at most; never a handshake.
        expect(answer[0] ?? 0x15).toBe(0x15);
      },
    );
    await fc.assert(property, runs);
    expect(await nameAsRead("still.example.test")).toBe("still.example.test");
  });

  it("names the host that another TLS server reads in it", async () => {
    const label = fc.string({ unit: fc.constantFrom(..."abcXYZ019-_"), minLength: 1, maxLength: 12 });
    const property = fc.asyncProperty(fc.array(label, { minLength: 1, maxLength: 5 }), async (labels) => {
      const name = labels.join(".");
      const [ours, theirs] = [await nameAsRead(name), await nameAsOthersReadIt(name)];
      expect(ours ?? "").toBe(theirs.toLowerCase());
    });
    await fc.assert(property, { numRuns: Math.ceil(runs.numRuns / 3) });
  });

  it("names nobody where it has no name", async () => {
    expect(await nameAsRead(undefined)).toBeUndefined();
  });

  /** What the code under test says, after a whole handshake. */
  async function nameAsRead(servername: string | undefined): Promise<string | undefined> {
    const named = door.nextName();
    const client = connectTls({ host: "127.0.0.1", port: door.port, ca: authority.pem, ...sni(servername) });
    client.on("error", () => undefined);
    const name = await named;
    client.destroy();
    return name;
  }

  async function nameAsOthersReadIt(servername: string): Promise<string> {
    const server = createTlsServer(await authority.issue(["x.test"]));
    server.on("tlsClientError", () => undefined);
    const port = await listening(server);
    const named = new Promise<string>((resolve) =>
      server.once("secureConnection", (socket: TLSSocket) => {
        resolve(socket.servername || "");
        socket.destroy();
      }),
    );
    const client = connectTls({ host: "127.0.0.1", port, ca: authority.pem, ...sni(servername) });
    client.on("error", () => undefined);
    const name = await named;
    client.destroy();
    server.close();
    return name;
  }
});

const sni = (servername: string | undefined) => ({
  ...(servername !== undefined && { servername }),
  checkServerIdentity: () => undefined,
});

/** A listener that ends TLS on each connection as a tunnel does, after the first `earlyBytes` of it were read. */
class Door implements AsyncDisposable {
  readonly #server: Server;
  #onName: (name: string | undefined) => void = () => undefined;
  #earlyBytes = 0;
  #closed = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(authority: TestAuthority): Promise<Door> {
    const { cert, key } = await authority.issue(["x.test"]);
    const context = createServerContext(String(cert), String(key));
    const server = createServer();
    const door = new Door(server);
    server.on("connection", (socket) => door.#serve(socket, context));
    await listening(server);
    return door;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  nextName(): Promise<string | undefined> {
    this.#earlyBytes = 0;
    return new Promise((resolve) => {
      this.#onName = resolve;
    });
  }

  /** Sends bytes, ends, and returns what came back until the other side had closed. */
  async send(early: Buffer, rest: readonly Buffer[]): Promise<Buffer> {
    this.#earlyBytes = early.length;
    const closedBefore = this.#closed;
    const socket = connect({ host: "127.0.0.1", port: this.port, noDelay: true });
    const received: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => received.push(chunk));
    socket.on("error", () => undefined);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    if (early.length > 0) socket.write(early);
    for (const part of rest) if (part.length > 0) socket.write(part);
    if (isHello(received)) socket.destroy();
    else setTimeout(() => socket.end(), 15);
    await closed;
    await expect.poll(() => this.#closed, { interval: 2, timeout: 5_000 }).toBe(closedBefore + 1);
    return Buffer.concat(received);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket, context: Parameters<typeof terminateTls>[1]): void {
    socket.on("error", () => undefined);
    socket.once("close", () => this.#closed++);
    const need = this.#earlyBytes;
    const start = (early: Buffer) => {
      const secure = terminateTls(socket, context, early);
      const end = () => {
        secure.destroy();
        socket.destroy();
      };
      secure.once("secure", () => {
        this.#onName(requestedName(secure));
        end();
      });
      secure.on("error", end);
      secure.once("close", end);
      // A client that goes away in the middle of its handshake; a tunnel has a deadline besides.
      socket.once("end", end);
    };
    if (need === 0) {
      start(Buffer.alloc(0));
      return;
    }
    let early = Buffer.alloc(0);
    const collect = (chunk: Buffer) => {
      early = Buffer.concat([early, chunk]);
      if (early.length < need) return;
      socket.removeListener("data", collect);
      start(early);
    };
    socket.on("data", collect);
    socket.once("end", () => socket.destroy());
  }
}

const isHello = (received: readonly Buffer[]) => received[0]?.[0] === 0x16;

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** The bytes with which a TLS client opens. */
async function captureHello(servername: string): Promise<Buffer> {
  const server = createServer();
  const port = await listening(server);
  const arrived = new Promise<Buffer>((resolve) => server.once("connection", (socket) => socket.once("data", resolve)));
  const client = connectTls({ host: "127.0.0.1", port, servername });
  client.on("error", () => undefined);
  const bytes = await arrived;
  client.destroy();
  server.close();
  return bytes;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => bytes.subarray(borders[i], end));
}
