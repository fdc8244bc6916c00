import { describe, expect, it } from "vitest";
import { parseRequestHead, parseResponseHead } from "../../../src/proxy/http1/head.ts";
import { copyResponseHead, rebuildRequestHead, rebuildResponseHead } from "../../../src/proxy/http1/rebuild.ts";
import { UnwritableHead } from "../../../src/proxy/http1/serialize.ts";

const request = parseRequestHead(Buffer.from("PUT /a?b HTTP/1.0\r\nHost: x\r\n\r\n"));

describe("a head whose headers were changed", () => {
  it("is the same request with other headers, byte for byte", () => {
    const rebuilt = rebuildRequestHead(request, ["Host", "x", "X-A", "caf\u00e9"]);
    expect(rebuilt).toMatchObject({ method: "PUT", target: "/a?b", minor: 0 });
    expect(rebuilt.fields.bytes.toString("latin1")).toBe("PUT /a?b HTTP/1.0\r\nHost: x\r\nX-A: caf\u00e9\r\n\r\n");
  });

  it("is the same answer with another reason, however it was written", () => {
    const rebuilt = rebuildResponseHead(999, "", ["X", "y"]);
    expect(rebuilt).toMatchObject({ status: 999, reason: "", headers: ["X", "y"] });
  });

  it.each([
    ["a line break in a value", ["X", "a\r\nY: b"]],
    ["a bare line feed", ["X", "a\nY: b"]],
    ["a colon in a name", ["X: a", "b"]],
    ["an empty name", ["", "b"]],
  ])("is never written with %s", (_, headers) => {
    expect(() => rebuildRequestHead(request, headers)).toThrow(UnwritableHead);
    expect(() => rebuildResponseHead(200, "OK", headers)).toThrow(UnwritableHead);
  });

  it("outlives the bytes it was read from as a copy", () => {
    const bytes = Buffer.from("HTTP/1.1 200 OK\r\nX: y\r\n\r\n");
    const copy = copyResponseHead(parseResponseHead(bytes));
    bytes.fill(0);
    expect(copy).toMatchObject({ status: 200, reason: "OK", headers: ["X", "y"] });
  });
});
