import type { Socket } from "node:net";

/** Parts above this size are written on their own: copying them costs more than a system call. */
const maxJoinedBytes = 48 * 1024;

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
    if (parts.length > 1 && length <= maxJoinedBytes) return this.#socket.write(join(parts, length));
    let accepts = true;
    for (const part of parts) {
      accepts = typeof part === "string" ? this.#socket.write(part, "latin1") : this.#socket.write(part);
    }
    return accepts;
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
