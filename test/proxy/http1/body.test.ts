import { describe, expect, it } from "vitest";
import { BodyReader, type BodySink } from "../../../src/proxy/http1/body.ts";
import type { Framing } from "../../../src/proxy/http1/framing.ts";
import { FramingError } from "../../../src/proxy/http1/framing-error.ts";
import { readRequest } from "./read-message.ts";

const head = "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
const last = "0\r\n\r\n";

function startReader(framing: Framing, sink: BodySink): BodyReader {
  const reader = new BodyReader(sink);
  reader.begin(framing);
  return reader;
}

describe("chunked bodies", () => {
  it.each([
    [`5\r\nhello\r\n${last}`, "hello", "plain"],
    [`5\r\nhello\r\n6\r\n world\r\n${last}`, "hello world", "two chunks"],
    [`A\r\n0123456789\r\na\r\n0123456789\r\n${last}`, "01234567890123456789", "hexadecimal digits have no case"],
    [`0000000000000005\r\nhello\r\n000\r\n\r\n`, "hello", "leading zeros, as some senders pad"],
    [`5;a\r\nhello\r\n${last}`, "hello", "an extension"],
    [`5;a=b;c="d;\\\\\\"\\t"\r\nhello\r\n${last}`, "hello", "several extensions, quoted"],
    [`2\r\n\r\n\r\n${last}`, "\r\n", "line ends are data"],
    [`5\r\n0\r\n\r\n\r\n${last}`, "0\r\n\r\n", "what looks like the end is data"],
  ])("reads %j as %j: %s", (bytes, body) => {
    const verdict = readRequest(head, `${bytes}NEXT`);
    expect(verdict.kind === "message" && verdict.message.body.toString("latin1")).toBe(body);
    expect(verdict).toMatchObject({ message: { end: head.length + bytes.length } });
  });

  it.each([
    ["\r\nhello\r\n", "bad_chunk_size", "no size"],
    ["+5\r\nhello\r\n", "bad_chunk_size", "a sign"],
    ["-1\r\nhello\r\n", "bad_chunk_size", "a sign"],
    ["0x5\r\nhello\r\n", "bad_chunk_size", "a prefix: 0 for some, 5 for others"],
    ["5 \r\nhello\r\n", "bad_chunk_size", "a blank behind"],
    [" 5\r\nhello\r\n", "bad_chunk_size", "a blank before"],
    ["5\t\r\nhello\r\n", "bad_chunk_size", "a tab behind"],
    ["5 ;a\r\nhello\r\n", "bad_chunk_size", "a blank before the extension"],
    ["1_0\r\nhello\r\n", "bad_chunk_size", "digit groups"],
    ["g\r\nhello\r\n", "bad_chunk_size", "not hexadecimal"],
    ["5,5\r\nhello\r\n", "bad_chunk_size", "a list"],
    ["\u00b5\r\nhello\r\n", "bad_chunk_size", "no digit"],
    ["20000000000000\r\n", "bad_chunk_size", "2^53"],
    ["ffffffffffffffff\r\n", "bad_chunk_size", "2^64 - 1, which is -1 for some"],
    ["10000000000000005\r\nhello\r\n", "bad_chunk_size", "17 digits: 5 after an overflow"],
    ["00000000000000005\r\nhello\r\n", "bad_chunk_size", "17 digits"],
    ["5\nhello\r\n", "bad_chunk_size", "bare LF behind the size"],
    ["5\rhello\r\n", "bad_chunk_size", "bare CR behind the size"],
    ["5\r\r\nhello\r\n", "bad_chunk_size", "CR CR LF"],
    ["5\r\nhello0\r\n\r\n", "bad_chunk_end", "no CRLF behind the data"],
    ["5\r\nhello\n0\r\n\r\n", "bad_chunk_end", "bare LF behind the data"],
    ["5\r\nhello\r0\r\n\r\n", "bad_chunk_end", "bare CR behind the data"],
    ["5\r\nhello!\r\n", "bad_chunk_end", "more data than announced"],
    ["5;\r\nhello\r\n", "bad_chunk_extension", "an empty extension"],
    ["5;a;\r\nhello\r\n", "bad_chunk_extension", "an empty extension"],
    ["5;;a\r\nhello\r\n", "bad_chunk_extension", "an empty extension"],
    ["5;=b\r\nhello\r\n", "bad_chunk_extension", "no name"],
    ["5;a=\r\nhello\r\n", "bad_chunk_extension", "no value"],
    ["5;a b\r\nhello\r\n", "bad_chunk_extension", "a blank"],
    ["5; a\r\nhello\r\n", "bad_chunk_extension", "a blank"],
    ["5;a\nhello\r\n", "bad_chunk_extension", "bare LF: TERM.EXT smuggling"],
    ["5;a\0\r\nhello\r\n", "bad_chunk_extension", "NUL"],
    ["5;a\rb\r\nhello\r\n", "bad_chunk_size", "bare CR"],
    ['5;a="\n"\r\nhello\r\n', "bad_chunk_extension", "LF in a quoted value"],
    ['5;a="\\\r\n"\r\nhello\r\n', "bad_chunk_extension", "an escaped CR"],
    ['5;a="b"c\r\nhello\r\n', "bad_chunk_extension", "more behind the quote"],
    ["0\r\nX : y\r\n\r\n", "bad_header_name", "a trailer with a blank before its colon"],
    ["0\r\n X: y\r\n\r\n", "folded_header", "a folded trailer"],
    ["0\r\nX: y\nZ: w\r\n\r\n", "bad_line_end", "bare LF in trailers"],
    ["0\r\n\n", "bad_line_end", "a bare LF as the empty line"],
    ["0\r\n\rX", "bad_chunk_end", "a bare CR as the empty line"],
    ["0\r\nX: a\0\r\n\r\n", "bad_header_value", "NUL in trailers"],
    ["0\r\nContent-Length: 5\r\n\r\n", "forbidden_trailer", "it would change the framing"],
    ["0\r\ntransfer-encoding: chunked\r\n\r\n", "forbidden_trailer", "it would change the framing"],
    ["0\r\nHOST: b.test\r\n\r\n", "forbidden_trailer", "it would change the routing"],
  ])("refuses %j as %s: %s", (bytes, code) => {
    expect(readRequest(head, `1\r\nx\r\n${bytes}`)).toMatchObject({ kind: "refused", code });
    expect(readRequest(head, ...`1\r\nx\r\n${bytes}`)).toMatchObject({ kind: "refused", code });
  });

  it.each([
    { what: "an over-long extension", bytes: `5;${"a".repeat(256)}\r\nhello\r\n`, code: "bad_chunk_extension" },
    { what: "a trailer without bound", bytes: `0\r\nX: ${"y".repeat(20_000)}\r\n\r\n`, code: "head_too_large" },
    { what: "trailers without bound", bytes: `0\r\n${"x: y\r\n".repeat(100)}\r\n`, code: "too_many_headers" },
  ])("refuses $what as $code", ({ bytes, code }) => {
    expect(readRequest(head, bytes)).toMatchObject({ kind: "refused", code });
    expect(readRequest(head, ...bytes)).toMatchObject({ kind: "refused", code });
  });

  it("hands trailers on, without those that must not be trailers", () => {
    const trailers = "grpc-status: 0\r\nAuthorization: a\r\nX-Sum: \u00e9\r\nSet-Cookie: a\r\nContent-Type: b\r\n";
    const verdict = readRequest(head, `0\r\n${trailers}\r\n`);
    expect(verdict).toMatchObject({ message: { trailers: ["grpc-status", "0", "X-Sum", "\u00e9"] } });
  });

  it("refuses extensions that outweigh the data over many chunks", () => {
    const chunk = `1;${"a".repeat(250)}\r\nx\r\n`;
    expect(readRequest(head, chunk.repeat(10) + last).kind).toBe("message");
    expect(readRequest(head, chunk.repeat(100) + last)).toMatchObject({ code: "bad_chunk_extension" });
    const weighty = `400;${"a".repeat(250)}\r\n${"x".repeat(0x400)}\r\n`;
    expect(readRequest(head, weighty.repeat(200) + last).kind).toBe("message");
  });
});

describe("BodyReader", () => {
  const collect = () => {
    const data: Buffer[] = [];
    return { data, sink: { data: (chunk: Buffer) => void data.push(chunk) } };
  };

  it("hands out views of what was pushed, and the very chunk when all of it is data", () => {
    const { data, sink } = collect();
    const reader = startReader({ kind: "length", length: 8 }, sink);
    const first = Buffer.from("hello");
    const second = Buffer.from("you and me");
    expect(reader.push(first)).toBe(5);
    expect(reader.push(second)).toBe(3);
    expect(reader.done).toBe(true);
    expect(reader.push(second)).toBe(0);
    expect(data[0]).toBe(first);
    expect(data[1]?.buffer).toBe(second.buffer);
    expect(String(data[1])).toBe("you");
  });

  it.each([{ kind: "none" } as const, { kind: "length", length: 0 } as const])(
    "is done at once with $kind",
    (framing) => {
      const reader = startReader(framing, collect().sink);
      expect(reader.done).toBe(true);
      expect(reader.push(Buffer.from("next"))).toBe(0);
      reader.end();
    },
  );

  it("takes the end of the transport as the end of a body framed by it", () => {
    const reader = startReader({ kind: "close" }, collect().sink);
    expect(reader.push(Buffer.from("all of it"))).toBe(9);
    expect(reader.done).toBe(false);
    reader.end();
    expect(reader.done).toBe(true);
  });

  it.each([
    [{ kind: "length", length: 6 } as const, "hello"],
    [{ kind: "length", length: 6 } as const, ""],
    [{ kind: "chunked" } as const, ""],
    [{ kind: "chunked" } as const, "5\r\nhel"],
    [{ kind: "chunked" } as const, "5\r\nhello\r\n"],
    [{ kind: "chunked" } as const, "5\r\nhello\r\n0\r\n"],
    [{ kind: "chunked" } as const, "5\r\nhello\r\n0\r\nX: y\r\n"],
  ])("reports %j cut short after %j: a truncated body must not look complete", (framing, bytes) => {
    const reader = startReader(framing, collect().sink);
    reader.push(Buffer.from(bytes));
    expect(() => reader.end()).toThrow(FramingError);
    expect(() => reader.end()).toThrow("before the end of the message");
  });

  it("stays broken after a framing error, even when a good chunk follows", () => {
    const reader = startReader({ kind: "chunked" }, collect().sink);
    expect(() => reader.push(Buffer.from("x"))).toThrow(FramingError);
    expect(() => reader.push(Buffer.from(last))).toThrow(FramingError);
    expect(() => reader.end()).toThrow(FramingError);
    expect(reader.done).toBe(false);
  });
});
