/** Frames on the wire (RFC 9113, sections 4 and 6). */

export const FrameType = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const Flag = {
  ack: 0x1,
  endStream: 0x1,
  endHeaders: 0x4,
  padded: 0x8,
  priority: 0x20,
} as const;

/** What a client says first (section 3.4). */
export const clientPreface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

export const frameHeaderBytes = 9;
/** The payload of one frame, both ways: nobody is told that we take more. */
export const maxFrameBytes = 16_384;
export const maxWindow = 0x7fff_ffff;
/** Of streams and connections until something else is said. */
export const defaultWindow = 65_535;

export interface FrameWriter {
  copy(from: Buffer, start: number, end: number): void;
}

const header = Buffer.alloc(frameHeaderBytes);
const four = Buffer.alloc(4);

export function writeFrameHeader(
  out: FrameWriter,
  type: number,
  { flags = 0, streamId = 0, length }: { readonly flags?: number; readonly streamId?: number; readonly length: number },
): void {
  header.writeUIntBE(length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  out.copy(header, 0, frameHeaderBytes);
}

export function writeFrame(
  out: FrameWriter,
  type: number,
  {
    flags = 0,
    streamId = 0,
    payload,
  }: { readonly flags?: number; readonly streamId?: number; readonly payload: Buffer },
): void {
  writeFrameHeader(out, type, { flags, streamId, length: payload.length });
  out.copy(payload, 0, payload.length);
}

/** A frame whose payload is one number: RST_STREAM, WINDOW_UPDATE. */
export function writeNumber(out: FrameWriter, type: number, streamId: number, value: number): void {
  four.writeUInt32BE(value);
  writeFrame(out, type, { streamId, payload: four });
}

/** HEADERS, with as many CONTINUATIONs as the block needs. */
export function writeHeaderBlock(
  out: FrameWriter,
  streamId: number,
  { block, endsStream }: { readonly block: Buffer; readonly endsStream: boolean },
): void {
  let at = 0;
  do {
    const end = Math.min(block.length, at + maxFrameBytes);
    const flags = (end === block.length ? Flag.endHeaders : 0) | (at === 0 && endsStream ? Flag.endStream : 0);
    writeFrameHeader(out, at === 0 ? FrameType.headers : FrameType.continuation, { flags, streamId, length: end - at });
    out.copy(block, at, end);
    at = end;
  } while (at < block.length);
}

export function writeGoaway(out: FrameWriter, lastStreamId: number, code: number, text: string): void {
  const payload = Buffer.alloc(8 + text.length);
  payload.writeUInt32BE(lastStreamId, 0);
  payload.writeUInt32BE(code, 4);
  payload.write(text, 8, "latin1");
  writeFrame(out, FrameType.goaway, { payload });
}
