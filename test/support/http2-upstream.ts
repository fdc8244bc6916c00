import type { AddressInfo, Socket } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { Flag, FrameType } from "../../src/proxy/http2/frame.ts";
import { FrameReader } from "../../src/proxy/http2/frame-reader.ts";
import { HpackDecoder } from "../../src/proxy/http2/hpack-decoder.ts";
import { Http2Wire } from "./http2-wire.ts";
import type { TestAuthority } from "./test-authority.ts";

const limits = { maxBytes: 1024 * 1024, maxFields: 2000 };

/** One connection of the upstream below. */
export class UpstreamWire extends Http2Wire {
  readonly number: number;
  /** Streams that the broker took back, and why. */
  readonly resets: [streamId: number, code: number][] = [];
  goaway: { readonly code: number; readonly text: string } | undefined;
  pings = 0;

  constructor(number: number, socket: Socket) {
    super(socket);
    this.number = number;
  }

  answer(streamId: number, body: string, status = "200"): void {
    this.headers(streamId, [":status", status]);
    this.data(streamId, body, true);
  }
}

export interface UpstreamRequest {
  readonly wire: UpstreamWire;
  readonly streamId: number;
  readonly fields: readonly string[];
  readonly endsStream: boolean;
  /** The header block as it came. */
  readonly block: Buffer;
}

/** An upstream that speaks HTTP/2, and says whatever frames it is told to; HTTP/1.1 to those that offer only that. */
export class Http2Upstream implements AsyncDisposable {
  readonly wires: UpstreamWire[] = [];
  readonly requests: UpstreamRequest[] = [];
  /** What arrived of bodies, by connection and stream. */
  readonly bodies = new Map<string, string>();
  http1Requests = 0;
  onRequest: (request: UpstreamRequest) => void = ({ wire, streamId }) => wire.answer(streamId, "ok");
  onData: (wire: UpstreamWire, streamId: number, endsStream: boolean) => void = () => undefined;
  /** SETTINGS of each new connection: pairs of number and value. */
  settings: readonly (readonly [number, number])[] = [];
  protocols = ["h2", "http/1.1"];
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets = new Set<Socket>();

  private constructor(certificate: { cert: string; key: string }) {
    this.#server = createServer(
      { ...certificate, ALPNCallback: ({ protocols }) => this.protocols.find((one) => protocols.includes(one)) },
      (socket) => this.#serve(socket),
    );
  }

  static async start(authority: TestAuthority, names: readonly string[]): Promise<Http2Upstream> {
    const upstream = new Http2Upstream(await authority.issue(names));
    await new Promise<void>((resolve) => upstream.#server.listen(0, "127.0.0.1", resolve));
    return upstream;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  bodyOf(wire: UpstreamWire, streamId: number): string {
    return this.bodies.get(`${wire.number} ${streamId}`) ?? "";
  }

  #serve(socket: TLSSocket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    if (socket.alpnProtocol === "h2") this.#serveHttp2(socket);
    else {
      socket.on("data", () => {
        this.http1Requests += 1;
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhttp");
      });
    }
  }

  #serveHttp2(socket: Socket): void {
    const wire = new UpstreamWire(this.wires.length, socket);
    this.wires.push(wire);
    const payload = Buffer.alloc(this.settings.length * 6);
    for (const [at, [id, value]] of this.settings.entries()) {
      payload.writeUInt16BE(id, at * 6);
      payload.writeUInt32BE(value, at * 6 + 2);
    }
    wire.frame(FrameType.settings, 0, 0, payload);
    const decoder = new HpackDecoder();
    const reader = new FrameReader(
      {
        onFrame: (type, flags, streamId, bytes) => {
          if (type === FrameType.headers) {
            const fields = decoder.decode(bytes, limits) ?? [];
            const endsStream = (flags & Flag.endStream) !== 0;
            const request = { wire, streamId, fields, endsStream, block: Buffer.from(bytes) };
            if (fields[0] !== ":method") return;
            this.requests.push(request);
            this.onRequest(request);
          } else if (type === FrameType.ping && (flags & Flag.ack) === 0) {
            wire.pings += 1;
            wire.frame(FrameType.ping, Flag.ack, 0, Buffer.from(bytes));
          } else if (type === FrameType.rstStream) wire.resets.push([streamId, bytes.readUInt32BE(0)]);
          else if (type === FrameType.goaway) {
            wire.goaway = { code: bytes.readUInt32BE(4), text: bytes.toString("latin1", 8) };
          }
        },
        onDataStart: () => undefined,
        onDataBytes: (streamId, bytes) => {
          const key = `${wire.number} ${streamId}`;
          this.bodies.set(key, (this.bodies.get(key) ?? "") + bytes.toString("latin1"));
        },
        onDataEnd: (streamId, endsStream) => this.onData(wire, streamId, endsStream),
      },
      { expectsPreface: true },
    );
    socket.on("data", (chunk) => reader.push(chunk));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
