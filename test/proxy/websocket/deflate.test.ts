import { constants, createDeflateRaw, createInflateRaw, deflateRawSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NeedleSet } from "../../../src/proxy/scrub/needles.ts";
import { acceptedDeflate, deflateMessage, Inflater, offeredExtensions } from "../../../src/proxy/websocket/deflate.ts";
import { scrubbingRewriter } from "../../../src/proxy/websocket/inspect.ts";
import { cut, frame, read, type TestFrame, write } from "./frames.ts";

const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const marker = "[redacted]**********************";
const needles = new NeedleSet([{ key: "KEY", value: secret }]);

/** One engine for all messages, as a sender has that keeps its window. */
function deflater(): (message: string) => Promise<Buffer> {
  const engine = createDeflateRaw();
  return (message) =>
    new Promise((resolve) => {
      const parts: Buffer[] = [];
      const take = (part: Buffer) => void parts.push(part);
      engine.on("data", take);
      engine.write(message);
      engine.flush(constants.Z_SYNC_FLUSH, () => {
        engine.off("data", take);
        resolve(Buffer.concat(parts).subarray(0, -4));
      });
    });
}

/** One engine for all messages, as a receiver has. */
function inflater(): (payload: Buffer) => Promise<string> {
  const engine = createInflateRaw();
  return (payload) =>
    new Promise((resolve, reject) => {
      const parts: Buffer[] = [];
      const take = (part: Buffer) => void parts.push(part);
      engine.on("data", take);
      engine.once("error", reject);
      engine.write(Buffer.concat([payload, Buffer.of(0, 0, 255, 255)]));
      engine.flush(() => {
        engine.off("data", take);
        engine.off("error", reject);
        resolve(Buffer.concat(parts).toString());
      });
    });
}

function scrubbing(forgets: boolean, mode: "detect" | "redact" = "redact", maxMessageBytes = 1e6) {
  const deflate = { forgets: { client: forgets, server: forgets }, windowBits: { client: 15, server: 15 } };
  const made = scrubbingRewriter(needles, mode, { deflate, maxMessageBytes });
  if (made === undefined) throw new Error("Nothing to look for");
  return made;
}

describe("the offers of an agent", () => {
  it.each([
    { offer: "permessage-deflate", kept: "permessage-deflate" },
    { offer: "permessage-deflate; client_max_window_bits", kept: "permessage-deflate; client_max_window_bits" },
    {
      offer: "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=10",
      kept: "permessage-deflate; server_max_window_bits=10",
    },
    { offer: "permessage-deflate; unknown=1, permessage-deflate", kept: "permessage-deflate" },
    { offer: "permessage-deflate; server_max_window_bits", kept: undefined },
    { offer: "permessage-deflate; client_max_window_bits=16", kept: undefined },
    { offer: "permessage-bzip2", kept: undefined },
    { offer: "", kept: undefined },
  ])("go upstream as far as they can be followed: $offer", ({ offer, kept }) => {
    expect(offeredExtensions([offer])).toBe(kept);
  });
});

describe("the answer to them", () => {
  const offer = "permessage-deflate; client_max_window_bits";
  it("is read with its parameters", () => {
    expect(acceptedDeflate(offer, [])).toBeUndefined();
    expect(
      acceptedDeflate(offer, ['permessage-deflate; server_no_context_takeover; client_max_window_bits="10"']),
    ).toEqual({
      forgets: { client: false, server: true },
      windowBits: { client: 10, server: 15 },
    });
  });

  it.each([
    { offered: undefined, answer: "permessage-deflate" },
    { offered: offer, answer: "permessage-bzip2" },
    { offered: offer, answer: "permessage-deflate, permessage-deflate" },
    { offered: offer, answer: "permessage-deflate; client_max_window_bits" },
    { offered: "permessage-deflate", answer: "permessage-deflate; client_max_window_bits=10" },
    { offered: offer, answer: "permessage-deflate; client_max_window_bits=7" },
    { offered: offer, answer: "permessage-deflate; server_no_context_takeover; server_no_context_takeover" },
  ])("is refused when it is more than was offered: $answer", ({ offered, answer }) => {
    expect(() => acceptedDeflate(offered, [answer])).toThrow(/not offered/);
  });
});

describe("whatever extensions are named", () => {
  it("offers stay well-formed, and answers are read or refused", () => {
    const part = fc.constantFrom(
      ...[
        "permessage-deflate",
        "; ",
        ";",
        ",",
        "=",
        "client_max_window_bits",
        "server_max_window_bits",
        "10",
        '"9"',
        "0",
      ],
      ...["client_no_context_takeover", "server_no_context_takeover", " ", "x", '"'],
    );
    const value = fc.array(part, { maxLength: 9 }).map((parts) => parts.join(""));
    const property = fc.property(value, value, (offer, answer) => {
      const offered = offeredExtensions([offer]);
      expect(offered === undefined || offeredExtensions([offered]) === offered).toBe(true);
      try {
        const accepted = acceptedDeflate(offered, [answer]);
        const bits = Object.values(accepted?.windowBits ?? {});
        expect(bits.every((count) => count >= 8 && count <= 15)).toBe(true);
      } catch (error) {
        expect(error).toMatchObject({ code: "upstream_bad_answer" });
      }
    });
    fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 1000) });
  });
});

describe("a compressed message", () => {
  it.each([
    { hex: "f248cdc9c90700", because: "a block with fixed codes (RFC 7692, section 7.2.3.1)" },
    { hex: "000500faff48656c6c6f00", because: "a stored block (7.2.3.3)" },
    { hex: "f348cdc9c9070000", because: "a last block (7.2.3.4)" },
    { hex: "f248050000 00ffffcac9c90700".replaceAll(" ", ""), because: "two blocks (7.2.3.5)" },
  ])("unfolds: $because", ({ hex }) => {
    expect(new Inflater(false).inflate(Buffer.from(hex, "hex"), 100).toString()).toBe("Hello");
  });

  it("may refer to earlier ones, within the window", async () => {
    const words = fc.array(
      fc.oneof(fc.string({ maxLength: 30 }), fc.constant("z".repeat(40_000)), fc.constant("repeated text ")),
      { minLength: 1, maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(words, async (messages) => {
        const deflate = deflater();
        const inflate = new Inflater(false);
        for (const message of messages)
          expect(inflate.inflate(await deflate(message), 1e6).toString()).toBe(Buffer.from(message).toString());
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 100) },
    );
  });

  it("must not unfold past the bound, and must be deflate", () => {
    const bomb = deflateRawSync(Buffer.alloc(1_000_000));
    expect(() => new Inflater(true).inflate(bomb, 10_000)).toThrow(
      expect.objectContaining({ closeCode: 1009 }) as Error,
    );
    expect(() => new Inflater(true).inflate(Buffer.from("nonsense"), 10_000)).toThrow(
      expect.objectContaining({ closeCode: 1007 }) as Error,
    );
  });

  it("of our own stands alone, within the window that was agreed on", () => {
    const message = Buffer.from("some text ".repeat(500));
    const own = deflateMessage(message, 9);
    const end = Buffer.of(0, 0, 255, 255);
    expect(
      inflateRawSync(Buffer.concat([own ?? end, end]), { finishFlush: constants.Z_SYNC_FLUSH, windowBits: 9 }),
    ).toEqual(message);
    expect(deflateMessage(message, 8), "zlib has no window that small").toBeUndefined();
    expect(deflateMessage(Buffer.from("short"), 15)).toBeUndefined();
  });
});

describe("compressed messages on their way through", () => {
  const texts = fc.array(
    fc.record({
      opcode: fc.constantFrom(1, 2),
      text: fc
        .array(fc.constantFrom("common words ", "é", secret, secret.slice(3), "x".repeat(2000)), { maxLength: 4 })
        .map((parts) => parts.join("")),
      isCompressed: fc.boolean(),
      places: fc.array(fc.nat(100), { maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 8 },
  );

  it.each([true, false])("are scrubbed, and the receiver's window fits what follows (forgets: %s)", async (forgets) => {
    const property = fc.asyncProperty(texts, fc.array(fc.nat(9000), { maxLength: 8 }), async (messages, places) => {
      let deflate = deflater();
      const frames: TestFrame[] = [];
      for (const { opcode, text, isCompressed, places } of messages) {
        if (forgets) deflate = deflater();
        const payload = isCompressed ? await deflate(text) : Buffer.from(text);
        const parts = cut(payload, places);
        frames.push(
          ...parts.map((part, at) =>
            frame(at === 0 ? opcode : 0, part, at === parts.length - 1, at === 0 && isCompressed),
          ),
        );
      }
      const { rewriter } = scrubbing(forgets);
      const sent = read(
        Buffer.concat(
          cut(write(frames, false), places).flatMap((chunk) => rewriter.push(chunk).map((part) => Buffer.from(part))),
        ),
      );
      expect(rewriter.failure).toBeUndefined();
      let inflate = inflater();
      const received: string[] = [];
      let open: { payload: Buffer; isCompressed: boolean } | undefined;
      for (const one of sent) {
        open =
          one.opcode === 0 && open
            ? { ...open, payload: Buffer.concat([open.payload, one.payload]) }
            : { payload: one.payload, isCompressed: one.rsv1 === true };
        if (!one.isFinal) continue;
        if (forgets) inflate = inflater();
        received.push(open.isCompressed ? await inflate(open.payload) : open.payload.toString());
      }
      expect(received).toEqual(
        messages.map(({ opcode, text }) => (opcode === 1 ? text.replaceAll(secret, marker) : text)),
      );
    });
    await fc.assert(property, { numRuns: Number(process.env.FUZZ_RUNS ?? 150) });
  });

  it("stay byte for byte while nothing changes", async () => {
    const deflate = deflater();
    const frames = [
      frame(1, await deflate("hello hello"), true, true),
      frame(9, ""),
      frame(1, await deflate("hello hello"), true, true),
    ];
    const bytes = write(frames, false);
    expect(Buffer.concat(scrubbing(false).rewriter.push(bytes))).toEqual(bytes);
  });

  it("end the connection when they are too large to be looked into, or pass in the mode detect", async () => {
    const deflate = deflater();
    const big = frame(1, await deflate("x".repeat(50_000)), true, true);
    const next = frame(1, await deflate(secret), true, true);
    const refusing = scrubbing(false, "redact", 10_000).rewriter;
    refusing.push(write([big], false));
    expect(refusing.failure).toMatchObject({ code: "websocket_message_too_large", closeCode: 1009 });
    const { rewriter, scanner } = scrubbing(false, "detect", 10_000);
    const bytes = write([big, next, frame(1, secret)], false);
    expect(Buffer.concat(rewriter.push(bytes))).toEqual(bytes);
    expect(rewriter.unseenMessages, "the second one refers to the first").toBe(2);
    expect(scanner.count).toBe(1);
  });

  it("may not come in fragments without end", () => {
    const { rewriter } = scrubbing(false, "redact", 10_000);
    rewriter.push(write([frame(1, "", false, true)], false));
    const fragments = write(
      Array.from({ length: 1000 }, () => frame(0, "", false)),
      false,
    );
    for (let i = 0; i < 10 && rewriter.failure === undefined; i += 1) rewriter.push(fragments);
    expect(rewriter.failure).toMatchObject({ code: "websocket_message_too_large" });
  });

  it("must be text where they say so", async () => {
    const { rewriter } = scrubbing(false);
    rewriter.push(write([frame(1, deflateRawSync(Buffer.of(0xff)), true, true)], false));
    expect(rewriter.failure?.code).toBe("websocket_bad_text");
  });
});
