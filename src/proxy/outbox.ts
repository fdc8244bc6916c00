import type { Socket } from "node:net";

/** Parts above this size are written on their own: copying them costs more than a system call. */
const maxJoinedBytes = 48 * 1024;
/** What may wait in a socket for a slow peer before its source is stopped. */
const maxWaitingBytes = 128 * 1024;

/** Collects what one event produces, so that a head and the first bytes of its body leave in one write. */
export class Outbox {
  readonly #socket: Socket;
  #parts: (string | Buffer)[] = [];
  #length = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** @param text one character per byte. */
  text(text: string): void {
    this.#parts.push(text);
    this.#length += text.length;
  }

  bytes(chunk: Buffer): void {
    this.#parts.push(chunk);
    this.#length += chunk.length;
  }

  /** Writes it all. False when the peer is slow: stop producing until the socket's `drain`. */
  flush(): boolean {
    const parts = this.#parts;
    if (parts.length === 0) return true;
    const length = this.#length;
    this.#parts = [];
    this.#length = 0;
    if (!this.#socket.writable) return true;
    if (parts.length > 1 && length <= maxJoinedBytes) this.#socket.write(join(parts, length));
    else for (const part of parts) this.#writePart(part);
    // `write` says no to everything above its high-water mark, also when the system took it at once. Stopping the
    // source then costs four system calls for nothing; what still waits is what tells a slow peer.
    return this.#socket.writableLength <= maxWaitingBytes;
  }

  #writePart(part: string | Buffer): void {
    if (typeof part === "string") this.#socket.write(part, "latin1");
    else this.#socket.write(part);
  }
}

function join(parts: readonly (string | Buffer)[], length: number): Buffer {
  const joined = Buffer.allocUnsafe(length);
  let at = 0;
  for (const part of parts) {
    at += typeof part === "string" ? joined.write(part, at, "latin1") : part.copy(joined, at);
  }
  return joined;
}
