import { describe, expect, it } from "vitest";
import { connectHead, TestProxy, testToken } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";

const trusted = await TestAuthority.create();
const unlimited = { max: 0, maxPerAddress: 0, maxPerToken: 0 };

describe("one connection too many", () => {
  it("is told so in plain before it says anything, and those that were there are served on", async () => {
    await using proxy = await TestProxy.start({ trusted, options: { connections: { ...unlimited, max: 1 } } });
    const first = await proxy.tunnel("api.test:443");
    await using third = await proxy.dial();
    third.send(connectHead("api.test:443", testToken));
    const refusal = await third.answer();
    expect(refusal.status).toBe(503);
    expect(JSON.parse(refusal.body)).toMatchObject({ error: "too_many_connections" });
    expect(refusal.head).toMatch(/^Retry-After: 1\r$/m);
    expect(refusal.head).toMatch(/^Connection: close\r$/m);
    expect(await third.rest()).toBe("");

    first.send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
    expect((await first.answer()).status).toBe(421);
    first.socket.destroy();
    for (let status = 503; status !== 200; ) {
      await using later = await proxy.dial();
      later.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
      ({ status } = await later.answer());
    }
  });

  it("makes the oldest go that has shown no token, however many come at once", async () => {
    await using proxy = await TestProxy.start({ trusted, options: { connections: { ...unlimited, max: 6 } } });
    const mine = await proxy.tunnel("api.test:443");
    const clients = await Promise.all(Array.from({ length: 30 }, () => proxy.dial()));
    let open = clients.length;
    for (const client of clients) client.socket.once("close", () => open--);
    await expect.poll(() => open).toBe(3);
    await using late = await proxy.dial();
    late.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    expect((await late.answer()).status).toBe(200);
    mine.send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n");
    expect((await mine.answer()).status).toBe(421);
    mine.socket.destroy();
    for (const client of clients) client.socket.destroy();
  });
});

describe("one tunnel too many of a token", () => {
  it("is refused instead of the 200, on a connection that may go on", async () => {
    const connections = { ...unlimited, maxPerToken: 1 };
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

  it("is refused as one request too many where it is none", async () => {
    const connections = { ...unlimited, maxPerToken: 1 };
    await using proxy = await TestProxy.start({ trusted, options: { connections } });
    const tunnel = await proxy.tunnel("api.test:443");
    await using plain = await proxy.dial();
    const credentials = Buffer.from(`${testToken}:`).toString("base64");
    const head = `GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`;
    plain.send(head);
    expect(JSON.parse((await plain.answer()).body)).toMatchObject({ error: "too_many_tunnels" });
    tunnel.socket.destroy();
    await expect
      .poll(async () => {
        plain.send(head);
        return (await plain.answer()).status;
      })
      .toBe(502);
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
