import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { ProxyBudgetSettings } from "../../src/domain/limits/proxy-budget.ts";
import { type RawClient, TestProxy, testToken } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const websocket =
  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const switching =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const eventStream = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\r\ndata: 1\n\n";

/** An upstream that answers at once, but for `/hold`, whose answers wait for `release`. */
async function setTheStage(limits: Partial<ProxyBudgetSettings>) {
  const held: Socket[] = [];
  let most = 0;
  const upstream = await startRawUpstream({
    authority: trusted,
    names: ["api.test"],
    script: (socket, received) => {
      if (!received.endsWith("\r\n\r\n")) return;
      const head = received.slice(received.lastIndexOf("\r\n\r\n", received.length - 5) + 4 || 0);
      if (head.includes("/hold")) most = Math.max(most, held.push(socket));
      else if (head.includes("/ws")) socket.write(switching);
      else if (head.includes("/events")) socket.write(eventStream);
      else if (head.includes("/cut")) socket.destroy();
      else socket.write(ok);
    },
  });
  const proxy = await TestProxy.start({
    trusted,
    limits: { isOff: false, rate: 1000, burst: 1000, concurrency: 100, waitMs: 100, ...limits },
  });
  const host = `api.test:${upstream.port}`;
  return {
    proxy,
    host,
    tunnel: () => proxy.tunnel(host),
    ask: (client: RawClient, path: string, more = "") =>
      client.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`),
    held,
    /** The most that waited at the upstream at once. */
    get most() {
      return most;
    },
    release() {
      for (const socket of held.splice(0)) socket.write(ok);
    },
    async [Symbol.asyncDispose]() {
      await proxy.close();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

describe("requests above the rate", () => {
  it("are refused with what the agent needs to know, and the tunnel stays", async () => {
    await using t = await setTheStage({ rate: 0.001, burst: 2 });
    await using client = await t.tunnel();
    for (const status of [200, 200, 429]) {
      t.ask(client, "/");
      const answer = await client.answer();
      expect(answer.status).toBe(status);
      if (status !== 429) continue;
      expect(JSON.parse(answer.body)).toMatchObject({ error: "too_many_requests", limit: 2 });
      expect(answer.head).toMatch(/^Retry-After: \d+\r$/m);
      expect(answer.head).toContain("X-RateLimit-Limit: 2\r\nX-RateLimit-Remaining: 0\r\n");
      expect(answer.head).toContain("X-Agent-Vault-Proxy-Error: true");
      expect(answer.head).not.toContain("Connection: close");
    }
    expect(t.proxy.journal.map(({ errorCode }) => errorCode)).toEqual(["", "", "rate_limit_scope"]);
  });

  it("are refused over all tunnels and plain requests of a token together", async () => {
    await using t = await setTheStage({ rate: 0.001, burst: 3 });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) {
      await using client = await t.tunnel();
      t.ask(client, "/");
      statuses.push((await client.answer()).status);
    }
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    await using plain = await t.proxy.dial();
    const credentials = Buffer.from(`${testToken}:billing`).toString("base64");
    plain.send(
      `GET http://${t.host}/ HTTP/1.1\r\nHost: ${t.host}\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
    );
    expect((await plain.answer()).status).toBe(429);
  });

  it("cost nothing before they are requests: tunnels that are only opened", async () => {
    await using t = await setTheStage({ rate: 0.001, burst: 1 });
    for (let i = 0; i < 5; i++) (await t.tunnel()).socket.destroy();
    await using client = await t.tunnel();
    t.ask(client, "/");
    expect((await client.answer()).status).toBe(200);
  });
});

describe("requests at once", () => {
  it("are never more than allowed, however many come in parallel, and the rest wait their turn", async () => {
    await using t = await setTheStage({ concurrency: 4, waitMs: 60_000 });
    const clients = await Promise.all(Array.from({ length: 8 }, () => t.tunnel()));
    for (const client of clients) t.ask(client, "/hold");
    const answers = Promise.all(clients.map((client) => client.answer()));
    let isDone = false;
    void answers.then(() => {
      isDone = true;
    });
    while (!isDone) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(t.held.length).toBeLessThanOrEqual(4);
      t.release();
    }
    expect((await answers).map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(t.most).toBe(4);
    for (const client of clients) client.socket.destroy();
  });

  it("are refused when no place comes free in time, by their own code", async () => {
    await using t = await setTheStage({ concurrency: 1 });
    await using first = await t.tunnel();
    await using second = await t.tunnel();
    t.ask(first, "/hold");
    await until(() => t.held.length === 1);
    t.ask(second, "/");
    expect((await second.answer()).status).toBe(429);
    expect(t.proxy.journal.map(({ errorCode }) => errorCode)).toEqual(["concurrency_scope"]);
    t.release();
    await first.answer();
    t.ask(second, "/");
    expect((await second.answer()).status).toBe(200);
  });

  it.each([
    { how: "the upstream cuts the connection", path: "/cut" },
    { how: "the agent goes away", path: "/hold" },
    { how: "the request is refused", path: "/hold", method: "TRACE" },
  ])("give their place back when $how", async ({ path, method = "GET" }) => {
    await using t = await setTheStage({ concurrency: 1 });
    for (let i = 0; i < 3; i++) {
      await using client = await t.tunnel();
      client.send(`${method} ${path} HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
      if (path === "/hold" && method === "GET") await until(() => t.held.length === i + 1);
      else await client.answer();
    }
    await until(() => t.proxy.journal.length === 3);
    await using client = await t.tunnel();
    t.ask(client, "/");
    expect((await client.answer()).status).toBe(200);
  });

  it("give up their place in the queue when the agent goes away", async () => {
    await using t = await setTheStage({ concurrency: 1, waitMs: 60_000 });
    await using first = await t.tunnel();
    t.ask(first, "/hold");
    await until(() => t.held.length === 1);
    const second = await t.tunnel();
    t.ask(second, "/");
    second.socket.destroy();
    await until(() => t.proxy.journal.length === 1);
    t.release();
    await first.answer();
    await using third = await t.tunnel();
    t.ask(third, "/");
    expect((await third.answer()).status).toBe(200);
  });
});

describe("streams", () => {
  it.each([
    { what: "a WebSocket", path: "/ws", more: websocket, status: 101 },
    { what: "an event stream", path: "/events", more: "", status: 200 },
  ])("$what leaves the places of requests to requests", async ({ path, more, status }) => {
    await using t = await setTheStage({ concurrency: 1 });
    await using stream = await t.tunnel();
    t.ask(stream, path, more);
    expect(Number((await stream.head()).slice(9, 12))).toBe(status);
    await using client = await t.tunnel();
    t.ask(client, "/");
    expect((await client.answer()).status).toBe(200);
  });

  it("are limited themselves: with room for one, the second WebSocket is refused until the first is closed", async () => {
    await using t = await setTheStage({ concurrency: 1 });
    const first = await t.tunnel();
    t.ask(first, "/ws", websocket);
    expect(await first.head()).toMatch(/^HTTP\/1\.1 101 /);
    await using second = await t.tunnel();
    t.ask(second, "/ws", websocket);
    expect((await second.answer()).status).toBe(429);
    first.socket.destroy();
    await until(() => t.proxy.journal.some(({ status }) => status === 101));
    await using third = await t.tunnel();
    t.ask(third, "/ws", websocket);
    expect(await third.head()).toMatch(/^HTTP\/1\.1 101 /);
  });
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
