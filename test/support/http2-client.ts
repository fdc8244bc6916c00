import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { clientPreface, Flag, FrameType, writeFrame, writeNumber } from "../../src/proxy/http2/frame.ts";
import { FrameReader } from "../../src/proxy/http2/frame-reader.ts";
import { HpackDecoder } from "../../src/proxy/http2/hpack-decoder.ts";
import { Http2Wire } from "./http2-wire.ts";

const limits = { maxBytes: 1024 * 1024, maxFields: 2000 };

export interface Http2Answer {
  /** Interim ones and the final one, each with its fields. */
  readonly heads: (readonly string[])[];
  body: string;
  trailers: readonly string[] | undefined;
  /** Did the stream end with its (last) head? */
  endedWithHead: boolean;
  isComplete: boolean;
  resetCode: number | undefined;
}

/** A client that says whatever frames it is told to, and notes what comes back. It opens every window far. */
export class Http2Client extends Http2Wire implements AsyncDisposable {
  readonly answers = new Map<number, Http2Answer>();
  /** Code and text of the peer's GOAWAY. */
  goaway: { readonly lastStreamId: number; readonly code: number; readonly text: string } | undefined;
  isClosed = false;
  pings = 0;
  /** Settings of the peer. */
  readonly settings = new Map<number, number>();
  readonly #decoder = new HpackDecoder();
  readonly #granted = new Map<number, number>();
  #nextId = 1;
  #block: Buffer = Buffer.alloc(0);
  #blockEnds = false;
  #wake: (() => void)[] = [];

  constructor(socket: Socket, options: { readonly opensWindows?: boolean } = {}) {
    super(socket);
    const reader = new FrameReader(
      {
        onFrame: (type, flags, streamId, payload) => this.#onFrame(type, flags, streamId, payload),
        onDataStart: () => undefined,
        onDataBytes: (streamId, bytes) => {
          this.answer(streamId).body += bytes.toString("latin1");
        },
        onDataEnd: (streamId, ends) => {
          if (ends) this.answer(streamId).isComplete = true;
        },
      },
      { expectsPreface: false },
    );
    socket.on("data", (chunk) => {
      reader.push(chunk);
      this.#notify();
    });
    for (const event of ["close", "end", "error"]) {
      socket.on(event, () => {
        this.isClosed = true;
        this.#notify();
      });
    }
    socket.write(clientPreface);
    const payload = Buffer.alloc(6);
    payload.writeUInt16BE(4, 0);
    payload.writeUInt32BE(options.opensWindows === false ? 0 : 0x7fff_ffff, 2);
    writeFrame(this.out, FrameType.settings, { payload });
    if (options.opensWindows !== false) writeNumber(this.out, FrameType.windowUpdate, 0, 0x3fff_ffff);
  }

  /** TLS on a socket behind a CONNECT, with these protocols. */
  static async secure(
    socket: Socket,
    options: { servername: string; ca: string; opensWindows?: boolean },
  ): Promise<Http2Client> {
    const secure = connectTls({ socket, servername: options.servername, ca: [options.ca], ALPNProtocols: ["h2"] });
    await once(secure, "secureConnect");
    return new Http2Client(secure, options);
  }

  /** By how much the peer has grown a window. */
  granted(streamId: number): number {
    return this.#granted.get(streamId) ?? 0;
  }

  answer(streamId: number): Http2Answer {
    const known = this.answers.get(streamId);
    if (known) return known;
    const answer: Http2Answer = {
      heads: [],
      body: "",
      trailers: undefined,
      endedWithHead: false,
      isComplete: false,
      resetCode: undefined,
    };
    this.answers.set(streamId, answer);
    return answer;
  }

  /** Begins a request; returns its stream. */
  begin(fields: readonly string[], endsStream = true): number {
    const streamId = this.#nextId;
    this.#nextId += 2;
    this.headers(streamId, fields, endsStream);
    return streamId;
  }

  /** A whole request and its answer. */
  async ask(fields: readonly string[], body?: string): Promise<Http2Answer> {
    const streamId = this.begin(fields, body === undefined);
    if (body !== undefined) this.data(streamId, body, true);
    return await this.over(streamId);
  }

  /** When the stream is complete, reset, or gone with the connection. */
  async over(streamId: number): Promise<Http2Answer> {
    const answer = this.answer(streamId);
    await this.until(() => answer.isComplete || answer.resetCode !== undefined);
    return answer;
  }

  /** Also returns when the connection is closed. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds() && !this.isClosed) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async closed(): Promise<void> {
    await this.until(() => false);
  }

  #onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (type === FrameType.headers || type === FrameType.continuation) {
      this.#block = type === FrameType.headers ? Buffer.from(payload) : Buffer.concat([this.#block, payload]);
      if (type === FrameType.headers) this.#blockEnds = (flags & Flag.endStream) !== 0;
      if ((flags & Flag.endHeaders) !== 0) this.#onFields(streamId, this.#decoder.decode(this.#block, limits) ?? []);
    } else if (type === FrameType.rstStream) this.answer(streamId).resetCode = payload.readUInt32BE(0);
    else if (type === FrameType.goaway) {
      const text = payload.toString("latin1", 8);
      this.goaway = { lastStreamId: payload.readUInt32BE(0), code: payload.readUInt32BE(4), text };
    } else if (type === FrameType.windowUpdate) {
      this.#granted.set(streamId, this.granted(streamId) + payload.readUInt32BE(0));
    } else if (type === FrameType.ping) this.pings += 1;
    else if (type === FrameType.settings && (flags & Flag.ack) === 0) {
      for (let at = 0; at < payload.length; at += 6) {
        this.settings.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
      }
      writeFrame(this.out, FrameType.settings, { flags: Flag.ack, payload: Buffer.alloc(0) });
    }
  }

  #onFields(streamId: number, fields: readonly string[]): void {
    const answer = this.answer(streamId);
    if (fields[0] === ":status") answer.heads.push(fields);
    else answer.trailers = fields;
    if (!this.#blockEnds) return;
    answer.endedWithHead = fields[0] === ":status";
    answer.isComplete = true;
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
  }
}

/** The pseudo-headers of a request, and more fields. */
export function requestFieldsFor(
  authority: string,
  path: string,
  more: readonly string[] = [],
  method = "GET",
): string[] {
  return [":method", method, ":scheme", "https", ":authority", authority, ":path", path, ...more];
}

/** The value of a field in the final head. */
export function fieldOf(answer: Http2Answer, name: string): string | undefined {
  const head = answer.heads.at(-1) ?? [];
  const at = head.findIndex((text, index) => index % 2 === 0 && text === name);
  return at === -1 ? undefined : head[at + 1];
}
