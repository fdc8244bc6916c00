/** Frames as tests write and read them; independent of the parser in its lengths and bits. */
export interface TestFrame {
  readonly isFinal: boolean;
  readonly rsv1?: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

const key = Buffer.of(0x12, 0x34, 0x56, 0x78);

const mask = (bytes: Buffer, key: Buffer) => Buffer.from(bytes.map((byte, at) => byte ^ (key[at % 4] ?? 0)));

export function frame(opcode: number, payload: string | Buffer, isFinal = true, rsv1 = false): TestFrame {
  return { isFinal, rsv1, opcode, payload: Buffer.from(payload) };
}

export function write(frames: readonly TestFrame[], isMasked: boolean): Buffer {
  return Buffer.concat(
    frames.flatMap(({ isFinal, rsv1, opcode, payload }) => {
      const first = (isFinal ? 0x80 : 0) + (rsv1 ? 0x40 : 0) + opcode;
      const bit = isMasked ? 0x80 : 0;
      const { length } = payload;
      const head =
        length < 126
          ? Buffer.of(first, bit + length)
          : length < 65536
            ? Buffer.of(first, bit + 126, length >> 8, length & 255)
            : Buffer.of(
                first,
                bit + 127,
                0,
                0,
                0,
                0,
                length >>> 24,
                (length >> 16) & 255,
                (length >> 8) & 255,
                length & 255,
              );
      if (!isMasked) return [head, payload];
      return [head, key, mask(payload, key)];
    }),
  );
}

export function read(bytes: Buffer): TestFrame[] {
  const frames: TestFrame[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [first = 0, second = 0] = bytes.subarray(at);
    const short = second & 127;
    let next = at + 2;
    let length = short;
    if (short === 126) length = bytes.readUInt16BE(next);
    if (short === 127) length = bytes.readUInt32BE(next + 4);
    next += short === 126 ? 2 : short === 127 ? 8 : 0;
    let payload = Buffer.from(bytes.subarray(next, next + length));
    if (second & 128) {
      payload = mask(bytes.subarray(next + 4, next + 4 + length), bytes.subarray(next, next + 4));
      next += 4;
    }
    if (next + length > bytes.length) throw new Error("The bytes end within a frame");
    frames.push({ isFinal: (first & 128) !== 0, rsv1: (first & 64) !== 0, opcode: first & 15, payload });
    at = next + length;
  }
  return frames;
}

/** The messages, fragments joined, and the control frames, in the order in which they are complete. */
export function messagesOf(frames: readonly TestFrame[]): { readonly opcode: number; readonly payload: string }[] {
  const messages: { opcode: number; payload: string }[] = [];
  let open: TestFrame | undefined;
  for (const one of frames) {
    if (one.opcode >= 8) {
      messages.push({ opcode: one.opcode, payload: one.payload.toString("latin1") });
      continue;
    }
    const begun = one.opcode === 0 ? open : undefined;
    if ((one.opcode === 0) !== (begun !== undefined) || (open !== undefined && one.opcode !== 0)) {
      throw new Error("Fragments out of order");
    }
    const whole: TestFrame = begun ? { ...begun, payload: Buffer.concat([begun.payload, one.payload]) } : one;
    if (one.isFinal) messages.push({ opcode: whole.opcode, payload: whole.payload.toString("latin1") });
    open = one.isFinal ? undefined : whole;
  }
  return messages;
}

export function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const borders = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => bytes.subarray(borders[i], end));
}
