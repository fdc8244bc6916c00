import type { Socket } from "node:net";
import {
  Flag,
  FrameType,
  writeFrame,
  writeGoaway,
  writeHeaderBlock,
  writeNumber,
} from "../../src/proxy/http2/frame.ts";
import { HpackEncoder } from "../../src/proxy/http2/hpack-encoder.ts";

/** The writing half of a peer that says whatever frames it is told to. */
export class Http2Wire {
  readonly socket: Socket;
  readonly #encoder = new HpackEncoder();

  constructor(socket: Socket) {
    this.socket = socket;
  }

  readonly out = {
    copy: (from: Buffer, start: number, end: number): void => {
      this.socket.write(Buffer.from(from.subarray(start, end)));
    },
  };

  headers(streamId: number, fields: readonly string[], endsStream = false): void {
    writeHeaderBlock(this.out, streamId, { block: this.#encoder.encode(fields), endsStream });
  }

  data(streamId: number, text: string, endsStream = false): void {
    const flags = endsStream ? Flag.endStream : 0;
    writeFrame(this.out, FrameType.data, { flags, streamId, payload: Buffer.from(text, "latin1") });
  }

  frame(type: number, flags: number, streamId: number, payload: Buffer = Buffer.alloc(0)): void {
    writeFrame(this.out, type, { flags, streamId, payload });
  }

  reset(streamId: number, code: number): void {
    writeNumber(this.out, FrameType.rstStream, streamId, code);
  }

  leave(lastStreamId = 0): void {
    writeGoaway(this.out, lastStreamId, 0, "");
  }
}
