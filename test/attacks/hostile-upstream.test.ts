import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Script } from "./support/raw-upstream.ts";
import { bearerService, hosts, type Stage, setStage } from "./support/stage.ts";
import type { Wire } from "./support/wire.ts";

const ok = "HTTP/1.1 200 OK\r\n";

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

/** Bodies that end before they are complete, or never make sense: the agent must not take them for complete. */
const brokenBodies: readonly { readonly name: string; readonly bytes: string; readonly reset?: boolean }[] = [
  { name: "a length that is not reached", bytes: `${ok}Content-Length: 100\r\n\r\nhello` },
  { name: "a length that is not reached, and a reset", bytes: `${ok}Content-Length: 100\r\n\r\nhello`, reset: true },
  { name: "chunks without a last one", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n` },
  {
    name: "chunks without a last one, and a reset",
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`,
    reset: true,
  },
  { name: "a chunk that is cut", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\nff\r\nhello` },
  { name: "a last chunk without its end", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n` },
  { name: "a chunk size that is no number", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n` },
  { name: "a signed chunk size", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n\r\n` },
  {
    name: "a chunk that is longer than it says",
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n`,
  },
  { name: "a bare LF after a chunk size", bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\n` },
  {
    name: "trailers without end",
    bytes: `${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n${"X: yyyyyyyyyyyyyyyy\r\n".repeat(4000)}`,
  },
];

describe("an upstream with bad intentions", () => {
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

  it.each(brokenBodies)("cannot pass off a broken body as a complete one: $name", async ({ bytes, reset }) => {
    stage.secure.script = (connection) => {
      connection.send(bytes);
      setTimeout(() => (reset ? connection.reset() : connection.end()), 50);
    };
    using wire = await stage.tunnel();
    wire.send(request("/v1/me"));
    const answer = await wire.answer();
    // Either the fault was seen before the head went out, or the agent sees the connection end too early.
    if (answer.status !== 502) {
      expect(answer.isComplete).toBe(false);
      expect(await wire.untilClosed()).toBe("");
    }
  });

  it("cannot leave an answer for somebody else on a connection that is used again", async () => {
    let served = 0;
    stage.secure.script = (connection) => {
      served += 1;
      const forged = `${ok}Content-Length: 6\r\n\r\nforged`;
      connection.send(`${ok}Content-Length: 2\r\n\r\n${served === 1 ? `ok${forged}` : "ok"}`);
    };
    using wire = await stage.tunnel();
    for (let i = 0; i < 4; i += 1) {
      wire.send(request(`/${i}`));
      expect((await wire.answer()).body).toBe("ok");
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(served).toBe(4);
  });

  it("cannot send an answer before it is asked", async () => {
    stage.secure.script = (connection) => {
      connection.send(`${ok}Content-Length: 2\r\n\r\nok`);
      // While the connection idles in the pool.
      setTimeout(() => connection.send(`${ok}Content-Length: 6\r\n\r\nforged`), 60);
    };
    using wire = await stage.tunnel();
    wire.send(request("/first"));
    expect((await wire.answer()).body).toBe("ok");
    await new Promise((resolve) => setTimeout(resolve, 200));
    wire.send(request("/second"));
    expect((await wire.answer()).body).toBe("ok");
    expect(stage.secure.heads).toHaveLength(2);
  });

  it("cannot speak in the name of the broker", async () => {
    const forged = "X-Agent-Vault-Proxy-Error: true\r\nx-agent-vault-code: forbidden\r\n";
    stage.secure.script = (connection) => connection.send(`${ok}${forged}Content-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.status).toBe(200);
    expect(answer.values("x-agent-vault-proxy-error")).toEqual([]);
  });

  it("cannot hide headers from the agent's framing: what its Connection names is dropped, framing is the broker's", async () => {
    const head =
      "Connection: X-Hop, close\r\nX-Hop: y\r\nKeep-Alive: timeout=1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n";
    stage.secure.script = (connection) => connection.send(`${ok}${head}Content-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.body).toBe("ok");
    for (const name of ["x-hop", "keep-alive", "proxy-authenticate", "upgrade"]) {
      expect(answer.values(name), name).toEqual([]);
    }
  });

  it("cannot lure the agent to a way round the broker", async () => {
    stage.secure.script = (connection) =>
      connection.send(`${ok}Alt-Svc: h3=":443"; ma=86400\r\nContent-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.values("alt-svc")).toEqual([]);
  });

  it("cannot plant a cookie where a credential was injected", async () => {
    stage.secure.script = (connection) =>
      connection.send(`${ok}Set-Cookie: session=upstream\r\nContent-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.values("set-cookie")).toEqual([]);
  });

  it("cannot flood the agent with interim answers and never finish", async () => {
    stage.secure.script = (connection) => {
      connection.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(5_000));
      setTimeout(() => connection.end(), 50);
    };
    using wire = await stage.tunnel();
    wire.send(request("/v1/me"));
    let answer = await wire.answerOrEnd();
    while (answer !== undefined && answer.status < 200) answer = await wire.answerOrEnd();
    if (answer !== undefined) expect(answer.status).toBe(502);
  });

  it("has a request sent again only when that is safe: a POST that died is not repeated", async () => {
    using wire = await stage.tunnel();
    wire.send(request("/warm"));
    await wire.answer();
    stage.secure.script = (connection) => connection.reset();
    wire.send(request("/pay", "POST", "Content-Length: 6\r\n", "amount"));
    expect((await wire.answer()).status).toBe(502);
    expect(stage.secure.heads.filter((head) => head.startsWith("POST /pay"))).toHaveLength(1);
  });

  it("does not take the process down: it still serves", async () => {
    expect((await stage.ask("/v1/me")).body).toBe("ok");
    expect((await fetch(`${stage.server.apiUrl}/health`)).status).toBe(200);
  });

  it("does the same to plain http, where it reaches the agent no more than over TLS", async () => {
    await stage.plain.reset();
    stage.plain.script = thenEnd(`${ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
    expect((await stage.askPlain("/")).status).toBe(502);
  });

  it("is told apart from an agent that goes away: the upload is cut, never completed", async () => {
    stage.secure.script = () => undefined;
    const wire: Wire = await stage.tunnel();
    wire.send(request("/upload", "POST", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"));
    await until(() => stage.secure.received.join("").includes("hello"));
    wire.close();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(stage.secure.received.join("")).not.toMatch(/\n0\r\n/);
  });

  function request(path: string, method = "GET", head = "", body = ""): string {
    return `${method} ${path} HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${head}\r\n${body}`;
  }
});

function thenEnd(bytes: string): Script {
  return (connection) => {
    connection.send(bytes);
    setTimeout(() => connection.end(), 100);
  };
}

async function until(isReached: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !isReached(); i += 1) await new Promise((resolve) => setTimeout(resolve, 25));
  expect(isReached()).toBe(true);
}
