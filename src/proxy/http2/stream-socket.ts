import { Duplex } from "node:stream";
import type { HeaderList } from "../http1/fields.ts";
import { ErrorCode } from "./http2-error.ts";
import type { Http2Stream, StreamOwner } from "./stream.ts";

/** The bytes of a stream as a socket would have them, for a WebSocket inside of HTTP/2 (RFC 8441, section 5). */
export class StreamSocket extends Duplex implements StreamOwner {
  readonly #stream: Http2Stream;
  #onWritten: (() => void) | undefined;

  constructor(stream: Http2Stream) {
    super();
    this.#stream = stream;
    stream.owner = this;
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#stream.sendData(chunk);
    if (this.#stream.flush()) done();
    else this.#onWritten = done;
  }

  override _final(done: () => void): void {
    this.#stream.sendEnd();
    this.#stream.flush();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.reset(ErrorCode.cancel);
    done(error);
  }

  onAnswerFields(): void {
    // A server hears none.
  }

  onData(chunk: Buffer): void {
    if (!this.push(chunk)) this.#stream.pause();
  }

  onTrailers(_fields: HeaderList | undefined): void {
    // A WebSocket has none.
  }

  onEnd(): void {
    this.push(null);
  }

  onReset(): void {
    this.destroy();
  }

  onDrain(): void {
    const done = this.#onWritten;
    this.#onWritten = undefined;
    done?.();
  }

  onBatch(): void {
    // Whoever reads writes for itself.
  }

  onSent(): void {
    // `_final` is through already.
  }
}
