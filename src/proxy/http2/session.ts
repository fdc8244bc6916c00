import type { Socket } from "node:net";
import type { HeaderList } from "../http1/fields.ts";
import type { Outboxes } from "../outboxes.ts";
import { FloodGuard } from "./flood-guard.ts";
import { defaultWindow, Flag, FrameType, maxWindow } from "./frame.ts";
import { dependencyOf, FrameReader, type FrameSink, headerBlockOf } from "./frame-reader.ts";
import { HeaderBlocks } from "./header-blocks.ts";
import { type FieldLimits, HpackDecoder } from "./hpack-decoder.ts";
import {
  ErrorCode,
  enhanceYourCalm,
  Http2ConnectionError,
  Http2StreamError,
  malformed,
  protocolError,
} from "./http2-error.ts";
import { SessionOutput } from "./session-output.ts";
import { type OwnSettings, PeerSettings } from "./settings.ts";
import { Http2Stream, type StreamOwner } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";

/** Whoever a session belongs to. */
export interface SessionHost {
  /**
   * A request begins; servers only. Where the stream ends with it, `onEnd` is not called. Undefined fields are larger than allowed.
   *
   * @throws {Http2StreamError} on a malformed request.
   */
  onRequest(stream: Http2Stream, fields: HeaderList | undefined, endsStream: boolean): StreamOwner | undefined;
  /** The peer's settings came, or changed. */
  onSettings(): void;
  /** The peer begins no more streams, or takes no more. */
  onGoaway(): void;
  /** A stream ended, and its place is free. */
  onStreamOver(): void;
  /** Over. A failure is why it was ended from here; without one the peer left. */
  onOver(failure: Http2ConnectionError | undefined): void;
  /** A bug of ours. */
  onCrash(error: unknown): void;
}

export interface SessionOptions {
  readonly socket: Socket;
  readonly outboxes: Outboxes;
  readonly settings: OwnSettings;
  readonly fieldLimits: FieldLimits;
  readonly host: SessionHost;
}

/**
 * What may be on the way to us in all: as much as eight streams may have. It is given back when it arrives, not when it
 * is read, so that one stream which nobody reads does not stop the others; how much such a stream can pile up is limited
 * by its own window.
 */
const windowOfStreams = 8;
/** One HTTP/2 connection (RFC 9113), as server or as client: frames in, frames out, and the streams between them. */
export class Session implements FrameSink {
  readonly socket: Socket;
  readonly peer = new PeerSettings();
  /** For the streams. */
  readonly output: SessionOutput;
  readonly #table: StreamTable;
  readonly #own: OwnSettings;
  readonly #host: SessionHost;
  readonly #reader: FrameReader;
  readonly #decoder = new HpackDecoder();
  readonly #fieldLimits: FieldLimits;
  readonly #blocks: HeaderBlocks;
  readonly #guard = new FloodGuard();
  readonly #receiveTarget: number;
  #hasPeerSettings = false;
  /** Arrived so far, whatever it was. */
  bytesRead = 0;
  #receiveWindow = defaultWindow;
  #received = 0;
  #data: Http2Stream | undefined;
  #dataLength = 0;
  #hasData = false;
  readonly #touched: Http2Stream[] = [];
  #isReading = false;
  /** No more streams: by GOAWAY of ours, of the peer's. */
  #isLeaving = false;
  #hasPeerLeft = false;
  #isOver = false;

  constructor(options: SessionOptions) {
    const { socket, settings } = options;
    const isServer = settings.role === "server";
    this.socket = socket;
    this.output = new SessionOutput(socket, options.outboxes, this.#guard);
    this.#table = new StreamTable(isServer);
    this.#own = settings;
    this.#host = options.host;
    this.#fieldLimits = options.fieldLimits;
    this.#blocks = new HeaderBlocks(options.fieldLimits.maxBytes);
    this.#reader = new FrameReader(this, { expectsPreface: isServer });
    this.#receiveTarget = settings.initialWindow * windowOfStreams;
    this.output.greet(settings);
    this.#acknowledge(this.#receiveTarget - defaultWindow);
    this.output.flush();
    socket.on("data", this.#onData);
    socket.on("drain", this.#onDrain);
    socket.on("end", this.#onGone);
    socket.on("close", this.#onGone);
    socket.on("error", this.#onGone);
  }

  get streams(): ReadonlyMap<number, Http2Stream> {
    return this.#table.open;
  }

  /** Can a stream be opened now? */
  get canOpen(): boolean {
    return this.isOpen && this.streams.size < this.peer.maxConcurrentStreams && this.#table.hasIds;
  }

  /** Does it take streams at all, if not now? */
  get isOpen(): boolean {
    return !this.#isOver && !this.#isLeaving && !this.#hasPeerLeft && this.socket.writable;
  }

  get hasPeerSettings(): boolean {
    return this.#hasPeerSettings;
  }

  /** Inside of a data event, whose output is written when it is through. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /** Opens a stream, as the client. Only where `canOpen`. */
  open(owner: StreamOwner): Http2Stream {
    const stream = this.#newStream(this.#table.takeId());
    stream.owner = owner;
    return stream;
  }

  /** Asks whether the peer is still there; its answer counts as `bytesRead`. */
  ping(): void {
    this.output.ping();
    this.output.flush();
  }

  /** Says that no more streams are taken; those under way may end. */
  leave(): void {
    if (this.#isLeaving || this.#isOver) return;
    this.#isLeaving = true;
    this.output.goaway(this.#table.lastPeerId, ErrorCode.noError, "");
    this.output.flush();
    this.#closeIfDone();
  }

  /** Ends it with everything on it, once what was written has left. */
  fail(error: Http2ConnectionError): void {
    if (this.#isOver) return;
    this.output.goaway(this.#table.lastPeerId, error.code, error.message);
    this.output.end();
    this.socket.end();
    this.#finish(error);
  }

  destroy(): void {
    this.socket.destroy();
    this.#finish(undefined);
  }

  readonly #onDrain = (): void => this.#guarded(() => this.#relieve());

  /** Windows have grown, or the socket is empty: goes on, and lets the sources of streams go on. */
  #relieve(): void {
    this.output.flush();
    for (const stream of [...this.streams.values()]) stream.relieve();
    this.output.flush();
  }

  // --- receiving --------------------------------------------------------------------------------------------------

  readonly #onData = (chunk: Buffer): void => {
    if (this.#isOver) return;
    this.bytesRead += chunk.length;
    this.#guarded(() => {
      this.#isReading = true;
      try {
        this.#reader.push(chunk);
      } finally {
        this.#isReading = false;
      }
      this.#afterBatch();
    });
  };

  #afterBatch(): void {
    const touched = this.#touched.splice(0);
    for (const stream of touched) {
      stream.isTouched = false;
      stream.owner?.onBatch();
    }
    this.output.flush();
    if (this.output.isIgnored) throw enhanceYourCalm("Answers to frames are not read");
  }

  #touch(stream: Http2Stream): void {
    if (stream.isTouched) return;
    stream.isTouched = true;
    this.#touched.push(stream);
  }

  /** What escapes from a socket's event ends the process: broken rules end the connection, a bug of ours that as well. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof Http2ConnectionError) this.fail(error);
      else {
        this.#host.onCrash(error);
        this.destroy();
      }
    }
  }

  onDataStart(streamId: number, length: number): void {
    if (this.#isOver) return;
    this.#expectFrame(FrameType.data, streamId);
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) {
      throw new Http2ConnectionError(ErrorCode.flowControlError, "More data came than the connection's window allows");
    }
    this.#acknowledge(length);
    this.#data = this.#openStream(streamId, "DATA frames on streams that are over");
    this.#dataLength = length;
    this.#hasData = false;
    const stream = this.#data;
    if (stream === undefined) return;
    this.#touch(stream);
    this.#orResetStream(stream, () => {
      stream.receiveWindow -= length;
      if (stream.receiveWindow < 0) {
        throw new Http2StreamError(ErrorCode.flowControlError, "More data came than the stream's window allows");
      }
      if (this.#own.role === "client" && !stream.hasFinalHead) throw malformed("Data came before the head");
    });
  }

  onDataBytes(_streamId: number, bytes: Buffer): void {
    const stream = this.#data;
    this.#dataLength -= bytes.length;
    this.#hasData = true;
    if (this.#isOver || stream === undefined || stream.isRemoteClosed) return;
    this.#orResetStream(stream, () => {
      if (stream.expectedBytes !== undefined) {
        stream.expectedBytes -= bytes.length;
        if (stream.expectedBytes < 0) throw malformed("The body is longer than its content-length");
      }
      stream.receive(bytes);
    });
  }

  onDataEnd(_streamId: number, endsStream: boolean): void {
    const stream = this.#data;
    this.#data = undefined;
    if (this.#isOver || stream === undefined || stream.isRemoteClosed) return;
    // What is left of the length was padding.
    if (this.#dataLength > 0) stream.consume(this.#dataLength);
    if (!this.#hasData && !endsStream) this.#guard.spend("control", "DATA frames without data");
    if (endsStream) this.#orResetStream(stream, () => this.#endRemote(stream, false, undefined));
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (this.#isOver) return;
    this.#expectFrame(type, streamId);
    if (type === FrameType.headers || type === FrameType.continuation) {
      this.#onHeaderFrame(type, flags, streamId, payload);
    } else if (type === FrameType.windowUpdate) this.#onWindowUpdate(streamId, payload.readUInt32BE(0) & maxWindow);
    else if (type === FrameType.rstStream) this.#onRstStream(streamId, payload.readUInt32BE(0));
    else if (type === FrameType.settings) this.#onSettings(flags, payload);
    else if (type === FrameType.ping) this.#onPing(flags, payload);
    else if (type === FrameType.goaway) this.#onGoaway(payload);
    else if (type === FrameType.pushPromise) throw protocolError("A push came that nobody asked for");
    else if (type === FrameType.priority) {
      this.#guard.spend("control", "PRIORITY frames");
      if (dependencyOf(payload, 0) === streamId) throw protocolError("A stream depends on itself");
    } else this.#guard.spend("control", "frames of an unknown type"); // which are ignored (section 5.5)
  }

  /** What is allowed now at all. */
  #expectFrame(type: number, streamId: number): void {
    if (!this.#hasPeerSettings && type !== FrameType.settings) {
      throw protocolError("The first frame is not SETTINGS");
    }
    this.#blocks.expect(type, streamId);
  }

  #onHeaderFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    const isFirst = type === FrameType.headers;
    const part = isFirst ? headerBlockOf(flags, payload) : payload;
    const isSelfDependent =
      isFirst &&
      (flags & Flag.priority) !== 0 &&
      dependencyOf(payload, (flags & Flag.padded) !== 0 ? 1 : 0) === streamId;
    const block = this.#blocks.push(streamId, part, {
      isFirst,
      isLast: (flags & Flag.endHeaders) !== 0,
      endsStream: isFirst && (flags & Flag.endStream) !== 0,
    });
    if (isSelfDependent) throw protocolError("A stream depends on itself");
    if (block === undefined) return;
    // Whatever becomes of the stream, the table must see every block.
    const fields = this.#decoder.decode(block.bytes, this.#fieldLimits);
    this.#onFields(streamId, fields, block.endsStream);
  }

  #onFields(streamId: number, fields: HeaderList | undefined, endsStream: boolean): void {
    if (this.#table.isNew(streamId)) {
      this.#onRequest(streamId, fields, endsStream);
      return;
    }
    const stream = this.#openStream(streamId, "HEADERS frames on streams that are over");
    if (stream === undefined) return;
    this.#touch(stream);
    this.#orResetStream(stream, () => {
      if (this.#own.role === "server" || stream.hasFinalHead) {
        if (!endsStream) throw malformed("Trailers do not end the stream");
        this.#endRemote(stream, true, fields);
        return;
      }
      stream.owner?.onAnswerFields(fields, endsStream);
      if (endsStream && !stream.isRemoteClosed) this.#endRemote(stream, false, undefined);
    });
  }

  #onRequest(streamId: number, fields: HeaderList | undefined, endsStream: boolean): void {
    this.#table.lastPeerId = streamId;
    if (this.#isLeaving || this.streams.size >= this.#own.maxConcurrentStreams) {
      this.#guard.spend("reset", "streams above the limit");
      this.#sendReset(streamId, ErrorCode.refusedStream);
      return;
    }
    const stream = this.#newStream(streamId);
    this.#touch(stream);
    stream.isRemoteClosed = endsStream;
    this.#orResetStream(stream, () => {
      stream.owner = this.#host.onRequest(stream, fields, endsStream);
    });
    this.closeIfOver(stream);
  }

  /** @throws {Http2StreamError} when less came than was announced. */
  #endRemote(stream: Http2Stream, hasTrailers: boolean, trailers: HeaderList | undefined): void {
    if (stream.expectedBytes !== undefined && stream.expectedBytes !== 0) {
      throw malformed("The body is shorter than its content-length");
    }
    stream.receiveEnd(hasTrailers, trailers);
  }

  #onWindowUpdate(streamId: number, increment: number): void {
    this.#guard.spendWindowUpdate();
    if (streamId === 0) {
      this.output.grow(increment);
      this.#relieve();
      return;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.#table.isIdle(streamId)) throw protocolError("A window of a stream grows that never began");
      return;
    }
    this.#orResetStream(stream, () => {
      if (increment === 0) throw malformed("A window grows by nothing");
      stream.sendWindow += increment;
      if (stream.sendWindow > maxWindow) {
        throw new Http2StreamError(ErrorCode.flowControlError, "The stream's window is too large");
      }
    });
    if (!stream.canPump) return;
    this.output.hasMore(stream);
    this.output.flush();
    stream.relieve();
  }

  #onRstStream(streamId: number, code: number): void {
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      if (this.#table.isIdle(streamId)) throw protocolError("A stream is reset that never began");
      this.#guard.spend("control", "RST_STREAM frames on streams that are over");
      return;
    }
    if (this.#own.role === "server") this.#guard.spend("reset", "streams taken back");
    this.#drop(stream);
    stream.end({ code, by: "peer", isUnprocessed: code === ErrorCode.refusedStream });
    this.#host.onStreamOver();
  }

  #onSettings(flags: number, payload: Buffer): void {
    if ((flags & Flag.ack) !== 0) {
      if (payload.length > 0) {
        throw new Http2ConnectionError(ErrorCode.frameSizeError, "An acknowledgement of SETTINGS has a payload");
      }
      if (!this.#hasPeerSettings) throw protocolError("The first frame is not SETTINGS");
      this.#guard.spend("control", "SETTINGS frames");
      return;
    }
    this.#guard.spend("control", "SETTINGS frames");
    this.#hasPeerSettings = true;
    const before = this.peer.initialWindow;
    this.peer.read(payload);
    const change = this.peer.initialWindow - before;
    for (const stream of this.streams.values()) {
      stream.sendWindow += change;
      if (stream.sendWindow > maxWindow) {
        throw new Http2ConnectionError(ErrorCode.flowControlError, "The window of a stream is too large");
      }
      if (stream.canPump) this.output.hasMore(stream);
    }
    this.output.acknowledgeSettings();
    this.#host.onSettings();
    if (change > 0) this.#relieve();
  }

  #onPing(flags: number, payload: Buffer): void {
    this.#guard.spend("control", "PING frames");
    if ((flags & Flag.ack) === 0) this.output.answerPing(payload);
  }

  #onGoaway(payload: Buffer): void {
    if (payload.length < 8) throw new Http2ConnectionError(ErrorCode.frameSizeError, "A GOAWAY frame is too short");
    this.#guard.spend("control", "GOAWAY frames");
    const last = payload.readUInt32BE(0) & maxWindow;
    const code = payload.readUInt32BE(4);
    this.#hasPeerLeft = true;
    if (this.#own.role === "client") {
      for (const stream of [...this.streams.values()]) {
        if (stream.id <= last) continue;
        this.#table.remember(stream.id); // some servers answer it all the same
        this.#drop(stream);
        stream.end({
          code: code === ErrorCode.noError ? ErrorCode.refusedStream : code,
          by: "connection",
          isUnprocessed: true,
        });
      }
    }
    this.#host.onGoaway();
    this.#closeIfDone();
  }

  // --- streams ----------------------------------------------------------------------------------------------------

  #newStream(id: number): Http2Stream {
    const windows = { send: this.peer.initialWindow, receive: this.#own.initialWindow };
    const stream = new Http2Stream(this, id, windows);
    this.#table.open.set(id, stream);
    return stream;
  }

  /** The stream on which the peer may still send; undefined for one that we ended. */
  #openStream(streamId: number, what: string): Http2Stream | undefined {
    const stream = this.#table.readable(streamId);
    if (stream === undefined) this.#guard.spend("control", what);
    return stream;
  }

  #orResetStream(stream: Http2Stream, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Http2StreamError)) throw error;
      this.failStream(stream, error);
    }
  }

  /** A rule that was broken on a stream ends it alone; too many of those end the connection. */
  failStream(stream: Http2Stream, error: Http2StreamError): void {
    if (!this.streams.has(stream.id)) return;
    this.#guarded(() => {
      this.resetStream(stream, error.code);
      this.#guard.spend("reset", "malformed streams");
    });
  }

  /** For streams: ends one from here. */
  resetStream(stream: Http2Stream, code: number): void {
    if (!this.streams.has(stream.id)) return;
    this.#sendReset(stream.id, code);
    this.#drop(stream);
    stream.end({ code, by: "error", isUnprocessed: false });
    if (!this.#isReading) this.output.flush();
    this.#host.onStreamOver();
    this.#closeIfDone();
  }

  #sendReset(streamId: number, code: number): void {
    this.#table.remember(streamId);
    this.output.reset(streamId, code);
  }

  /** For streams: forgets one that both sides have ended. */
  closeIfOver(stream: Http2Stream): void {
    if (!stream.isOver || !this.streams.has(stream.id)) return;
    this.#drop(stream);
    this.#host.onStreamOver();
    this.#closeIfDone();
  }

  #drop(stream: Http2Stream): void {
    this.#table.open.delete(stream.id);
    this.output.forget(stream);
  }

  #closeIfDone(): void {
    if (this.#isOver || this.streams.size > 0 || !(this.#isLeaving || this.#hasPeerLeft)) return;
    this.output.end();
    this.socket.end();
    this.#finish(undefined);
  }

  readonly #onGone = (): void => {
    this.socket.destroy();
    this.#finish(undefined);
  };

  #finish(failure: Http2ConnectionError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#data = undefined;
    const streams = [...this.streams.values()];
    this.#table.open.clear();
    this.output.end();
    const code = failure?.code ?? ErrorCode.connectError;
    for (const stream of streams) stream.end({ code, by: "connection", isUnprocessed: false });
    this.#host.onOver(failure);
  }

  /** Bytes of DATA have arrived: gives their window back, in pieces that are worth a frame. */
  #acknowledge(bytes: number): void {
    this.#received += bytes;
    if (this.#received < this.#receiveTarget / 4) return;
    this.output.windowUpdate(0, this.#received);
    this.#receiveWindow += this.#received;
    this.#received = 0;
  }
}
