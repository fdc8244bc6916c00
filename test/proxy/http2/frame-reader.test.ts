import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clientPreface, Flag, FrameType, writeFrame, writeHeaderBlock } from "../../../src/proxy/http2/frame.ts";
import { FrameReader, headerBlockOf } from "../../../src/proxy/http2/frame-reader.ts";
import { ErrorCode, Http2ConnectionError } from "../../../src/proxy/http2/http2-error.ts";

/** Frames as they are read, with the bytes of one DATA frame in one piece. */
class Recorder {
  readonly seen: string[] = [];
  #data: Buffer[] = [];

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    this.seen.push(`${type} ${flags} ${streamId} ${payload.toString("hex")}`);
  }

  onDataStart(streamId: number, length: number): void {
    this.seen.push(`start ${streamId} ${length}`);
    this.#data = [];
  }

  onDataBytes(_streamId: number, bytes: Buffer): void {
    this.#data.push(Buffer.from(bytes));
  }

  onDataEnd(streamId: number, endsStream: boolean): void {
    this.seen.push(`data ${streamId} ${endsStream} ${Buffer.concat(this.#data).toString("hex")}`);
  }
}

function bytesOf(write: (out: { copy(from: Buffer, start: number, end: number): void }) => void): Buffer {
  const parts: Buffer[] = [];
  write({ copy: (from, start, end) => parts.push(Buffer.from(from.subarray(start, end))) });
  return Buffer.concat(parts);
}

function read(chunks: readonly Buffer[], expectsPreface = false): string[] {
  const recorder = new Recorder();
  const reader = new FrameReader(recorder, { expectsPreface });
  for (const chunk of chunks) reader.push(chunk);
  return recorder.seen;
}

function codeOf(work: () => void): number | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof Http2ConnectionError) return error.code;
    throw error;
  }
  return undefined;
}

/** Any frame that is well-formed as far as the reader looks. */
const frames = fc.array(
  fc.oneof(
    fc.record({ data: fc.uint8Array({ maxLength: 40 }), padding: fc.option(fc.nat(9)), ends: fc.boolean() }),
    fc.record({
      type: fc.constantFrom(FrameType.headers, FrameType.continuation, 0x55),
      payload: fc.uint8Array({ maxLength: 40 }),
    }),
  ),
  { maxLength: 8 },
);

describe("reading frames", () => {
  it("reads the same however the bytes are cut", () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1, maxLength: 20 }), (list, sizes) => {
        const all = Buffer.concat(
          list.map((frame) =>
            bytesOf((out) => {
              if ("payload" in frame) {
                writeFrame(out, frame.type, { streamId: 3, payload: Buffer.from(frame.payload) });
                return;
              }
              const { padding } = frame;
              const flags = (frame.ends ? Flag.endStream : 0) | (padding === null ? 0 : Flag.padded);
              const around = padding === null ? [] : [Buffer.of(padding)];
              const behind = padding === null ? [] : [Buffer.alloc(padding)];
              const payload = Buffer.concat([...around, Buffer.from(frame.data), ...behind]);
              writeFrame(out, FrameType.data, { flags, streamId: 1, payload });
            }),
          ),
        );
        const chunks: Buffer[] = [];
        for (let at = 0, i = 0; at < all.length; i += 1) {
          const size = sizes[i % sizes.length] ?? 1;
          chunks.push(all.subarray(at, at + size));
          at += size;
        }
        const whole = read([all]);
        expect(read(chunks)).toEqual(whole);
        expect(whole.filter((line) => !line.startsWith("start"))).toHaveLength(list.length);
      }),
    );
  });

  it("wants the preface first, whole and unchanged", () => {
    const settings = bytesOf((out) => writeFrame(out, FrameType.settings, { payload: Buffer.alloc(0) }));
    expect(read([clientPreface.subarray(0, 5), Buffer.concat([clientPreface.subarray(5), settings])], true)).toEqual([
      "4 0 0 ",
    ]);
    expect(codeOf(() => read([Buffer.from("GET / HTTP/1.1\r\n\r\n")], true))).toBe(ErrorCode.protocolError);
  });

  it("splits a large header block over CONTINUATION frames that fit", () => {
    const block = Buffer.alloc(40_000, 7);
    const seen = read([bytesOf((out) => writeHeaderBlock(out, 5, { block, endsStream: true }))]);
    expect(seen.map((line) => line.split(" ").slice(0, 3).join(" "))).toEqual(["1 1 5", "9 0 5", "9 4 5"]);
    expect(seen.map((line) => line.split(" ")[3]).join("")).toBe(block.toString("hex"));
  });

  it.each([
    { frame: "004001 00 00 00000001", code: ErrorCode.frameSizeError, because: "it is larger than was allowed" },
    { frame: "000007 06 00 00000000", code: ErrorCode.frameSizeError, because: "a PING has eight bytes" },
    { frame: "000003 03 00 00000001", code: ErrorCode.frameSizeError, because: "an RST_STREAM has four" },
    { frame: "000005 08 00 00000001", code: ErrorCode.frameSizeError, because: "a WINDOW_UPDATE has four" },
    { frame: "000004 02 00 00000001", code: ErrorCode.frameSizeError, because: "a PRIORITY has five" },
    { frame: "000000 00 08 00000001", code: ErrorCode.frameSizeError, because: "padding needs its length" },
    { frame: "000000 00 00 00000000", code: ErrorCode.protocolError, because: "DATA is of a stream" },
    { frame: "000000 01 04 00000000", code: ErrorCode.protocolError, because: "HEADERS are of a stream" },
    { frame: "000000 04 00 00000001", code: ErrorCode.protocolError, because: "SETTINGS are of the connection" },
    { frame: "000008 06 00 00000001", code: ErrorCode.protocolError, because: "a PING is of the connection" },
    {
      frame: "000002 00 08 00000001 02 00",
      code: ErrorCode.protocolError,
      because: "there is more padding than payload",
    },
  ])("refuses $frame: $because", ({ frame, code }) => {
    expect(codeOf(() => read([Buffer.from(frame.replaceAll(" ", ""), "hex")]))).toBe(code);
  });

  it.each([
    { flags: Flag.padded, payload: "05aabb", code: ErrorCode.protocolError },
    { flags: Flag.padded, payload: "", code: ErrorCode.frameSizeError },
    { flags: Flag.priority, payload: "aabbcc", code: ErrorCode.frameSizeError },
  ])("refuses HEADERS whose padding or priority does not fit", ({ flags, payload, code }) => {
    expect(codeOf(() => headerBlockOf(flags, Buffer.from(payload, "hex")))).toBe(code);
  });

  it("takes padding and priority off a header block", () => {
    const payload = Buffer.from("02 80000003 ff 8286 0000".replaceAll(" ", ""), "hex");
    expect(headerBlockOf(Flag.padded | Flag.priority, payload).toString("hex")).toBe("8286");
  });

  it("neither crashes nor hangs on random bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 6 }), (chunks) => {
        try {
          read(chunks.map((chunk) => Buffer.from(chunk)));
        } catch (error) {
          expect(error).toBeInstanceOf(Http2ConnectionError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
