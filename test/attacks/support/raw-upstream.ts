import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { Certificate } from "../../support/test-authority.ts";
import { valuesOf } from "./wire.ts";

/** One connection as the upstream sees it. */
export interface UpstreamConnection {
  /** Counts from 0, over all connections of this upstream. */
  readonly number: number;
  /** Everything received on it so far, latin1. */
  readonly received: string;
  send(bytes: string): void;
  /** Ends it in good order. */
  end(): void;
  /** Ends it with a reset where the system can. */
  reset(): void;
}

/** Called when bytes arrive and what came so far ends a head or goes on after one. */
export type Script = (connection: UpstreamConnection) => void;

/**
 * An upstream that looks at bytes and knows no rules: what reached it is what was sent, and it may answer anything.
 * With a certificate it speaks TLS.
 */
export class RawUpstream implements AsyncDisposable {
  /** Replaced by a test that wants other answers. */
  script: Script;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #received: string[] = [];

  private constructor(server: Server, script: Script) {
    this.#server = server;
    this.script = script;
  }

  static async start(options: { readonly certificate?: Certificate; readonly script?: Script } = {}) {
    const { certificate } = options;
    const server = certificate === undefined ? createServer() : createTlsServer(certificate);
    const upstream = new RawUpstream(server, options.script ?? answerOk);
    server.on(certificate === undefined ? "connection" : "secureConnection", (socket: Socket) =>
      upstream.#serve(socket),
    );
    server.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", () => resolve());
    });
    return upstream;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Everything received since the last `forget`, by connection. */
  get received(): readonly string[] {
    return this.#received;
  }

  /** The heads received, request line and headers each; bodies are not looked at. */
  get heads(): readonly string[] {
    return this.#received.flatMap((text) => text.match(/^[A-Z]+ [^\r\n]* HTTP\/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n/gm) ?? []);
  }

  /** Every value of a header in every head. */
  values(name: string): readonly string[] {
    return this.heads.flatMap((head) => valuesOf(head, name));
  }

  forget(): void {
    this.#received = [];
    this.script = answerOk;
  }

  /** Forgets, and drops connections that a broker may keep for reuse. */
  async reset(): Promise<void> {
    await this.closeAll();
    this.forget();
  }

  /** Drops all connections; what was received stays known. */
  async closeAll(): Promise<void> {
    const closed = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    let received = "";
    let number = -1;
    socket.on("close", () => this.#sockets.delete(socket));
    // The other side may give up at any time: that is what these tests are about.
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      received += text;
      if (number < 0 || number >= this.#received.length) {
        number = this.#received.length;
        this.#received.push("");
      }
      this.#received[number] += text;
      if (!received.includes("\r\n\r\n")) return;
      this.script({
        number,
        received,
        send: (bytes) => void socket.write(Buffer.from(bytes, "latin1")),
        end: () => void socket.end(),
        reset: () => void (socket.resetAndDestroy?.() ?? socket.destroy()),
      });
    });
  }
}

/** Says `ok` to whatever comes. */
export const answerOk: Script = (connection) => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
