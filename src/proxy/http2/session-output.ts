import type { Socket } from "node:net";
import type { HeaderList } from "../http1/fields.ts";
import type { Outbox } from "../outbox.ts";
import type { Outboxes } from "../outboxes.ts";
import type { FloodGuard } from "./flood-guard.ts";
import {
  clientPreface,
  defaultWindow,
  Flag,
  FrameType,
  frameHeaderBytes,
  maxFrameBytes,
  maxWindow,
  writeFrame,
  writeFrameHeader,
  writeGoaway,
  writeHeaderBlock,
  writeNumber,
} from "./frame.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import { ErrorCode, Http2ConnectionError, protocolError } from "./http2-error.ts";
import { type OwnSettings, writeSettings } from "./settings.ts";
import type { Http2Stream } from "./stream.ts";

/** What may wait in the socket before streams are held back; the peer is slow. */
const maxSocketBytes = 128 * 1024;
/** Answers to PING and SETTINGS that a peer does not read. */
const maxUnreadBytes = 1024 * 1024;
/** With its header, one frame is one record of TLS. */
const maxDataBytes = maxFrameBytes - frameHeaderBytes;
const noBytes = Buffer.alloc(0);
const pingPayload = Buffer.alloc(8);

/** The frames of a connection on their way out, within the windows of the peer. */
export class SessionOutput {
  readonly #socket: Socket;
  readonly #out: Outbox;
  readonly #guard: FloodGuard;
  readonly #encoder = new HpackEncoder();
  /** Streams with something to send, in the order in which they may. */
  readonly #ready = new Set<Http2Stream>();
  #window = defaultWindow;
  #isPumping = false;
  #isOver = false;

  constructor(socket: Socket, outboxes: Outboxes, guard: FloodGuard) {
    this.#socket = socket;
    this.#out = outboxes.for(socket);
    this.#guard = guard;
  }

  /** What a side says first. */
  greet(settings: OwnSettings): void {
    if (settings.role === "client") this.#out.copy(clientPreface, 0, clientPreface.length);
    writeSettings(this.#out, settings);
  }

  fields(stream: Http2Stream, fields: HeaderList, endsStream: boolean, isSecret?: (name: string) => boolean): void {
    if (this.#isOver) return;
    writeHeaderBlock(this.#out, stream.id, { block: this.#encoder.encode(fields, isSecret), endsStream });
  }

  /** One frame, within both windows. */
  data(stream: Http2Stream, bytes: Buffer | undefined, endsStream: boolean): void {
    const length = bytes?.length ?? 0;
    this.#window -= length;
    this.#guard.onDataSent();
    const flags = endsStream ? Flag.endStream : 0;
    writeFrameHeader(this.#out, FrameType.data, { flags, streamId: stream.id, length });
    if (bytes !== undefined) this.#out.bytes(bytes);
  }

  /** How much one frame of data may hold now. */
  get maxDataBytes(): number {
    return Math.min(maxDataBytes, this.#window);
  }

  windowUpdate(streamId: number, bytes: number): void {
    if (!this.#isOver) writeNumber(this.#out, FrameType.windowUpdate, streamId, bytes);
  }

  reset(streamId: number, code: number): void {
    if (!this.#isOver) writeNumber(this.#out, FrameType.rstStream, streamId, code);
  }

  acknowledgeSettings(): void {
    writeFrame(this.#out, FrameType.settings, { flags: Flag.ack, payload: noBytes });
  }

  ping(): void {
    if (!this.#isOver) writeFrame(this.#out, FrameType.ping, { payload: pingPayload });
  }

  answerPing(payload: Buffer): void {
    writeFrame(this.#out, FrameType.ping, { flags: Flag.ack, payload });
  }

  goaway(lastStreamId: number, code: number, text: string): void {
    writeGoaway(this.#out, lastStreamId, code, text);
  }

  /** The peer takes more. @throws {Http2ConnectionError} */
  grow(increment: number): void {
    if (increment === 0) throw protocolError("A window grows by nothing");
    this.#window += increment;
    if (this.#window > maxWindow) {
      throw new Http2ConnectionError(ErrorCode.flowControlError, "The connection's window is too large");
    }
  }

  hasMore(stream: Http2Stream): void {
    this.#ready.add(stream);
  }

  forget(stream: Http2Stream): void {
    this.#ready.delete(stream);
  }

  /** Writes what the windows and the socket allow. False when the socket has enough. */
  flush(): boolean {
    if (this.#isOver) return true;
    this.#pump();
    return this.#out.flush();
  }

  /** The last of it leaves; nothing more is written. */
  end(): void {
    if (this.#isOver) return;
    this.#out.flush();
    this.#isOver = true;
    this.#ready.clear();
  }

  /** Does a peer ask and ask, and never reads the answers? Data waits elsewhere, so this much is heads and replies. */
  get isIgnored(): boolean {
    return this.#socket.writableLength > maxUnreadBytes;
  }

  /** One frame of each stream in turn, so that a large one does not hold up the small ones. */
  #pump(): void {
    if (this.#isPumping || this.#ready.size === 0) return;
    this.#isPumping = true;
    try {
      let isMoving = true;
      while (isMoving && this.#socket.writableLength <= maxSocketBytes) {
        isMoving = false;
        for (const stream of this.#ready) {
          if (stream.pump(this.maxDataBytes)) isMoving = true;
          if (stream.isSent) this.#ready.delete(stream);
        }
        if (isMoving && !this.#out.flush()) break;
      }
    } finally {
      this.#isPumping = false;
    }
  }
}
