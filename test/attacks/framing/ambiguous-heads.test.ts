import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { type Attempt, chunkedPrize, getHead, isRefusal, postHead, prize, Smuggler } from "../support/smuggler.ts";
import { type Stage, setStage } from "../support/stage.ts";

defended({
  wants: "a second request in what is one request for the broker, by a head that two parsers read in two ways",
});

/** Each must be refused as a whole: some parser, somewhere, reads it in another way than ours. */
const refused: readonly Attempt[] = [
  // Both length and coding
  { name: "CL.TE", bytes: `${postHead}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  {
    name: "TE.CL",
    bytes: `${postHead}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${prize}\r\n0\r\n\r\n`,
  },
  { name: "CL.0 with TE", bytes: `${postHead}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  // Codings that two parsers judge differently
  { name: "TE.TE: a second coding", bytes: te("chunked\r\nTransfer-Encoding: identity") },
  { name: "TE.TE: an unknown one first", bytes: te("x\r\nTransfer-Encoding: chunked") },
  { name: "TE.TE: chunked twice", bytes: te("chunked\r\nTransfer-Encoding: chunked") },
  { name: "TE: chunked, chunked", bytes: te("chunked, chunked") },
  { name: "TE: a list that ends in chunked", bytes: te("gzip, chunked") },
  { name: "TE: a list that begins with chunked", bytes: te("chunked, identity") },
  { name: "TE: identity", bytes: te("identity") },
  { name: "TE: xchunked", bytes: te("xchunked") },
  { name: "TE: quoted", bytes: te('"chunked"') },
  { name: "TE: with a parameter", bytes: te("chunked;q=1") },
  { name: "TE: with a trailing comma", bytes: te("chunked,") },
  { name: "TE: empty", bytes: te("") },
  { name: "TE: vertical tab before the value", bytes: te("\x0bchunked") },
  { name: "TE: form feed after the value", bytes: te("chunked\x0c") },
  { name: "TE: NUL after the value", bytes: te("chunked\0") },
  { name: "TE: folded onto the next line", bytes: te("\r\n chunked") },
  { name: "TE: in an HTTP/1.0 request", bytes: te("chunked").replace("HTTP/1.1", "HTTP/1.0") },
  { name: "TE: space before the colon", bytes: `${postHead}Transfer-Encoding : chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: tab before the colon", bytes: `${postHead}Transfer-Encoding\t: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: blank before the name", bytes: `${postHead} Transfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: NUL in the name", bytes: `${postHead}Transfer\0-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: behind a bare CR", bytes: `${postHead}X: y\rTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: behind a bare LF", bytes: `${postHead}X: y\nTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  // Lengths
  { name: "CL: two that differ", bytes: cl("5\r\nContent-Length: 60") },
  { name: "CL: two that agree", bytes: cl("5\r\nContent-Length: 5") },
  { name: "CL: a list", bytes: cl("5, 5") },
  { name: "CL: with a plus", bytes: cl("+5") },
  { name: "CL: negative", bytes: cl("-5") },
  { name: "CL: hexadecimal", bytes: cl("0x5") },
  { name: "CL: with leading zeros", bytes: cl("005") },
  { name: "CL: with a fraction", bytes: cl("5.0") },
  { name: "CL: with an exponent", bytes: cl("5e0") },
  { name: "CL: with an underscore", bytes: cl("1_0") },
  { name: "CL: with an inner blank", bytes: cl("5 0") },
  { name: "CL: empty", bytes: cl("") },
  { name: "CL: beyond 2^64, which wraps to 5", bytes: cl("18446744073709551621") },
  { name: "CL: beyond 2^53", bytes: cl("9007199254740993") },
  { name: "CL: full-width digits", bytes: cl("\xef\xbc\x95") },
  { name: "CL: space before the colon", bytes: `${postHead}Content-Length : 5\r\n\r\nhello` },
  { name: "CL: folded", bytes: `${postHead}Content-Length:\r\n 5\r\n\r\nhello` },
  // Lines
  { name: "a bare LF after the request line", bytes: `${getHead.replace("\r\n", "\n")}\r\n` },
  { name: "a bare LF after a header", bytes: `${getHead}X: y\nZ: a\r\n\r\n` },
  { name: "a bare LF as the empty line", bytes: `${getHead}X: y\r\n\n${prize}` },
  { name: "bare LF everywhere", bytes: `${getHead}\r\n`.replaceAll("\r\n", "\n") },
  { name: "a bare CR in a value", bytes: `${getHead}X: y\rz\r\n\r\n` },
  { name: "a bare CR as a line end", bytes: `${getHead}X: y\r\r\n\r\n` },
  { name: "a folded header (space)", bytes: `${getHead}X: y\r\n z\r\n\r\n` },
  { name: "a folded header (tab)", bytes: `${getHead}X: y\r\n\tz\r\n\r\n` },
  { name: "a folded first header", bytes: `GET {target} HTTP/1.1\r\n X: y\r\nHost: {host}\r\n\r\n` },
  { name: "a space before a colon", bytes: `${getHead}X : y\r\n\r\n` },
  { name: "a header without a colon", bytes: `${getHead}X\r\n\r\n` },
  { name: "a header without a name", bytes: `${getHead}: y\r\n\r\n` },
  { name: "NUL in a value", bytes: `${getHead}X: y\0z\r\n\r\n` },
  { name: "a control byte in a value", bytes: `${getHead}X: y\x01z\r\n\r\n` },
  { name: "DEL in a value", bytes: `${getHead}X: y\x7fz\r\n\r\n` },
  { name: "a name with a parenthesis", bytes: `${getHead}X(y): z\r\n\r\n` },
  { name: "a name beyond ASCII", bytes: `${getHead}X\xc3\xa9: z\r\n\r\n` },
  // Request lines
  { name: "two spaces before the target", bytes: `${getHead.replace("GET {target}", "GET  {target}")}\r\n` },
  { name: "two spaces before the version", bytes: `${getHead.replace("{target} HTTP", "{target}  HTTP")}\r\n` },
  { name: "a tab in the request line", bytes: `${getHead.replace("GET {target}", "GET\t{target}")}\r\n` },
  { name: "a blank in the target", bytes: `${getHead.replace("{target}", "{target}a b")}\r\n` },
  { name: "a fragment in the target", bytes: `${getHead.replace("{target}", "{target}a#b")}\r\n` },
  { name: "a control byte in the target", bytes: `${getHead.replace("{target}", "{target}a\x01b")}\r\n` },
  { name: "bytes beyond ASCII in the target", bytes: `${getHead.replace("{target}", "{target}\xc3\xa9")}\r\n` },
  { name: "no version", bytes: "GET {target}\r\nHost: {host}\r\n\r\n" },
  { name: "HTTP/1.2", bytes: `${getHead.replace("HTTP/1.1", "HTTP/1.2")}\r\n` },
  { name: "HTTP/2.0", bytes: `${getHead.replace("HTTP/1.1", "HTTP/2.0")}\r\n` },
  { name: "http/1.1 in small letters", bytes: `${getHead.replace("HTTP/1.1", "http/1.1")}\r\n` },
  { name: "HTTP/01.1", bytes: `${getHead.replace("HTTP/1.1", "HTTP/01.1")}\r\n` },
  { name: "a method with a slash", bytes: `${getHead.replace("GET", "GE/T")}\r\n` },
  // Host
  { name: "two Host headers", bytes: `${getHead}Host: {host}\r\n\r\n` },
  { name: "two Host headers that differ", bytes: `${getHead}Host: internal.test\r\n\r\n` },
  { name: "a Host with two names", bytes: `${getHead.replace("Host: {host}", "Host: {host}, internal.test")}\r\n` },
  { name: "a Host with a path", bytes: `${getHead.replace("Host: {host}", "Host: {host}/x")}\r\n` },
  { name: "a Host with user info", bytes: `${getHead.replace("Host: {host}", "Host: x@{host}")}\r\n` },
];

function te(value: string): string {
  return `${postHead}Transfer-Encoding: ${value}\r\n\r\n${chunkedPrize}`;
}

function cl(value: string): string {
  return `${postHead}Content-Length: ${value}\r\n\r\nhello${prize}`;
}

describe("a request whose head has two readings", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
  });

  beforeEach(() => Promise.all([stage.secure.reset(), stage.plain.reset()]));

  afterAll(() => stage[Symbol.asyncDispose]());

  describe.each(Smuggler.ways)("$way", ({ way }) => {
    let smuggler: Smuggler;

    beforeAll(() => {
      smuggler = new Smuggler(stage, way);
    });

    it.each(refused)("is refused before anything reaches the upstream: $name", async ({ bytes }) => {
      const { answer, rest } = await smuggler.send(bytes);
      expect(isRefusal(answer.status), answer.head).toBe(true);
      expect(rest, "the connection goes on after the refusal").toBe("");
      expect(smuggler.upstream.received).toEqual([]);
    });

    it("is not what an honest request is taken for", async () => {
      const wire = await smuggler.dial();
      const body = "5;note=x\r\nhello\r\n5\r\nworld\r\n0\r\nX-Checksum: 1\r\n\r\n";
      wire.send(smuggler.fill(`${postHead}Transfer-Encoding: chunked\r\n\r\n`));
      for (const byte of body) wire.send(byte);
      expect((await wire.answer()).status).toBe(200);
      wire.close();
    });
  });
});
