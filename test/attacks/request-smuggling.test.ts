import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hosts, proxyAuthorization, type Stage, setStage } from "./support/stage.ts";
import { Wire } from "./support/wire.ts";

/** What a smuggler wants the upstream to see as a request of its own. */
const prize = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
const chunkedPrize = `0\r\n\r\n${prize}`;

interface Attempt {
  readonly name: string;
  /** Request line first, without the method's target; `{target}` and `{host}` are filled in. */
  readonly bytes: string;
}

const post = "POST {target} HTTP/1.1\r\nHost: {host}\r\n";
const get = "GET {target} HTTP/1.1\r\nHost: {host}\r\n";

/** Each must be refused as a whole: some parser, somewhere, reads it in another way than ours. */
const refused: readonly Attempt[] = [
  // Both length and coding
  { name: "CL.TE", bytes: `${post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE.CL", bytes: `${post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n${prize}\r\n0\r\n\r\n` },
  { name: "CL.0 with TE", bytes: `${post}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
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
  { name: "TE: space before the colon", bytes: `${post}Transfer-Encoding : chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: tab before the colon", bytes: `${post}Transfer-Encoding\t: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: blank before the name", bytes: `${post} Transfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: NUL in the name", bytes: `${post}Transfer\0-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: behind a bare CR", bytes: `${post}X: y\rTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
  { name: "TE: behind a bare LF", bytes: `${post}X: y\nTransfer-Encoding: chunked\r\n\r\n${chunkedPrize}` },
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
  { name: "CL: space before the colon", bytes: `${post}Content-Length : 5\r\n\r\nhello` },
  { name: "CL: folded", bytes: `${post}Content-Length:\r\n 5\r\n\r\nhello` },
  // Lines
  { name: "a bare LF after the request line", bytes: `${get.replace("\r\n", "\n")}\r\n` },
  { name: "a bare LF after a header", bytes: `${get}X: y\nZ: a\r\n\r\n` },
  { name: "a bare LF as the empty line", bytes: `${get}X: y\r\n\n${prize}` },
  { name: "bare LF everywhere", bytes: `${get}\r\n`.replaceAll("\r\n", "\n") },
  { name: "a bare CR in a value", bytes: `${get}X: y\rz\r\n\r\n` },
  { name: "a bare CR as a line end", bytes: `${get}X: y\r\r\n\r\n` },
  { name: "a folded header (space)", bytes: `${get}X: y\r\n z\r\n\r\n` },
  { name: "a folded header (tab)", bytes: `${get}X: y\r\n\tz\r\n\r\n` },
  { name: "a folded first header", bytes: `GET {target} HTTP/1.1\r\n X: y\r\nHost: {host}\r\n\r\n` },
  { name: "a space before a colon", bytes: `${get}X : y\r\n\r\n` },
  { name: "a header without a colon", bytes: `${get}X\r\n\r\n` },
  { name: "a header without a name", bytes: `${get}: y\r\n\r\n` },
  { name: "NUL in a value", bytes: `${get}X: y\0z\r\n\r\n` },
  { name: "a control byte in a value", bytes: `${get}X: y\x01z\r\n\r\n` },
  { name: "DEL in a value", bytes: `${get}X: y\x7fz\r\n\r\n` },
  { name: "a name with a parenthesis", bytes: `${get}X(y): z\r\n\r\n` },
  { name: "a name beyond ASCII", bytes: `${get}X\xc3\xa9: z\r\n\r\n` },
  // Request lines
  { name: "two spaces before the target", bytes: `${get.replace("GET {target}", "GET  {target}")}\r\n` },
  { name: "two spaces before the version", bytes: `${get.replace("{target} HTTP", "{target}  HTTP")}\r\n` },
  { name: "a tab in the request line", bytes: `${get.replace("GET {target}", "GET\t{target}")}\r\n` },
  { name: "a blank in the target", bytes: `${get.replace("{target}", "{target}a b")}\r\n` },
  { name: "a fragment in the target", bytes: `${get.replace("{target}", "{target}a#b")}\r\n` },
  { name: "a control byte in the target", bytes: `${get.replace("{target}", "{target}a\x01b")}\r\n` },
  { name: "bytes beyond ASCII in the target", bytes: `${get.replace("{target}", "{target}\xc3\xa9")}\r\n` },
  { name: "no version", bytes: "GET {target}\r\nHost: {host}\r\n\r\n" },
  { name: "HTTP/1.2", bytes: `${get.replace("HTTP/1.1", "HTTP/1.2")}\r\n` },
  { name: "HTTP/2.0", bytes: `${get.replace("HTTP/1.1", "HTTP/2.0")}\r\n` },
  { name: "http/1.1 in small letters", bytes: `${get.replace("HTTP/1.1", "http/1.1")}\r\n` },
  { name: "HTTP/01.1", bytes: `${get.replace("HTTP/1.1", "HTTP/01.1")}\r\n` },
  { name: "a method with a slash", bytes: `${get.replace("GET", "GE/T")}\r\n` },
  // Host
  { name: "two Host headers", bytes: `${get}Host: {host}\r\n\r\n` },
  { name: "two Host headers that differ", bytes: `${get}Host: internal.test\r\n\r\n` },
  { name: "a Host with two names", bytes: `${get.replace("Host: {host}", "Host: {host}, internal.test")}\r\n` },
  { name: "a Host with a path", bytes: `${get.replace("Host: {host}", "Host: {host}/x")}\r\n` },
  { name: "a Host with user info", bytes: `${get.replace("Host: {host}", "Host: x@{host}")}\r\n` },
];

/** The head is fine and goes out; what follows is not, and the upstream must never be able to take it for complete. */
const brokenBodies: readonly Attempt[] = [
  { name: "a chunk size with a sign", bytes: chunked("+5\r\nhello\r\n0\r\n\r\n") },
  { name: "a negative chunk size", bytes: chunked("-5\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size with 0x", bytes: chunked("0x5\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size with an underscore", bytes: chunked("1_0\r\nhello\r\n0\r\n\r\n") },
  { name: "a blank before the chunk size", bytes: chunked(" 5\r\nhello\r\n0\r\n\r\n") },
  { name: "a blank after the chunk size", bytes: chunked("5 \r\nhello\r\n0\r\n\r\n") },
  { name: "an empty chunk size", bytes: chunked("\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size that is no number", bytes: chunked("g\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size beyond 2^64, which wraps to 5", bytes: chunked("10000000000000005\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk size of 17 digits", bytes: chunked("00000000000000005\r\nhello\r\n0\r\n\r\n") },
  { name: "a bare LF after the chunk size", bytes: chunked("5\nhello\r\n0\r\n\r\n") },
  { name: "a bare CR after the chunk size", bytes: chunked("5\rhello\r\n0\r\n\r\n") },
  { name: "a bare LF after the data", bytes: chunked("5\r\nhello\n0\r\n\r\n") },
  { name: "no line end after the data", bytes: chunked("5\r\nhello0\r\n\r\n") },
  { name: "more data than the size says", bytes: chunked("5\r\nhello!\r\n0\r\n\r\n") },
  { name: "a bare LF after the last chunk", bytes: chunked("5\r\nhello\r\n0\n\n") },
  { name: "a bare LF in a chunk extension", bytes: chunked("5;a\nb\r\nhello\r\n0\r\n\r\n") },
  { name: "a bare CR in a chunk extension", bytes: chunked("5;a\rb\r\nhello\r\n0\r\n\r\n") },
  { name: "NUL in a chunk extension", bytes: chunked("5;a\0\r\nhello\r\n0\r\n\r\n") },
  { name: "a chunk extension without end", bytes: chunked(`5;${"a".repeat(70_000)}`) },
  { name: "a folded trailer", bytes: chunked("5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n") },
  { name: "a trailer with a space before its colon", bytes: chunked("5\r\nhello\r\n0\r\nX : y\r\n\r\n") },
  { name: "Content-Length as a trailer", bytes: chunked("5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n") },
  { name: "Transfer-Encoding as a trailer", bytes: chunked("5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n") },
  { name: "Host as a trailer", bytes: chunked("5\r\nhello\r\n0\r\nHost: internal.test\r\n\r\n") },
  { name: "trailers without end", bytes: chunked(`0\r\n${"X: yyyyyyyyyyyyyyyy\r\n".repeat(4000)}\r\n`) },
];

function te(value: string): string {
  return `${post}Transfer-Encoding: ${value}\r\n\r\n${chunkedPrize}`;
}

function cl(value: string): string {
  return `${post}Content-Length: ${value}\r\n\r\nhello${prize}`;
}

function chunked(body: string): string {
  return `${post}Transfer-Encoding: chunked\r\n\r\n${body}${prize}`;
}

describe("request smuggling", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
  });

  beforeEach(() => Promise.all([stage.secure.reset(), stage.plain.reset()]));

  afterAll(() => stage[Symbol.asyncDispose]());

  describe.each([{ way: "in a tunnel" }, { way: "in absolute form" }])("$way", ({ way }) => {
    const isTunnel = way === "in a tunnel";

    it.each(refused)("is refused before anything reaches the upstream: $name", async ({ bytes }) => {
      const { answer, rest } = await send(bytes);
      expect(isRefusal(answer.status), answer.head).toBe(true);
      expect(rest, "the connection goes on after the refusal").toBe("");
      expect(upstream().received).toEqual([]);
    });

    it.each(brokenBodies)("is never completed for the upstream: $name", async ({ bytes }) => {
      const wire = await dial();
      upstream().script = () => undefined;
      wire.send(fill(bytes));
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect(isRefusal(answer.status), answer.head).toBe(true);
      wire.end();
      expect(await wire.untilClosed(), "the connection goes on after the refusal").toBe("");
      const text = upstream().received.join("");
      expect(text).not.toContain("/smuggled");
      expect(text).not.toMatch(/(^|\n)0\r\n/);
      expect(upstream().heads.length).toBeLessThanOrEqual(1);
    });

    it("has no effect on what follows a complete request: garbage is refused on its own", async () => {
      const wire = await dial();
      wire.send(fill(`${get}\r\nGARBAGE\r\n\r\n`));
      expect((await wire.answer()).status).toBe(200);
      const second = await wire.answerOrEnd();
      if (second !== undefined) expect(isRefusal(second.status)).toBe(true);
      expect(await wire.untilClosed()).toBe("");
      expect(upstream().heads).toHaveLength(1);
      expect(upstream().received.join("")).not.toContain("GARBAGE");
    });

    it("takes the body of a request for nothing else: pipelined requests stay apart", async () => {
      const wire = await dial();
      wire.send(
        fill(`${post}Content-Length: ${prize.length}\r\n\r\n${prize}${get}{authorization}X-Second: yes\r\n\r\n`),
      );
      expect((await wire.answer()).status).toBe(200);
      expect((await wire.answer()).status).toBe(200);
      wire.close();
      const lines = upstream().received.join("");
      expect(lines).toContain("X-Second: yes");
      expect(lines).toContain(prize);
      expect(upstream().values("content-length")).toEqual([String(prize.length)]);
    });

    it("does not work through sheer size: a head of 2 MiB", async () => {
      const wire = await dial();
      wire.send(fill(`${get}X: ${"y".repeat(2 * 1024 * 1024)}\r\n\r\n`));
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect([400, 431]).toContain(answer.status);
      await wire.untilClosed();
      expect(upstream().received).toEqual([]);
    });

    it("does not work through sheer number: 20,000 headers", async () => {
      const wire = await dial();
      wire.send(fill(`${get}${"X: y\r\n".repeat(20_000)}\r\n`));
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect([400, 431]).toContain(answer.status);
      await wire.untilClosed();
      expect(upstream().received).toEqual([]);
    });

    it("does not work through a target of 200,000 bytes", async () => {
      const wire = await dial();
      wire.send(`${fill(get.replace("{target}", `{target}${"a".repeat(200_000)}`))}\r\n`);
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect([400, 414, 431]).toContain(answer.status);
      await wire.untilClosed();
      expect(upstream().received).toEqual([]);
    });

    it("is not what an honest request is taken for", async () => {
      const wire = await dial();
      const body = "5;note=x\r\nhello\r\n5\r\nworld\r\n0\r\nX-Checksum: 1\r\n\r\n";
      wire.send(fill(`${post}Transfer-Encoding: chunked\r\n\r\n`));
      for (const byte of body) wire.send(byte);
      expect((await wire.answer()).status).toBe(200);
      wire.close();
    });

    async function send(bytes: string) {
      const wire = await dial();
      wire.send(fill(bytes));
      const answer = await wire.answer();
      const rest = await wire.untilClosed();
      wire.close();
      return { answer, rest };
    }

    function dial(): Promise<Wire> {
      return isTunnel ? stage.tunnel() : Wire.dial(stage.server.proxyPort);
    }

    function fill(bytes: string): string {
      const host = `${hosts.api}:${upstream().port}`;
      const target = isTunnel ? "/" : `http://${host}/`;
      const filled = bytes.replaceAll("{target}", target).replaceAll("{host}", host);
      const authorization = isTunnel ? "" : proxyAuthorization({}, stage.token);
      return filled.replace(/\n/, `\n${authorization}`).replace("{authorization}", authorization);
    }

    function upstream() {
      return isTunnel ? stage.secure : stage.plain;
    }
  });

  it("does not work on CONNECT: a body, or a second request where the ClientHello belongs", async () => {
    const target = `${hosts.api}:${stage.secure.port}`;
    const auth = proxyAuthorization({}, stage.token);
    for (const head of ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"]) {
      using wire = await Wire.dial(stage.server.proxyPort);
      wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${auth}${head}\r\nhello`);
      const answer = await wire.answerOrEnd();
      if (answer !== undefined) expect(isRefusal(answer.status)).toBe(true);
    }
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${auth}\r\n${prize}`);
    await wire.answer("HEAD");
    await wire.untilClosed();
    expect(stage.secure.received).toEqual([]);
  });
});

function isRefusal(status: number): boolean {
  return (status >= 400 && status < 500) || status === 501 || status === 505;
}
