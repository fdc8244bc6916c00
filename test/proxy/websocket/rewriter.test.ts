import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NeedleSet } from "../../../src/proxy/scrub/needles.ts";
import { Substitutions } from "../../../src/proxy/substitute/substitutions.ts";
import { scrubbingRewriter, substitutingRewriter } from "../../../src/proxy/websocket/inspect.ts";
import type { FrameRewriter } from "../../../src/proxy/websocket/rewriter.ts";
import { cut, frame, messagesOf, read, type TestFrame, write } from "./frames.ts";

const runs = { numRuns: Number(process.env.FUZZ_RUNS ?? 500) };
const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

function substituting(value: string, maxMessageBytes = 1e6): FrameRewriter {
  const substitutions = new Substitutions([{ key: "TOKEN", placeholder: "__t__", value, in: ["websocket"] }]);
  const rewriter = substitutingRewriter(substitutions, { deflate: undefined, maxMessageBytes });
  if (rewriter === undefined) throw new Error("Nothing declared");
  return rewriter;
}

function scrubbing(mode: "detect" | "redact" | "block" = "redact") {
  const set = new NeedleSet([{ key: "KEY", value: secret }]);
  const made = scrubbingRewriter(set, mode, { deflate: undefined });
  if (made === undefined) throw new Error("Nothing to look for");
  return made;
}

function pass(rewriter: FrameRewriter, ...chunks: readonly Buffer[]): Buffer {
  return Buffer.concat(chunks.flatMap((chunk) => rewriter.push(chunk).map((part) => Buffer.from(part))));
}

describe("an agent's text message", () => {
  it("gets the value of its placeholder, as JSON needs it, under a fresh mask", () => {
    const bytes = write([frame(1, '{"token":"__t__"}')], true);
    const sent = pass(substituting('a"b'), bytes);
    expect(messagesOf(read(sent))).toEqual([{ opcode: 1, payload: '{"token":"a\\"b"}' }]);
    expect(sent[1]).toBe(0x80 + 16);
    expect(sent.subarray(2, 6)).not.toEqual(bytes.subarray(2, 6));
  });

  it("that is no JSON gets the value as it is", () => {
    const sent = pass(substituting('a"b'), write([frame(1, "auth __t__")], true));
    expect(messagesOf(read(sent))).toEqual([{ opcode: 1, payload: 'auth a"b' }]);
  });

  it.each([
    { text: '42["auth","__t__"]', sent: '42["auth","a\\"b"]', because: "Socket.IO puts numbers before its JSON" },
    { text: '42/room,1["__t__"]', sent: '42/room,1["a\\"b"]', because: "and the name of a room" },
    { text: ' \n{"a":"__t__"}', sent: ' \n{"a":"a\\"b"}', because: "blanks may come first" },
    { text: '"__t__"', sent: '"a\\"b"', because: "a string alone is JSON" },
    { text: "42", sent: "42", because: "a number alone holds nothing" },
    { text: "42 __t__", sent: '42 a"b', because: "numbers alone make no JSON" },
    { text: "/join __t__, now", sent: '/join a"b, now', because: "a slash alone makes none" },
  ])("$text is sent as $sent: $because", ({ text, sent }) => {
    for (const places of [[], [1], [2, 3], Array.from(text, (_, at) => at)]) {
      const parts = cut(Buffer.from(text), places);
      const frames = parts.map((part, at) => frame(at === 0 ? 1 : 0, part, at === parts.length - 1));
      expect(messagesOf(read(pass(substituting('a"b'), write(frames, true))))).toEqual([{ opcode: 1, payload: sent }]);
    }
  });

  it("that grows takes the longer form of length", () => {
    const text = `__t__${"x".repeat(116)}`;
    const sent = pass(substituting("v".repeat(99)), write([frame(1, text)], true));
    expect(sent[1]).toBe(0x80 + 126);
    expect(sent.readUInt16BE(2)).toBe(215);
    expect(read(sent)).toHaveLength(1);
  });

  it.each([
    { name: "text without a placeholder", frames: [frame(1, '{"a":1}')] },
    { name: "text that ends like the beginning of one", frames: [frame(1, "a __")] },
    { name: "binary", frames: [frame(2, Buffer.of(0, 255, 1))] },
    { name: "ping, pong and close", frames: [frame(9, "__t__"), frame(10, ""), frame(8, Buffer.of(3, 232))] },
    {
      name: "fragments around a ping",
      frames: [frame(1, "a", false), frame(9, "p"), frame(0, "b", false), frame(0, "")],
    },
    { name: "a large binary message", frames: [frame(2, Buffer.alloc(200_000, 7))] },
  ])("stays byte for byte: $name", ({ frames }) => {
    const bytes = write(frames, true);
    expect(pass(substituting("v"), bytes)).toEqual(bytes);
    expect(pass(substituting("v"), ...cut(bytes, [1, 2, 3, 5, 8, 13, 14, 15]))).toEqual(bytes);
  });

  it("goes on as the very same memory when nothing changes", () => {
    const chunk = write([frame(1, '{"a":1}'), frame(9, "x"), frame(2, "binary")], true);
    const parts = substituting("v").push(chunk);
    expect(parts).toHaveLength(1);
    expect(parts[0]?.buffer).toBe(chunk.buffer);
  });

  it("of more than a megabyte streams, placeholder or not", () => {
    const text = `${"x".repeat(1024 * 1024 + 100)}__t__`;
    const bytes = write([frame(1, text)], true);
    const rewriter = substituting("value");
    const first = pass(rewriter, bytes.subarray(0, 100_000));
    expect(first.length, "nothing is collected").toBeGreaterThan(99_000);
    const sent = Buffer.concat([first, pass(rewriter, bytes.subarray(100_000))]);
    expect(messagesOf(read(sent))).toEqual([{ opcode: 1, payload: text.replace("__t__", "value") }]);
  });

  it("is masked as the bytes demand, wherever it lies in memory", () => {
    const property = fc.property(fc.nat(2000), fc.nat(20), fc.nat(9), (length, shift, at) => {
      const text = `__t__${"é".repeat(length)}`;
      const bytes = Buffer.concat([
        Buffer.alloc(shift),
        write([frame(1, text.slice(0, at), false), frame(0, text.slice(at))], true),
      ]);
      const sent = pass(substituting("v".repeat(at)), bytes.subarray(shift));
      expect(messagesOf(read(sent))[0]?.payload).toBe(
        Buffer.from(text.replace("__t__", "v".repeat(at))).toString("latin1"),
      );
    });
    fc.assert(property, runs);
  });

  it("may be fragmented inside of the placeholder", () => {
    for (const places of [[3], [1, 2, 3, 4], [2, 2, 6]]) {
      const parts = cut(Buffer.from("a__t__b"), places);
      const frames = parts.map((part, at) => frame(at === 0 ? 1 : 0, part, at === parts.length - 1));
      expect(messagesOf(read(pass(substituting("value"), write(frames, true))))).toEqual([
        { opcode: 1, payload: "avalueb" },
      ]);
    }
  });

  it("does not join with the next one", () => {
    const sent = pass(substituting("v"), write([frame(1, "a__t"), frame(1, "__b")], true));
    expect(messagesOf(read(sent)).map(({ payload }) => payload)).toEqual(["a__t", "__b"]);
  });

  it("that is binary must not hold a placeholder", () => {
    const rewriter = substituting("v");
    pass(rewriter, write([frame(2, "a__", false), frame(0, "t__")], true));
    expect(rewriter.failure).toMatchObject({ code: "placeholder_in_binary_message", closeCode: 1008 });
  });
});

describe("an upstream's text message", () => {
  it("loses the injected values in it, fragmented or not", () => {
    const { rewriter, scanner } = scrubbing();
    const frames = [frame(1, `{"k":"${secret}"}`), frame(1, secret.slice(0, 9), false), frame(0, secret.slice(9))];
    const sent = messagesOf(read(pass(rewriter, write(frames, false))));
    expect(sent.map(({ payload }) => payload)).toEqual([
      '{"k":"[redacted]**********************"}',
      "[redacted]**********************",
    ]);
    expect(scanner.count).toBe(2);
  });

  it("ends the connection in the mode block, what came before still passes", () => {
    const { rewriter } = scrubbing("block");
    const sent = pass(rewriter, write([frame(1, "fine"), frame(1, secret)], false));
    expect(messagesOf(read(sent))).toEqual([{ opcode: 1, payload: "fine" }]);
    expect(rewriter.failure).toMatchObject({ code: "credential_in_answer" });
    expect(pass(rewriter, write([frame(1, "more")], false))).toHaveLength(0);
  });

  it.each([
    { name: "a Ping", opcode: 9, lead: "" },
    { name: "a Pong", opcode: 10, lead: "" },
    { name: "the reason of a Close", opcode: 8, lead: "\x03\xe8" },
  ])("does not go on in $name, not even in the middle of a message", ({ opcode, lead }) => {
    const { rewriter, scanner } = scrubbing();
    const control = frame(opcode, Buffer.from(`${lead}x ${secret} y`, "latin1"));
    const text = frame(1, `{"a":"${secret.slice(0, 9)}`, false);
    const sent = pass(rewriter, write([text, control], false));
    expect(sent.toString("latin1")).not.toContain(secret);
    const controls = read(sent).filter((one) => one.opcode === opcode);
    const redacted = `${lead}x [redacted]${"*".repeat(secret.length - 10)} y`;
    expect(controls.map(({ payload }) => Buffer.from(payload).toString("latin1"))).toEqual([redacted]);
    expect([...scanner.found]).toEqual(["KEY"]);
    expect(scanner.count).toBe(1);
    if (opcode === 8) return;
    const rest = pass(rewriter, write([frame(0, '"}')], false));
    expect(rest.toString("latin1")).toContain(secret.slice(0, 9));
  });

  it("ends the connection when it is in a Ping, in the mode block, and is only noted in the mode detect", () => {
    const ping = write([frame(9, secret)], false);
    const blocking = scrubbing("block");
    expect(pass(blocking.rewriter, ping)).toHaveLength(0);
    expect(blocking.rewriter.failure?.code).toBe("credential_in_answer");
    expect([...blocking.scanner.found]).toEqual(["KEY"]);
    const detecting = scrubbing("detect");
    expect(pass(detecting.rewriter, ping)).toEqual(ping);
    expect([...detecting.scanner.found]).toEqual(["KEY"]);
  });

  it("makes no control frame longer than it may be", () => {
    const set = new NeedleSet([{ key: "KEY", value: secret, placeholder: `__${"k".repeat(90)}__` }]);
    const made = scrubbingRewriter(set, "redact", { deflate: undefined });
    if (made === undefined) throw new Error("Nothing to look for");
    const long = frame(9, secret + "y".repeat(90));
    const sent = read(pass(made.rewriter, write([long], false)));
    expect(sent[0]?.payload).toHaveLength(125);
    const closed = frame(8, Buffer.concat([Buffer.of(3, 232), Buffer.from(secret + "y".repeat(80))]));
    const end = read(pass(made.rewriter, write([closed], false)));
    expect(end.map(({ payload }) => Buffer.from(payload))).toEqual([Buffer.of(3, 232)]);
  });

  it("is only reported in the mode detect", () => {
    const { rewriter, scanner } = scrubbing("detect");
    const bytes = write([frame(1, secret)], false);
    expect(pass(rewriter, bytes)).toEqual(bytes);
    expect([...scanner.found]).toEqual(["KEY"]);
  });
});

describe("frames that break RFC 6455", () => {
  const masked = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");
  it.each([
    { bytes: "81 01 41", code: "websocket_bad_frame", because: "a client's frame has no mask" },
    { bytes: "c1 81 00000000 41", code: "websocket_bad_frame", because: "nothing was agreed about compression" },
    { bytes: "a1 81 00000000 41", code: "websocket_bad_frame", because: "a reserved bit is set" },
    { bytes: "91 81 00000000 41", code: "websocket_bad_frame", because: "a reserved bit is set" },
    { bytes: "83 80 00000000", code: "websocket_bad_frame", because: "the opcode is reserved" },
    { bytes: "8b 80 00000000", code: "websocket_bad_frame", because: "the opcode is reserved" },
    { bytes: "09 80 00000000", code: "websocket_bad_frame", because: "a ping is a fragment" },
    { bytes: "89 fe 007e 00000000", code: "websocket_bad_frame", because: "a ping is too long" },
    { bytes: "81 fe 007d 00000000", code: "websocket_bad_frame", because: "the length is not in its shortest form" },
    {
      bytes: "81 ff 000000000000ffff 00000000",
      code: "websocket_bad_frame",
      because: "the length is not in its shortest form",
    },
    {
      bytes: "81 ff 8000000000010000 00000000",
      code: "websocket_bad_frame",
      because: "the length has its top bit set",
    },
    { bytes: "80 80 00000000", code: "websocket_bad_frame", because: "it continues nothing" },
    {
      bytes: "01 80 00000000 81 80 00000000",
      code: "websocket_bad_frame",
      because: "a message begins inside of another",
    },
    { bytes: "88 81 00000000 03", code: "websocket_bad_frame", because: "half a status" },
    { bytes: "88 82 00000000 03ed", code: "websocket_bad_frame", because: "1005 is never sent" },
    { bytes: "88 82 00000000 03e7", code: "websocket_bad_frame", because: "999 is no status" },
    { bytes: "88 83 00000000 03e8 ff", code: "websocket_bad_text", because: "the reason is not UTF-8" },
    { bytes: "88 80 00000000 81 80 00000000", code: "websocket_bad_frame", because: "a frame follows a Close" },
    { bytes: "81 81 00000000 ff", code: "websocket_bad_text", because: "the text is not UTF-8" },
    { bytes: "81 81 00000000 c3", code: "websocket_bad_text", because: "the text ends within a character" },
    { bytes: "01 81 00000000 c3 80 81 00000000 41", code: "websocket_bad_text", because: "a character is broken off" },
  ])("end the connection: $because ($bytes)", ({ bytes, code }) => {
    const rewriter = substituting("v");
    pass(rewriter, masked(bytes));
    expect(rewriter.failure?.code).toBe(code);
    const bytewise = substituting("v");
    pass(bytewise, ...[...masked(bytes)].map((byte) => Buffer.of(byte)));
    expect(bytewise.failure?.code).toBe(code);
  });

  it("include a mask from a server", () => {
    const { rewriter } = scrubbing();
    pass(rewriter, write([frame(1, "a")], true));
    expect(rewriter.failure?.code).toBe("websocket_bad_frame");
  });

  it.each(["01 81 00000000 c3 80 81 00000000 a9", "88 80 00000000", "88 82 00000000 0bb8", "88 84 00000000 03e8 c3a9"])(
    "do not include %s",
    (bytes) => {
      const rewriter = substituting("v");
      expect(pass(rewriter, masked(bytes))).toEqual(masked(bytes));
      expect(rewriter.failure).toBeUndefined();
    },
  );
});

describe("however frames are cut", () => {
  const text = fc
    .array(fc.constantFrom("x", "__t__", "__", "t__", "é", "😀", '{"', secret, secret.slice(0, 7)), { maxLength: 8 })
    .map((parts) => parts.join(""));
  const places = fc.array(fc.nat(5000), { maxLength: 12 });
  const control = fc.constantFrom(frame(9, "ping"), frame(10, ""));
  /** A message in fragments, with control frames between them. */
  const message = fc.record({
    opcode: fc.constantFrom(1, 2),
    text,
    places,
    control: fc.option(control, { nil: undefined }),
  });

  function framesOf(
    messages: readonly { opcode: number; text: string; places: readonly number[]; control: TestFrame | undefined }[],
  ) {
    return messages.flatMap(({ opcode, text, places, control }) => {
      const content = opcode === 2 ? text.replaceAll("_", "-") : text;
      const parts = cut(Buffer.from(content), places.slice(0, 4));
      return parts.flatMap((part, at) => [
        frame(at === 0 ? opcode : 0, part, at === parts.length - 1),
        ...(control && at === 0 ? [control] : []),
      ]);
    });
  }

  const rewrite = (payload: string, opcode: number, isClient: boolean) => {
    if (opcode !== 1) return payload;
    return isClient
      ? payload.replaceAll("__t__", "VALUE")
      : payload.replaceAll(secret, "[redacted]**********************");
  };

  it("the messages are the same, each rewritten by itself", () => {
    const property = fc.property(
      fc.array(message, { maxLength: 5 }),
      places,
      fc.boolean(),
      (messages, at, isClient) => {
        const frames = framesOf(messages);
        const rewriter = isClient ? substituting("VALUE") : scrubbing().rewriter;
        const sent = pass(rewriter, ...cut(write(frames, isClient), at));
        expect(rewriter.failure).toBeUndefined();
        const expected = messagesOf(frames).map(({ opcode, payload }) => ({
          opcode,
          payload: rewrite(payload, opcode, isClient),
        }));
        // Control frames may overtake what is held back, not each other.
        const [data, controls] = [(m: { opcode: number }) => m.opcode < 8, (m: { opcode: number }) => m.opcode >= 8];
        const got = messagesOf(read(sent));
        expect(got.filter(data)).toEqual(expected.filter(data));
        expect(got.filter(controls)).toEqual(expected.filter(controls));
      },
    );
    fc.assert(property, runs);
  });

  it("the verdict over any bytes is the same", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.tuple(fc.array(message, { maxLength: 2 }), fc.nat(), fc.nat(255)).map(([messages, at, byte]) => {
        const written = write(framesOf(messages), true);
        if (written.length > 0) written[at % written.length] = byte;
        return written;
      }),
    );
    const verdict = (chunks: readonly Buffer[]) => {
      const rewriter = substituting("VALUE");
      const sent = pass(rewriter, ...chunks);
      return { code: rewriter.failure?.code, length: sent.length };
    };
    const property = fc.property(bytes, places, (input, at) => {
      const whole = Buffer.from(input);
      const expected = verdict([whole]);
      expect(verdict(cut(whole, at)).code).toBe(expected.code);
      expect(verdict([...whole].map((byte) => Buffer.of(byte))).code).toBe(expected.code);
    });
    fc.assert(property, runs);
  });
});
