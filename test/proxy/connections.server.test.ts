import { describe, expect, it } from "vitest";
import { connectHead, TestProxy, testToken } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";

const trusted = await TestAuthority.create();
const unlimited = { max: 0, maxPerAddress: 0, maxTunnelsPerToken: 0 };

describe("one connection too many", () => {
  it("is told so in plain before it says anything, and those that were there are served on", async () => {
    await using proxy = await TestProxy.start({ trusted, options: { connections: { ...unlimited, max: 2 } } });
    await using first = await proxy.dial();
    await using second = await proxy.dial();
    first.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    await first.answer();
    await using third = await proxy.dial();
    third.send(connectHead("api.test:443", testToken));
    const refusal = await third.answer();
    expect(refusal.status).toBe(503);
    expect(JSON.parse(refusal.body)).toMatchObject({ error: "too_many_connections" });
    expect(refusal.head).toMatch(/^Retry-After: 1\r$/m);
    expect(refusal.head).toMatch(/^Connection: close\r$/m);
    expect(await third.rest()).toBe("");

    second.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    expect((await second.answer()).status).toBe(200);
    first.socket.destroy();
    for (let status = 503; status !== 200; ) {
      await using later = await proxy.dial();
      later.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
      ({ status } = await later.answer());
    }
  });

  it("is refused however many come at once", async () => {
    await using proxy = await TestProxy.start({ trusted, options: { connections: { ...unlimited, max: 5 } } });
    const clients = await Promise.all(Array.from({ length: 30 }, () => proxy.dial()));
    for (const client of clients) client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    const answers = await Promise.all(clients.map((client) => client.answer()));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5);
    expect(answers.filter(({ status }) => status === 503)).toHaveLength(25);
    for (const client of clients) client.socket.destroy();
  });
});

describe("one tunnel too many of a token", () => {
  it("is refused instead of the 200, on a connection that may go on", async () => {
    const connections = { ...unlimited, maxTunnelsPerToken: 1 };
    await using proxy = await TestProxy.start({ trusted, options: { connections } });
    const first = await proxy.tunnel("api.test:443");
    await using second = await proxy.dial();
    second.send(connectHead("api.test:443", testToken));
    const refusal = await second.answer();
    expect(refusal.status).toBe(429);
    expect(JSON.parse(refusal.body)).toMatchObject({ error: "too_many_tunnels" });
    first.socket.destroy();
    for (let head = ""; !head.startsWith("HTTP/1.1 200 "); ) {
      second.send(connectHead("api.test:443", testToken));
      head = await second.head();
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
      if (length > 0) await second.bytes(length);
    }
  });
});

describe("the probe", () => {
  it("is answered in origin form without a token, again and again", async () => {
    await using proxy = await TestProxy.start({ trusted });
    await using client = await proxy.dial();
    for (const method of ["GET", "GET"]) {
      client.send(`${method} /health HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect(await client.answer()).toMatchObject({ status: 200, body: '{"status":"ok"}\n' });
    }
    client.send("HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect(await client.rest()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n$/s);
  });

  it.each([
    ["GET", "/healthz"],
    ["GET", "/health/"],
    ["GET", "/health?x"],
    ["GET", "/"],
    ["GET", "/metrics"],
    ["POST", "/health"],
  ])("is all there is in origin form: %s %s is refused", async (method, target) => {
    await using proxy = await TestProxy.start({ trusted });
    await using client = await proxy.dial();
    client.send(`${method} ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect((await client.answer()).status).toBe(400);
  });
});
