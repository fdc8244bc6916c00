import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { connectHead, TestProxy, testToken } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const upgrade =
  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const switching =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

async function setTheStage() {
  const sockets: Socket[] = [];
  const received: string[] = [];
  const upstream = await startRawUpstream({
    authority: trusted,
    names: ["api.test"],
    script: (socket, text, connection) => {
      received[connection] = text;
      if (!text.endsWith("\r\n\r\n")) return;
      sockets.push(socket);
      if (text.includes("Upgrade")) socket.write(switching);
    },
  });
  const proxy = await TestProxy.start({ trusted });
  const host = `api.test:${upstream.port}`;
  return {
    proxy,
    host,
    sockets,
    received,
    async open(more = "") {
      const client = await proxy.tunnel(host);
      client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`);
      while (sockets.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      return client;
    },
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

describe("a proxy that stops", () => {
  it("closes what is idle at once, and does not wait for the deadline then", async () => {
    await using t = await setTheStage();
    await using idle = await t.proxy.tunnel(t.host);
    await using fresh = await t.proxy.dial();
    await t.proxy.close(60_000);
    await Promise.all([idle.rest(), fresh.rest()]);
  });

  it("lets a request end, and says with the answer that the connection ends too", async () => {
    await using t = await setTheStage();
    await using client = await t.open();
    const closed = t.proxy.close(60_000);
    t.sockets[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const answer = await client.answer();
    expect(answer).toMatchObject({ status: 200, body: "ok" });
    expect(answer.head).toMatch(/^Connection: close\r$/m);
    await client.rest();
    await closed;
    await expect(t.proxy.dial()).rejects.toThrow();
  });

  it("says so with refusals, too", async () => {
    await using t = await setTheStage();
    await using holder = await t.open();
    await using client = await t.proxy.dial();
    client.send("CONNECT api.test:443 HTTP/1.1\r\n");
    await new Promise((resolve) => setTimeout(resolve, 50));
    const closed = t.proxy.close(60_000);
    client.send(connectHead("api.test:443", `not-${testToken}`).slice("CONNECT api.test:443 HTTP/1.1\r\n".length));
    const refusal = await client.answer();
    expect(refusal.status).toBe(407);
    expect(refusal.head).toMatch(/^Connection: close\r$/m);
    holder.socket.destroy();
    await closed;
  });

  it("says goodbye to both sides of a WebSocket with 1001", async () => {
    await using t = await setTheStage();
    await using client = await t.open(upgrade);
    await client.head();
    const closed = t.proxy.close(60_000);
    expect(await client.rest()).toBe("\x88\x02\x03\xe9");
    await closed;
    const frame = Buffer.from((t.received[0] ?? "").split("\r\n\r\n")[1] ?? "", "latin1");
    expect([...frame.subarray(0, 2)]).toEqual([0x88, 0x82]);
    const [a = 0, b = 0] = [4, 5].map((at) => (frame[at + 2] ?? 0) ^ (frame[at - 2] ?? 0));
    expect(a * 256 + b).toBe(1001);
    expect(t.proxy.journal).toMatchObject([{ status: 101, errorCode: "server_stopped" }]);
  });

  it("waits for the end of a frame before it says goodbye", async () => {
    await using t = await setTheStage();
    await using client = await t.open(upgrade);
    await client.head();
    t.sockets[0]?.write(Buffer.from([0x81, 0x05, 0x68, 0x65]));
    await client.bytes(4);
    const closed = t.proxy.close(60_000);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(client.isClosed).toBe(false);
    t.sockets[0]?.write("llo");
    expect(await client.rest()).toBe("llo\x88\x02\x03\xe9");
    await closed;
  });

  it("cuts what is left after the deadline: downloads, and WebSockets in the middle of a frame", async () => {
    await using t = await setTheStage();
    await using socket = await t.open(upgrade);
    await socket.head();
    t.sockets[0]?.write(Buffer.from([0x81, 0x05, 0x68, 0x65]));
    await socket.bytes(4);
    await using download = await t.proxy.tunnel(t.host);
    download.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    while (t.sockets.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    t.sockets[1]?.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart");
    await download.until("part");
    await t.proxy.close(200);
    expect(await socket.rest()).toBe("");
    expect(await download.rest()).toBe("");
  });
});
