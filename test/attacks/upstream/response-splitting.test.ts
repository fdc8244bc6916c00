import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { ok, thenEnd } from "../support/hostile.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "an answer in the agent's hands that two parsers read in two ways, or an extra one" });

/** Answers that two parsers read in two ways, or that are none; an agent must get an error that is the broker's own. */
const nonsense: readonly { readonly name: string; readonly bytes: string }[] = [
  {
    name: "Content-Length and Transfer-Encoding",
    bytes: `${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  { name: "two lengths that differ", bytes: `${ok}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc` },
  { name: "a signed length", bytes: `${ok}Content-Length: +2\r\n\r\nok` },
  { name: "a negative length", bytes: `${ok}Content-Length: -2\r\n\r\nok` },
  { name: "a length that is no number", bytes: `${ok}Content-Length: two\r\n\r\nok` },
  { name: "an unknown transfer coding", bytes: `${ok}Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n` },
  { name: "chunked twice", bytes: `${ok}Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n` },
  { name: "bare LF as line ends", bytes: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok" },
  { name: "a bare LF inside the head", bytes: `${ok}X: y\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok` },
  {
    name: "a bare CR inside a value, to split the answer",
    bytes: `${ok}X: y\rSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok`,
  },
  { name: "a folded header", bytes: `${ok}X: y\r\n z\r\nContent-Length: 2\r\n\r\nok` },
  { name: "a space before a colon", bytes: `${ok}Content-Length : 2\r\n\r\nok` },
  { name: "NUL in a value", bytes: `${ok}X: y\0z\r\nContent-Length: 2\r\n\r\nok` },
  { name: "a control byte in the reason", bytes: "HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok" },
  { name: "a status below 100", bytes: "HTTP/1.1 042 Answer\r\nContent-Length: 2\r\n\r\nok" },
  { name: "a status of two digits", bytes: "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok" },
  { name: "a status of four digits", bytes: "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok" },
  { name: "HTTP/2.0 as version", bytes: "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok" },
  { name: "HTTP/0.9", bytes: "<html>hello</html>\r\n\r\n" },
  { name: "another protocol", bytes: "220 mail.example.test ESMTP\r\n\r\n" },
  {
    name: "a 101 that nobody asked for",
    bytes: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
  },
  { name: "a head of 12 MiB", bytes: `${ok}X: ${"y".repeat(12 * 1024 * 1024)}\r\n\r\n` },
  { name: "20,000 headers", bytes: `${ok}${"X: y\r\n".repeat(20_000)}Content-Length: 2\r\n\r\nok` },
  { name: "nothing at all", bytes: "" },
];

describe("an upstream whose answer has two readings, or none", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each(nonsense)("gets none of it to the agent: $name", async ({ bytes }) => {
    stage.secure.script = thenEnd(bytes);
    const answer = await stage.ask("/v1/me");
    expect(answer.status, answer.head.slice(0, 300)).toBe(502);
    expect(answer.values("x-agent-vault-proxy-error")).toEqual(["true"]);
    expect(answer.values("set-cookie")).toEqual([]);
    expect(JSON.parse(answer.body)).toMatchObject({ error: expect.stringMatching(/^[a-z_0-9]+$/) });
  });

  it("cannot switch protocols on an agent that sent a key and asked for no switch", async () => {
    stage.secure.script = thenEnd(
      "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    );
    const answer = await stage.ask("/v1/me", { head: "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" });
    expect(answer.status).toBe(502);
  });

  it("does the same to plain http, where it reaches the agent no more than over TLS", async () => {
    await stage.plain.reset();
    stage.plain.script = thenEnd(`${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
    expect((await stage.askPlain("/")).status).toBe(502);
  });

  it("does not take the process down: it still serves", async () => {
    expect((await stage.ask("/v1/me")).body).toBe("ok");
    expect((await fetch(`${stage.server.apiUrl}/health`)).status).toBe(200);
  });
});
