import { defaultWindow, FrameType, type FrameWriter, maxFrameBytes, maxWindow, writeFrame } from "./frame.ts";
import { ErrorCode, Http2ConnectionError, protocolError } from "./http2-error.ts";

/** RFC 9113, section 6.5.2, and RFC 8441, section 3. */
const Setting = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
  maxHeaderListSize: 0x6,
  enableConnectProtocol: 0x8,
} as const;

/** What we tell a peer. */
export interface OwnSettings {
  readonly maxConcurrentStreams: number;
  readonly initialWindow: number;
  readonly maxHeaderListBytes: number;
  /** Takes the CONNECT of RFC 8441. Only servers say so. */
  readonly takesConnectProtocol: boolean;
  /** A client says that it takes no pushes. */
  readonly role: "server" | "client";
}

export function writeSettings(out: FrameWriter, own: OwnSettings): void {
  const pairs: [number, number][] = [
    [Setting.maxConcurrentStreams, own.maxConcurrentStreams],
    [Setting.initialWindowSize, own.initialWindow],
    [Setting.maxHeaderListSize, own.maxHeaderListBytes],
  ];
  if (own.role === "client") pairs.unshift([Setting.enablePush, 0]);
  if (own.takesConnectProtocol) pairs.push([Setting.enableConnectProtocol, 1]);
  const payload = Buffer.alloc(pairs.length * 6);
  for (const [at, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, at * 6);
    payload.writeUInt32BE(value, at * 6 + 2);
  }
  writeFrame(out, FrameType.settings, { payload });
}

/** What the peer told us. */
export class PeerSettings {
  initialWindow = defaultWindow;
  /** We never send larger frames than others have to take; it is only checked. */
  maxFrameBytes = maxFrameBytes;
  maxConcurrentStreams = Number.POSITIVE_INFINITY;
  maxHeaderListBytes = Number.POSITIVE_INFINITY;

  /**
   * Reads the payload of a SETTINGS frame. Settings that are not known are ignored.
   *
   * @throws {Http2ConnectionError} on values that a setting cannot have.
   */
  read(payload: Buffer): void {
    if (payload.length % 6 !== 0) {
      throw new Http2ConnectionError(ErrorCode.frameSizeError, "A SETTINGS frame ends in the middle of a setting");
    }
    for (let at = 0; at < payload.length; at += 6) this.#set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
  }

  #set(id: number, value: number): void {
    if (id === Setting.initialWindowSize) {
      if (value > maxWindow) throw new Http2ConnectionError(ErrorCode.flowControlError, "A window is too large");
      this.initialWindow = value;
    } else if (id === Setting.maxFrameSize) {
      if (value < maxFrameBytes || value > 0xff_ffff) throw protocolError("SETTINGS_MAX_FRAME_SIZE is out of range");
      this.maxFrameBytes = value;
    } else if (id === Setting.maxConcurrentStreams) this.maxConcurrentStreams = value;
    else if (id === Setting.maxHeaderListSize) this.maxHeaderListBytes = value;
    else if ((id === Setting.enablePush || id === Setting.enableConnectProtocol) && value > 1) {
      throw protocolError("A setting that is 0 or 1 has another value");
    }
  }
}
