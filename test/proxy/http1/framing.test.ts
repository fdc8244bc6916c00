import { describe, expect, it } from "vitest";
import { readRequest, readResponse } from "./read-message.ts";

/** Everything that an attacker can send to make us and the upstream disagree on where a message ends. */

const request = (...lines: readonly string[]) =>
  `POST /a HTTP/1.1\r\nHost: a.test\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;
const response = (...lines: readonly string[]) =>
  `HTTP/1.1 200 OK\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;

const badDeclarations: readonly { lines: readonly string[]; code: string; because: string }[] = [
  ...[
    ["Content-Length: 5", "Transfer-Encoding: chunked"],
    ["transfer-encoding: chunked", "content-length: 0"],
  ].map((lines) => ({
    lines,
    code: "ambiguous_length",
    because: "one parser takes the length, the other the chunks",
  })),
  { lines: ["Content-Length: 5", "Content-Length: 6"], code: "repeated_content_length", because: "first or last wins" },
  { lines: ["Content-Length: 5", "content-LENGTH: 5"], code: "repeated_content_length", because: "equal is no excuse" },
  ...[
    ["5, 5", "a list of equal lengths"],
    ["5,6", "a list"],
    ["+5", "a sign"],
    ["-5", "a sign"],
    ["-0", "a sign"],
    ["0x5", "hexadecimal for some"],
    ["5e0", "an exponent for some"],
    ["5.0", "a fraction"],
    ["1_0", "digit groups for some"],
    ["5 5", "a blank inside"],
    ["5\t5", "a tab inside"],
    ["05", "octal for some"],
    ["00", "a leading zero"],
    ["", "no digit at all"],
    ["9007199254740992", "2^53, not exact as a number"],
    ["18446744073709551621", "5 after a 64-bit overflow"],
    ["99999999999999999999999999", "far too large"],
    ["\u00b2", "a digit in Unicode only"],
    ['"5"', "quoted"],
    ["5;q=1", "a parameter"],
  ].map(([value, because = ""]) => ({ lines: [`Content-Length: ${value}`], code: "bad_content_length", because })),
  ...[
    ["gzip", "unknown"],
    ["identity", "obsolete"],
    ["gzip, chunked", "a list"],
    ["chunked, chunked", "a list"],
    ["chunked,", "a list with an empty element"],
    [",chunked", "a list with an empty element"],
    ["chunked, identity", "chunked is not last"],
    ["chunked;q=1", "a parameter"],
    ['"chunked"', "quoted"],
    ["xchunked", "a longer word"],
    ["chunke", "a shorter word"],
    ["", "empty"],
    ["chunked\u00a0", "a blank for some"],
    ["\u0085chunked", "a line end for some"],
  ].map(([value, because = ""]) => ({
    lines: [`Transfer-Encoding: ${value}`],
    code: "unknown_transfer_coding",
    because,
  })),
  {
    lines: ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    code: "repeated_transfer_encoding",
    because: "chunked twice, or once",
  },
  {
    lines: ["Transfer-Encoding: chunked", "Transfer-encoding: identity"],
    code: "repeated_transfer_encoding",
    because: "first or last wins",
  },
];

describe("requests", () => {
  it.each(badDeclarations)("refuses $lines: $because", ({ lines, code }) => {
    expect(readRequest(request(...lines), "hello")).toMatchObject({ kind: "refused", code });
  });

  it.each([
    { lines: [], framing: { kind: "none" }, because: "nothing is declared" },
    { lines: ["Content-Length: 0"], framing: { kind: "length", length: 0 }, because: "an empty body is still a body" },
    { lines: ["content-length:5"], framing: { kind: "length", length: 5 }, because: "names have no case" },
    {
      lines: ["Content-Length: \t 5 \t"],
      framing: { kind: "length", length: 5 },
      because: "blanks around are dropped",
    },
    { lines: ["Transfer-Encoding: cHuNkEd"], framing: { kind: "chunked" }, because: "codings have no case" },
    { lines: ["X-Content-Length: 5", "TE: trailers"], framing: { kind: "none" }, because: "these are other headers" },
  ])("reads $lines as $framing.kind: $because", ({ lines, framing }) => {
    const verdict = readRequest(request(...lines), "hello", "\r\n", "0\r\n\r\n");
    if (framing.kind === "chunked") expect(verdict).toMatchObject({ kind: "refused", code: "bad_chunk_size" });
    else expect(verdict).toMatchObject({ kind: "message", message: { framing } });
  });

  it("accepts the largest length that is an exact number", () => {
    expect(readRequest(request("Content-Length: 9007199254740991"), "x")).toEqual({ kind: "incomplete" });
  });

  it.each(["chunked", "identity"])("refuses Transfer-Encoding: %s in HTTP/1.0, which others ignore there", (coding) => {
    const head = `POST /a HTTP/1.0\r\nTransfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n`;
    expect(readRequest(head)).toMatchObject({ kind: "refused", code: "transfer_encoding_in_1_0" });
  });

  it.each(["Content-Length: 5", "Transfer-Encoding: chunked"])("refuses CONNECT with %s", (line) => {
    const head = `CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n${line}\r\n\r\n`;
    expect(readRequest(head)).toMatchObject({ kind: "refused", code: "body_on_connect" });
  });

  it("leaves the bytes behind a CONNECT to the tunnel", () => {
    const head = "CONNECT a.test:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    expect(readRequest(`${head}\x16\x03`)).toMatchObject({ message: { framing: { kind: "none" }, end: head.length } });
  });

  it("answers an unknown transfer coding with 501 and everything else with 400", () => {
    expect(readRequest(request("Transfer-Encoding: gzip"))).toMatchObject({ status: 501 });
    expect(readRequest(request("Content-Length: x"))).toMatchObject({ status: 400 });
  });
});

describe("responses", () => {
  it.each(badDeclarations)("refuses $lines: $because", ({ lines, code }) => {
    expect(readResponse("GET", response(...lines), "hello")).toMatchObject({ kind: "refused", code });
  });

  it("refuses them after HEAD and with 304 as well, where no body follows", () => {
    const lines = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    expect(readResponse("HEAD", `HTTP/1.1 200 OK\r\n${lines}`)).toMatchObject({ code: "ambiguous_length" });
    expect(readResponse("GET", `HTTP/1.1 304 OK\r\n${lines}`)).toMatchObject({ code: "ambiguous_length" });
  });

  it.each([
    { method: "HEAD", status: 200, because: "it answers HEAD" },
    { method: "GET", status: 100, because: "1xx has no body" },
    { method: "GET", status: 103, because: "1xx has no body" },
    { method: "GET", status: 101, because: "another protocol follows" },
    { method: "GET", status: 204, because: "204 has no body" },
    { method: "GET", status: 304, because: "304 has no body" },
    { method: "CONNECT", status: 200, because: "a tunnel follows" },
  ])("$status to $method has no body, whatever it declares: $because", ({ method, status }) => {
    for (const declared of ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""]) {
      const head = `HTTP/1.1 ${status} X\r\n${declared}\r\n`;
      const verdict = readResponse(method, `${head}hello`);
      expect(verdict).toMatchObject({ message: { framing: { kind: "none" }, end: head.length } });
    }
  });

  it("reads an undeclared body until the connection ends", () => {
    expect(readResponse("GET", response(), "a", "b")).toMatchObject({
      message: { framing: { kind: "close" }, end: 21 },
    });
    expect(readResponse("CONNECT", "HTTP/1.1 403 No\r\n\r\nno")).toMatchObject({
      message: { framing: { kind: "close" } },
    });
  });
});

describe("keep-alive", () => {
  it.each([
    { head: "GET / HTTP/1.1\r\nHost: a\r\n", keeps: true, because: "it is the default of 1.1" },
    { head: "GET / HTTP/1.1\r\nHost: a\r\nConnection: CLOSE\r\n", keeps: false, because: "tokens have no case" },
    { head: "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n", keeps: false, because: "it is in a list" },
    {
      head: "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: ,close ,\r\n",
      keeps: false,
      because: "second line",
    },
    { head: "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n", keeps: true, because: "another token" },
    { head: "GET / HTTP/1.0\r\n", keeps: false, because: "it is the default of 1.0" },
    { head: "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", keeps: true, because: "1.0 asked for it" },
    { head: "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", keeps: false, because: "close wins" },
  ])("$head keeps the connection: $keeps, because $because", ({ head, keeps }) => {
    expect(readRequest(`${head}\r\n`)).toMatchObject({ message: { keepsAlive: keeps } });
  });
});
