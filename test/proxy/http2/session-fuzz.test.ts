import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { HeaderList } from "../../../src/proxy/http1/fields.ts";
import { FramingError } from "../../../src/proxy/http1/framing-error.ts";
import { readAnswer } from "../../../src/proxy/http2/answer-fields.ts";
import { readTrailers } from "../../../src/proxy/http2/field-rules.ts";
import { clientPreface, FrameType, writeFrame } from "../../../src/proxy/http2/frame.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import { Http2ConnectionError, Http2StreamError } from "../../../src/proxy/http2/http2-error.ts";
import { readRequest } from "../../../src/proxy/http2/request-fields.ts";
import { Session } from "../../../src/proxy/http2/session.ts";
import type { Http2Stream, StreamOwner } from "../../../src/proxy/http2/stream.ts";
import { Outboxes } from "../../../src/proxy/outboxes.ts";

/** Takes whatever is written, and never has enough. */
class Sink extends Duplex {
  written = 0;

  override _read(): void {
    // What comes is pushed.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written += chunk.length;
    done();
  }
}

/** Answers each request with what it sent. */
class Mirror implements StreamOwner {
  readonly #stream: Http2Stream;
  isOver = false;
  #hasLeft = false;

  constructor(stream: Http2Stream) {
    this.#stream = stream;
  }

  onAnswerFields(): void {
    throw new Error("a server hears no answers");
  }

  onData(chunk: Buffer): void {
    if (this.isOver) throw new Error("data behind the end");
    this.#stream.sendData(chunk);
  }

  onTrailers(fields: HeaderList | undefined): void {
    if (this.isOver) throw new Error("trailers behind the end");
    readTrailers(fields);
  }

  onEnd(): void {
    if (this.isOver) throw new Error("a second end");
    this.isOver = true;
    this.#stream.sendEnd();
  }

  onReset(): void {
    // Until its last byte has left, its connection may still end it.
    if (this.#hasLeft) throw new Error("reset behind the end");
    this.isOver = true;
  }

  onDrain(): void {
    this.#stream.resume();
  }

  onBatch(): void {
    this.#stream.flush();
  }

  onSent(): void {
    this.#hasLeft = true;
  }
}

const encoder = new HpackEncoder();
const goodBlock = Buffer.from(
  encoder.encode([":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/", "x", "y"]),
);
const frames = fc.array(
  fc.record({
    type: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(FrameType.headers, FrameType.data, FrameType.windowUpdate) },
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 10 }) },
    ),
    flags: fc.constantFrom(0, 1, 4, 5, 8, 12, 0x20, 0x25, 0xff),
    streamId: fc.constantFrom(0, 1, 1, 3, 3, 5, 7, 2, 1001),
    payload: fc.oneof(
      fc.constant(goodBlock),
      fc.constant(Buffer.from("00000100", "hex")),
      fc.constant(Buffer.alloc(8)),
      fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
    ),
  }),
  { maxLength: 40 },
);

describe("a session, whatever frames come", () => {
  it("never does what its streams do not expect, and ends only with an error of the protocol", () => {
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 200 }), (list, size) => {
        const sink = new Sink();
        const crashes: unknown[] = [];
        const failures: unknown[] = [];
        let open = 0;
        const session = new Session({
          socket: sink as unknown as Socket,
          outboxes: new Outboxes(),
          settings: {
            role: "server",
            maxConcurrentStreams: 100,
            initialWindow: 65_535,
            maxHeaderListBytes: 65_536,
            takesConnectProtocol: true,
          },
          fieldLimits: { maxBytes: 65_536, maxFields: 100 },
          host: {
            onRequest: (stream, fields, endsStream) => {
              open += 1;
              const { framing } = readRequest(fields, endsStream);
              if (framing.kind === "length") stream.expectedBytes = framing.length;
              stream.sendFields([":status", "200"], endsStream);
              return new Mirror(stream);
            },
            onSettings: () => undefined,
            onGoaway: () => undefined,
            onStreamOver: () => {
              open -= 1;
            },
            onOver: (failure) => failures.push(failure),
            onCrash: (error) => crashes.push(error),
          },
        });
        const parts = [Buffer.from(clientPreface)];
        const out = {
          copy: (from: Buffer, start: number, end: number) => parts.push(Buffer.from(from.subarray(start, end))),
        };
        writeFrame(out, FrameType.settings, { payload: Buffer.alloc(0) });
        for (const { type, flags, streamId, payload } of list) writeFrame(out, type, { flags, streamId, payload });
        const bytes = Buffer.concat(parts);
        for (let at = 0; at < bytes.length; at += size) sink.emit("data", bytes.subarray(at, at + size));
        // Of the heads, a FramingError would be answered with 400 by the agent's session.
        expect(crashes.filter((error) => !(error instanceof FramingError))).toEqual([]);
        for (const failure of failures) if (failure !== undefined) expect(failure).toBeInstanceOf(Http2ConnectionError);
        if (failures.length === 0) expect(open).toBe(session.streams.size);
        sink.destroy();
      }),
      { numRuns: 1500 },
    );
  });
});

describe("heads made of any fields", () => {
  const text = fc.oneof(
    fc.constantFrom(":method", ":path", ":scheme", ":authority", ":status", "host", "cookie", "te", "content-length"),
    fc.constantFrom("GET", "/", "https", "a.test", "200", "\r\n", "x: y\r\n\r\nGET / HTTP/1.1", " ", "\0", "trailers"),
    fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
  );
  const start = [":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/x"];

  it("are one request with as many fields, or none", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 6 }), fc.boolean(), (pairs, ends) => {
        try {
          const { head } = readRequest([...start, ...pairs.flat()], ends);
          expect(head.method).toBe("GET");
          expect(head.target).toBe("/x");
          expect(head.fields.count).toBeLessThanOrEqual(pairs.length + 1);
        } catch (error) {
          if (!(error instanceof Http2StreamError || error instanceof FramingError)) throw error;
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("are one answer with as many fields, or none", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 6 }), fc.boolean(), (pairs, ends) => {
        try {
          const { head } = readAnswer([":status", "200", ...pairs.flat()], "GET", ends);
          expect(head.status).toBe(200);
          expect(head.fields.count).toBe(pairs.length);
        } catch (error) {
          if (!(error instanceof Http2StreamError || error instanceof FramingError)) throw error;
        }
      }),
      { numRuns: 3000 },
    );
  });
});
