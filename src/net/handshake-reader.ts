import type { Socket } from "node:net";

/**
 * Reads the few bytes that a proxy answers before it becomes a wire. It takes exactly what is asked for: in every
 * protocol spoken here the other side stays silent after its last answer, so bytes beyond are a reason to leave.
 */
export class HandshakeReader {
  readonly #socket: Socket;
  #buffer: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", this.#onData);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
    socket.on("end", this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    this.#wake?.();
  };

  readonly #onError = (error: Error): void => {
    this.#failure = error;
    this.#wake?.();
  };

  readonly #onClose = (): void => this.#onError(this.#failure ?? new Error("it closed the connection"));

  /** Rejects when the peer is gone before that. */
  async bytes(count: number): Promise<Buffer> {
    while (this.#buffer.length < count) await this.#more();
    const taken = this.#buffer.subarray(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  /** Everything up to and with `mark`, as latin1. Rejects when it does not come within `maxBytes`. */
  async until(mark: string, maxBytes: number): Promise<string> {
    for (;;) {
      const at = this.#buffer.indexOf(mark, 0, "latin1");
      if (at !== -1) return (await this.bytes(at + mark.length)).toString("latin1");
      if (this.#buffer.length > maxBytes) throw new Error("its answer is too long");
      await this.#more();
    }
  }

  /** Gives the socket back. @throws {Error} when the peer has said more than it was asked. */
  release(): void {
    this.#socket.removeListener("data", this.#onData);
    this.#socket.removeListener("error", this.#onError);
    this.#socket.removeListener("close", this.#onClose);
    this.#socket.removeListener("end", this.#onClose);
    if (this.#buffer.length > 0) throw new Error("it sent more than its answer");
    if (this.#failure) throw this.#failure;
  }

  async #more(): Promise<void> {
    if (this.#failure) throw this.#failure;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}
