import { describe, expect, it } from "vitest";
import { chunkPrefix, lastChunk, serializeResponseHead, UnwritableHead } from "../../../src/proxy/http1/serialize.ts";

describe("what is written", () => {
  it("keeps order and case", () => {
    const headers = ["hOST", "a", "X", "", "x", "\u00e9\t!"];
    expect(serializeResponseHead(200, "", headers)).toBe("HTTP/1.1 200 \r\nhOST: a\r\nX: \r\nx: \u00e9\t!\r\n\r\n");
    expect(serializeResponseHead(404, "Not Found", [])).toBe("HTTP/1.1 404 Not Found\r\n\r\n");
  });

  it("frames chunks", () => {
    expect(chunkPrefix(255)).toBe("ff\r\n");
    expect(lastChunk()).toBe("0\r\n\r\n");
    expect(lastChunk(["X", "y"])).toBe("0\r\nX: y\r\n\r\n");
  });
});

describe("what is refused at the last step", () => {
  const secret = "sk_live_1";

  it.each(["\r\n", "\r", "\n", "\0", "\x7f", "\u010d\u010a", "\u560a"])("a part that holds %j", (bad) => {
    const part = `${secret}${bad}X: y`;
    for (const write of [
      () => serializeResponseHead(200, "", [part, "y"]),
      () => serializeResponseHead(200, part, []),
      () => serializeResponseHead(200, "", ["X", part]),
      () => lastChunk(["X", part]),
      () => lastChunk([part, "y"]),
    ]) {
      expect(write).toThrow(UnwritableHead);
      expect(write).not.toThrow(secret);
    }
  });

  it.each([
    ["an empty name", () => serializeResponseHead(200, "", ["", "x"])],
    ["a colon in a name", () => serializeResponseHead(200, "", ["a:b", "x"])],
    ["a status of two digits", () => serializeResponseHead(99, "", [])],
    ["a status that is no number", () => serializeResponseHead(Number.NaN, "", [])],
    ["a name without its value", () => serializeResponseHead(200, "", ["a", "b", "c"])],
  ])("%s", (_, write) => {
    expect(write).toThrow(UnwritableHead);
  });

  it.each([0, -1, 1.5, Number.NaN, 2 ** 60])("a chunk of %d bytes: an empty one would end the body", (length) => {
    expect(() => chunkPrefix(length)).toThrow(RangeError);
  });
});
