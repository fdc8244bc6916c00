import { describe, expect, it } from "vitest";
import { closeFrame, opcodes, type Sender, serializeFrame } from "../../../src/proxy/websocket/frame.ts";
import { FrameWatch } from "../../../src/proxy/websocket/frame-watch.ts";

const frame = (bytes: number, sender: Sender, opcode: number = opcodes.binary) =>
  serializeFrame({ isFinal: true, isCompressed: false, opcode, payload: Buffer.alloc(bytes, 0x88) }, sender);

describe("frames that nobody looks into", () => {
  it.each([0, 1, 125, 126, 127, 65_535, 65_536, 200_000])("end where they say: %i bytes of payload", (bytes) => {
    for (const sender of ["client", "server"] as const) {
      const watch = new FrameWatch();
      const whole = frame(bytes, sender);
      watch.push(whole.subarray(0, whole.length - 1));
      expect(watch.isBetweenFrames).toBe(false);
      watch.push(whole.subarray(whole.length - 1));
      expect(watch.isBetweenFrames).toBe(true);
    }
  });

  it("end in the same places however they are cut", () => {
    const frames = [frame(3, "client"), frame(0, "client", opcodes.ping), frame(300, "client")];
    const bytes = Buffer.concat(frames);
    const watch = new FrameWatch();
    const ends: number[] = [];
    for (let at = 0; at < bytes.length; at++) {
      watch.push(bytes.subarray(at, at + 1));
      if (watch.isBetweenFrames) ends.push(at + 1);
    }
    let end = 0;
    expect(ends).toEqual(
      frames.map(({ length }) => {
        end += length;
        return end;
      }),
    );
  });

  it("pass as they came, whatever they are", () => {
    const nonsense = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3]);
    const watch = new FrameWatch();
    expect(watch.push(nonsense)).toEqual([nonsense]);
    expect(watch.isBetweenFrames).toBe(false);
  });

  it("say when one of them was a goodbye", () => {
    const watch = new FrameWatch();
    watch.push(frame(8, "server"));
    expect(watch.isClosing).toBe(false);
    watch.push(closeFrame(1000, "", "server"));
    expect(watch.isClosing).toBe(true);
  });
});
