import { FrameType, maxFrameBytes } from "./frame.ts";
import { enhanceYourCalm, protocolError } from "./http2-error.ts";

export interface HeaderBlock {
  readonly bytes: Buffer;
  readonly endsStream: boolean;
}

/** Puts together the header blocks of one peer (RFC 9113, section 4.3): nothing may come in between. */
export class HeaderBlocks {
  readonly #maxBytes: number;
  /** Twice what full frames would need: what comes in smaller pieces is a flood (CVE-2024-27316). */
  readonly #maxParts: number;
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  #streamId = 0;
  #endsStream = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#maxParts = 2 * Math.ceil(maxBytes / maxFrameBytes);
  }

  /** Has one begun? */
  get isOpen(): boolean {
    return this.#streamId !== 0;
  }

  /** @throws {Http2ConnectionError} when a frame of this type must not come now. */
  expect(type: number, streamId: number): void {
    const continues = type === FrameType.continuation;
    if (this.isOpen) {
      if (!continues || streamId !== this.#streamId) throw protocolError("A header block is interrupted");
    } else if (continues) throw protocolError("A CONTINUATION frame continues nothing");
  }

  /** The whole block with its last part, else undefined. @throws {Http2ConnectionError} ENHANCE_YOUR_CALM. */
  push(
    streamId: number,
    part: Buffer,
    frame: { readonly isFirst: boolean; readonly isLast: boolean; readonly endsStream: boolean },
  ): HeaderBlock | undefined {
    if (frame.isFirst && frame.isLast) return { bytes: part, endsStream: frame.endsStream };
    if (frame.isFirst) {
      this.#streamId = streamId;
      this.#endsStream = frame.endsStream;
    }
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) throw enhanceYourCalm("A header block is too large");
    if (this.#parts.length >= this.#maxParts) throw enhanceYourCalm("A header block comes in too many frames");
    // The part is in a buffer that goes on to be read into.
    this.#parts.push(Buffer.from(part));
    if (!frame.isLast) return undefined;
    const block = { bytes: Buffer.concat(this.#parts), endsStream: this.#endsStream };
    this.#parts.length = 0;
    this.#bytes = 0;
    this.#streamId = 0;
    return block;
  }
}
