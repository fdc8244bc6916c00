import { headBytes, opcodes } from "./frame.ts";

/** What a joined WebSocket asks of whatever its frames pass through. */
export interface Frames {
  /** What goes on to the receiver; `failure` afterwards says whether that was the end. */
  push(chunk: Buffer): readonly Buffer[];
  readonly failure: Error | undefined;
  /** Nothing of a frame is missing: another one could be sent here. */
  readonly isBetweenFrames: boolean;
  /** A Close frame went by: nothing may come behind it. */
  readonly isClosing: boolean;
}

/**
 * Frames that pass byte for byte, looked at only to know where they end, so that a goodbye can be said between two of
 * them. It judges nothing: rules are for the two ends, and what is no frame is copied just the same.
 */
export class FrameWatch implements Frames {
  readonly failure = undefined;
  isClosing = false;
  /** The head that is being read, as far as it is there. */
  readonly #head = new Uint8Array(14);
  #headLength = 0;
  #payloadLeft = 0;

  get isBetweenFrames(): boolean {
    return this.#headLength === 0 && this.#payloadLeft === 0;
  }

  push(chunk: Buffer): readonly Buffer[] {
    let at = 0;
    while (at < chunk.length) {
      if (this.#payloadLeft > 0) {
        const skipped = Math.min(this.#payloadLeft, chunk.length - at);
        this.#payloadLeft -= skipped;
        at += skipped;
      } else {
        this.#head[this.#headLength++] = chunk[at++] ?? 0;
        if (this.#headLength >= 2 && this.#headLength === headBytes(this.#head[1] ?? 0)) this.#begin();
      }
    }
    return [chunk];
  }

  #begin(): void {
    const head = this.#head;
    if (((head[0] ?? 0) & 0x0f) === opcodes.close) this.isClosing = true;
    this.#payloadLeft = payloadBytes(head);
    this.#headLength = 0;
  }
}

/** RFC 6455, section 5.2. A length past 2^53 is not exact, and its frame never ends either way. */
function payloadBytes(head: Uint8Array): number {
  const short = (head[1] ?? 0) & 0x7f;
  if (short < 126) return short;
  const end = short === 126 ? 4 : 10;
  let length = 0;
  for (let at = 2; at < end; at++) length = length * 256 + (head[at] ?? 0);
  return length;
}
