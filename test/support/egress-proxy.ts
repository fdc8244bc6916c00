import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { TestAuthority } from "./test-authority.ts";

export interface EgressProxySetup {
  readonly kind: "http" | "https" | "socks5";
  /** For `https`: who vouches for it as `127.0.0.1` and `proxy.test`. */
  readonly authority?: TestAuthority;
  /** `user:password`, when it wants a login. */
  readonly login?: string;
  /** Bytes that it answers instead of doing what it is asked, after that many bytes of request. */
  readonly script?: (socket: Socket, received: Buffer) => void;
}

/** A proxy as companies have them. Every name is this machine to it. */
export class TestEgressProxy implements AsyncDisposable {
  readonly port: number;
  /** What it was asked for, as `host:port`, in the spelling that it was asked in. */
  readonly asked: string[];
  /** Everything that was sent to it before tunnels were open, as latin1. */
  readonly received: string[];
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, state: Pick<TestEgressProxy, "asked" | "received">, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
    this.asked = state.asked;
    this.received = state.received;
  }

  static async start(setup: EgressProxySetup): Promise<TestEgressProxy> {
    const asked: string[] = [];
    const received: string[] = [];
    const sockets = new Set<Socket>();
    const onSocket = (socket: Socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => socket.destroy());
      const at = received.push("") - 1;
      const note = (chunk: Buffer) => {
        received[at] += chunk.toString("latin1");
      };
      const peer = new Peer(socket, note);
      if (setup.script) void runScript(peer, setup.script);
      else
        void (setup.kind === "socks5" ? serveSocks : serveConnect)(peer, setup.login, asked).catch(() =>
          socket.destroy(),
        );
    };
    const server =
      setup.kind === "https" && setup.authority
        ? createTlsServer(await setup.authority.issue(["127.0.0.1", "proxy.test"]), onSocket)
        : createServer(onSocket);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new TestEgressProxy(server, { asked, received }, sockets);
  }

  /** Tunnels and half-open requests. */
  get openSockets(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

/** Reads a request piece by piece. */
class Peer {
  readonly socket: Socket;
  buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  readonly #onData: (chunk: Buffer) => void;

  constructor(socket: Socket, note: (chunk: Buffer) => void) {
    this.socket = socket;
    this.#onData = (chunk) => {
      note(chunk);
      this.buffer = Buffer.concat([this.buffer, chunk]);
      this.#wake?.();
    };
    socket.on("data", this.#onData);
    socket.on("close", () => this.#wake?.());
  }

  async bytes(count: number): Promise<Buffer> {
    while (this.buffer.length < count) await this.more();
    const taken = this.buffer.subarray(0, count);
    this.buffer = this.buffer.subarray(count);
    return taken;
  }

  async head(): Promise<string> {
    for (;;) {
      const end = this.buffer.indexOf("\r\n\r\n");
      if (end !== -1) return (await this.bytes(end + 4)).toString("latin1");
      await this.more();
    }
  }

  async more(): Promise<void> {
    if (this.socket.destroyed) throw new Error("gone");
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** From here on the socket is a wire. */
  async join(port: number, answer: Uint8Array | string): Promise<void> {
    const upstream = connect({ host: "127.0.0.1", port });
    upstream.on("error", () => this.socket.destroy());
    await once(upstream, "connect");
    this.socket.removeListener("data", this.#onData);
    this.socket.write(answer);
    if (this.buffer.length > 0) upstream.write(this.buffer);
    this.socket.on("close", () => upstream.destroy());
    upstream.on("close", () => this.socket.destroy());
    this.socket.pipe(upstream);
    upstream.pipe(this.socket);
  }
}

async function runScript(peer: Peer, script: (socket: Socket, received: Buffer) => void): Promise<void> {
  try {
    for (;;) {
      await peer.more();
      script(peer.socket, peer.buffer);
    }
  } catch {
    // The peer is gone.
  }
}

async function serveConnect(peer: Peer, login: string | undefined, asked: string[]): Promise<void> {
  const head = await peer.head();
  const [, authority = ""] = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head) ?? [];
  const wanted = login === undefined ? undefined : `Basic ${Buffer.from(login).toString("base64")}`;
  const [, given] = /^proxy-authorization: (.*)\r$/im.exec(head) ?? [];
  if (given !== wanted) {
    peer.socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    return;
  }
  asked.push(authority);
  await peer.join(Number(authority.split(":").at(-1)), "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
}

async function serveSocks(peer: Peer, login: string | undefined, asked: string[]): Promise<void> {
  const [, count = 0] = await peer.bytes(2);
  const methods = [...(await peer.bytes(count))];
  const method = login === undefined ? 0 : 2;
  if (!methods.includes(method)) {
    peer.socket.end(Uint8Array.of(5, 255));
    return;
  }
  peer.socket.write(Uint8Array.of(5, method));
  if (login !== undefined) {
    const [, userLength = 0] = await peer.bytes(2);
    const user = await peer.bytes(userLength);
    const [passwordLength = 0] = await peer.bytes(1);
    const given = `${user}:${await peer.bytes(passwordLength)}`;
    peer.socket.write(Uint8Array.of(1, given === login ? 0 : 1));
    if (given !== login) return;
  }
  const [, , , type] = await peer.bytes(4);
  const host = await readAddress(peer, type ?? 0);
  const port = (await peer.bytes(2)).readUInt16BE();
  asked.push(`${host}:${port}`);
  await peer.join(port, Uint8Array.of(5, 0, 0, 3, 4, 98, 121, 116, 101, 0, 0));
}

async function readAddress(peer: Peer, type: number): Promise<string> {
  if (type === 1) return [...(await peer.bytes(4))].join(".");
  if (type === 4) return (await peer.bytes(16)).toString("hex");
  const [length = 0] = await peer.bytes(1);
  return (await peer.bytes(length)).toString("latin1");
}
