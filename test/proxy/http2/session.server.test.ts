import { createHash } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import { type AddressInfo, createServer, connect as netConnect, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { HeaderList } from "../../../src/proxy/http1/fields.ts";
import {
  Flag,
  FrameType,
  writeFrame,
  writeGoaway,
  writeHeaderBlock,
  writeNumber,
} from "../../../src/proxy/http2/frame.ts";
import { FrameReader } from "../../../src/proxy/http2/frame-reader.ts";
import { ErrorCode, type Http2ConnectionError } from "../../../src/proxy/http2/http2-error.ts";
import { Session, type SessionHost } from "../../../src/proxy/http2/session.ts";
import type { Http2Stream, StreamOwner, StreamReset } from "../../../src/proxy/http2/stream.ts";
import { Outboxes } from "../../../src/proxy/outboxes.ts";

/** Our session against Node's, both ways round. */

const settings = { maxConcurrentStreams: 100, initialWindow: 256 * 1024, maxHeaderListBytes: 64 * 1024 };
const fieldLimits = { maxBytes: 64 * 1024, maxFields: 100 };
const cleanUp: (() => void)[] = [];

afterEach(() => {
  for (const work of cleanUp.splice(0)) work();
});

class Echo implements StreamOwner {
  readonly #stream: Http2Stream;
  readonly resets: StreamReset[];

  constructor(stream: Http2Stream, resets: StreamReset[]) {
    this.#stream = stream;
    this.resets = resets;
  }

  onAnswerFields(): void {
    throw new Error("a server hears no answers");
  }

  onData(chunk: Buffer): void {
    this.#stream.sendData(chunk);
    if (!this.#stream.flush()) this.#stream.pause();
  }

  onTrailers(fields: HeaderList | undefined): void {
    this.#stream.sendEnd(fields ?? []);
  }

  onEnd(): void {
    this.#stream.sendEnd();
    this.#stream.flush();
  }

  onReset(reset: StreamReset): void {
    this.resets.push(reset);
  }

  onDrain(): void {
    this.#stream.resume();
  }

  onBatch(): void {
    this.#stream.flush();
  }

  onSent(): void {
    // All is echoed.
  }
}

function startEcho(
  answer: (stream: Http2Stream, fields: HeaderList, endsStream: boolean) => boolean = () => true,
): Promise<{
  port: number;
  failures: Http2ConnectionError[];
  resets: StreamReset[];
  sessions: Session[];
  sockets: Socket[];
}> {
  const failures: Http2ConnectionError[] = [];
  const resets: StreamReset[] = [];
  const sessions: Session[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    const host: SessionHost = {
      onRequest: (stream, fields, endsStream) => {
        if (answer(stream, fields ?? [], endsStream))
          stream.sendFields([":status", "200", "x-answer", "yes"], endsStream);
        return new Echo(stream, resets);
      },
      onSettings: () => undefined,
      onGoaway: () => undefined,
      onStreamOver: () => undefined,
      onOver: (failure) => failure && failures.push(failure),
      onCrash: (error) => {
        throw error;
      },
    };
    sessions.push(
      new Session({
        socket,
        outboxes: new Outboxes(),
        settings: { ...settings, role: "server", takesConnectProtocol: false },
        fieldLimits,
        host,
      }),
    );
  });
  cleanUp.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () =>
      resolve({ port: (server.address() as AddressInfo).port, failures, resets, sessions, sockets }),
    );
  });
}

function client(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  cleanUp.push(() => session.destroy());
  return session;
}

async function bodyOf(request: http2.ClientHttp2Stream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe("as a server, to Node's client", () => {
  it("answers a request without a body", async () => {
    const { port } = await startEcho();
    const request = client(port).request({ ":path": "/" });
    const [headers] = (await once(request, "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(200);
    expect(headers["x-answer"]).toBe("yes");
    expect(await bodyOf(request)).toHaveLength(0);
  });

  it("relays bodies far above every window, many at a time", async () => {
    const { port } = await startEcho();
    const session = client(port);
    const results = await Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        const body = Buffer.alloc(3_000_000 + index, `body ${index} `);
        const request = session.request({ ":method": "POST", ":path": "/" });
        request.end(body);
        const echoed = await bodyOf(request);
        return digest(echoed) === digest(body);
      }),
    );
    expect(results).toEqual(Array(8).fill(true));
  });

  it("hears of a stream that is taken back, with its code", async () => {
    const { port, resets } = await startEcho((stream) => {
      stream.sendFields([":status", "200"], false);
      stream.sendEnd = () => undefined; // the answer goes on
      return false;
    });
    const request = client(port).request({ ":method": "POST", ":path": "/" });
    request.on("error", () => undefined);
    request.write("x");
    await once(request, "response");
    request.close(http2.constants.NGHTTP2_CANCEL);
    await until(() => resets.length > 0);
    expect(resets).toEqual([{ code: ErrorCode.cancel, by: "peer", isUnprocessed: false }]);
  });

  it("sends trailers behind the body", async () => {
    const { port } = await startEcho((stream) => {
      stream.sendFields([":status", "200"], false);
      stream.sendData(Buffer.from("body"));
      stream.sendEnd(["grpc-status", "0"]);
      stream.flush();
      return false;
    });
    const request = client(port).request({ ":path": "/" });
    const trailers = once(request, "trailers") as Promise<[http2.IncomingHttpHeaders]>;
    expect((await bodyOf(request)).toString()).toBe("body");
    expect((await trailers)[0]["grpc-status"]).toBe("0");
  });

  it("lets the streams under way end when it leaves, and takes no more", async () => {
    const { port, sessions } = await startEcho();
    const session = client(port);
    const request = session.request({ ":method": "POST", ":path": "/" });
    await once(request, "response");
    const gone = once(session, "goaway");
    sessions[0]?.leave();
    await gone;
    request.end("still here");
    expect((await bodyOf(request)).toString()).toBe("still here");
    await once(session, "close");
  });

  it("does not read ahead of a slow reader by more than its window", async () => {
    let received = 0;
    const { port } = await startEcho((stream) => {
      stream.sendFields([":status", "200"], false);
      stream.pause();
      const count = stream.receive.bind(stream);
      stream.receive = (chunk) => {
        received += chunk.length;
        count(chunk);
      };
      return false;
    });
    const session = client(port);
    const request = session.request({ ":method": "POST", ":path": "/" });
    request.on("error", () => undefined);
    request.end(Buffer.alloc(5_000_000));
    await once(request, "response");
    await until(() => received >= settings.initialWindow);
    // Another stream goes on all the same, as the connection's window is given back.
    const other = session.request({ ":path": "/" });
    await once(other, "response");
    expect(received).toBe(settings.initialWindow);
  });
});

describe("as a client, to Node's server", () => {
  async function startNode(handle: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void) {
    const server = http2.createServer();
    server.on("stream", handle);
    return await join(server);
  }

  /** Speaks no more HTTP/2 than SETTINGS, and answers what it is told to. */
  async function startRaw(onHeaders: (socket: Socket, streamId: number) => void) {
    const server = createServer((socket) => {
      const reader = new FrameReader(
        {
          onFrame: (type, _flags, streamId) => {
            if (type === FrameType.headers) onHeaders(socket, streamId);
          },
          onDataStart: () => undefined,
          onDataBytes: () => undefined,
          onDataEnd: () => undefined,
        },
        { expectsPreface: true },
      );
      socket.on("data", (chunk) => reader.push(chunk));
      socket.on("error", () => undefined);
      writeFrame(writerTo(socket), FrameType.settings, { payload: Buffer.alloc(0) });
    });
    return await join(server);
  }

  async function join(server: Server) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const socket = netConnect((server.address() as AddressInfo).port, "127.0.0.1");
    await once(socket, "connect");
    const events: string[] = [];
    const session = new Session({
      socket,
      outboxes: new Outboxes(),
      settings: { ...settings, role: "client", takesConnectProtocol: false },
      fieldLimits,
      host: {
        onRequest: () => undefined,
        onSettings: () => events.push("settings"),
        onGoaway: () => events.push("goaway"),
        onStreamOver: () => undefined,
        onOver: (failure) => events.push(`over ${failure?.message ?? ""}`),
        onCrash: (error) => {
          throw error;
        },
      },
    });
    cleanUp.push(() => {
      session.destroy();
      server.close();
    });
    return { session, events };
  }

  class Reader implements StreamOwner {
    readonly heads: HeaderList[] = [];
    readonly chunks: Buffer[] = [];
    trailers: HeaderList | undefined;
    stream: Http2Stream | undefined;
    readonly over = Promise.withResolvers<StreamReset | undefined>();

    onAnswerFields(fields: HeaderList | undefined): void {
      this.heads.push(fields ?? []);
      if (this.stream && !(fields?.[1] ?? "").startsWith("1")) this.stream.hasFinalHead = true;
    }

    onData(chunk: Buffer): void {
      this.chunks.push(Buffer.from(chunk));
    }

    onTrailers(fields: HeaderList | undefined): void {
      this.trailers = fields;
    }

    onEnd(): void {
      this.over.resolve(undefined);
    }

    onReset(reset: StreamReset): void {
      this.over.resolve(reset);
    }

    onDrain(): void {
      // Nothing waits.
    }

    onBatch(): void {
      // Nothing to write.
    }

    onSent(): void {
      // The answer follows.
    }
  }

  function ask(session: Session, body?: Buffer): Reader {
    const reader = new Reader();
    const stream = session.open(reader);
    reader.stream = stream;
    const method = body === undefined ? "GET" : "POST";
    stream.sendFields([":method", method, ":scheme", "http", ":authority", "a", ":path", "/"], body === undefined);
    if (body !== undefined) {
      stream.sendData(body);
      stream.sendEnd();
    }
    stream.flush();
    return reader;
  }

  it("reads an interim answer, the final one, a body and trailers", async () => {
    const { session } = await startNode((stream) => {
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.respond({ ":status": 200, "x-a": "b" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": "1" }));
      stream.end("hello");
    });
    const reader = ask(session);
    expect(await reader.over.promise).toBeUndefined();
    expect(reader.heads.map((head) => head[1])).toEqual(["103", "200"]);
    expect(Buffer.concat(reader.chunks).toString()).toBe("hello");
    expect(reader.trailers).toEqual(["x-checksum", "1"]);
  });

  it("sends a large body and reads one back, whatever the windows", async () => {
    const { session } = await startNode((stream) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    });
    const body = Buffer.alloc(4_000_000, "some body ");
    const reader = ask(session, body);
    expect(await reader.over.promise).toBeUndefined();
    expect(digest(Buffer.concat(reader.chunks))).toBe(digest(body));
  });

  it("hears of a stream that the server ends, with its code", async () => {
    const { session } = await startRaw((socket, streamId) => {
      writeNumber(writerTo(socket), FrameType.rstStream, streamId, ErrorCode.internalError);
    });
    expect(await ask(session).over.promise).toEqual({
      code: ErrorCode.internalError,
      by: "peer",
      isUnprocessed: false,
    });
  });

  it("knows which streams a server that leaves has not begun, and reads the others to their end", async () => {
    const { session, events } = await startRaw((socket, streamId) => {
      if (streamId !== 3) return;
      const out = writerTo(socket);
      writeGoaway(out, 1, ErrorCode.noError, "");
      writeHeaderBlock(out, 1, { block: Buffer.from("88", "hex"), endsStream: false });
      writeFrame(out, FrameType.data, { flags: Flag.endStream, streamId: 1, payload: Buffer.from("done") });
    });
    const first = ask(session);
    const second = ask(session);
    expect(await second.over.promise).toMatchObject({ isUnprocessed: true });
    expect(await first.over.promise).toBeUndefined();
    expect(Buffer.concat(first.chunks).toString()).toBe("done");
    expect(session.canOpen).toBe(false);
    expect(events).toContain("goaway");
  });

  it("opens no more streams than the server takes", async () => {
    const { session } = await startNode(() => undefined);
    expect(session.canOpen).toBe(true);
    session.peer.maxConcurrentStreams = 2;
    ask(session);
    ask(session);
    expect(session.canOpen).toBe(false);
  });
});

function writerTo(socket: Socket) {
  return { copy: (from: Buffer, start: number, end: number) => socket.write(Buffer.from(from.subarray(start, end))) };
}

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
