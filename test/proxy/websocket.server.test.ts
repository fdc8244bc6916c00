import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { type RawClient, TestProxy } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const services = [
  { name: "ws", pattern: { host: "ws.test" }, auth: { type: "bearer", token: "KEY" }, substitutions: [] },
] as const;

const handshake = (host: string) =>
  `GET /chat HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n` +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/** A masked text frame with a mask of zeros: its payload can be read in the bytes. */
const frame = (text: string) => `\x81${String.fromCharCode(0x80 | text.length)}\0\0\0\0${text}`;

async function expectEcho(client: RawClient, text: string): Promise<void> {
  client.send(frame(text));
  expect(await client.bytes(text.length + 2)).toBe(`\x81${String.fromCharCode(text.length)}${text}`);
}

describe("a WebSocket", () => {
  it("is opened with the credential and relayed both ways until one side closes", async () => {
    const certificate = await trusted.issue(["ws.test"]);
    const server = createServer(certificate);
    let authorization: string | undefined;
    new WebSocketServer({ server }).on("connection", (socket, request) => {
      authorization = request.headers.authorization;
      socket.on("message", (data: Buffer) => socket.send(data.toString()));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const host = `ws.test:${(server.address() as AddressInfo).port}`;
    await using proxy = await TestProxy.start({ trusted, services, credentials: { KEY: "sk_ws" } });
    const client = await proxy.tunnel(host);

    client.send(handshake(host));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 101 .*Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/is);
    await expectEcho(client, "hello");
    await expectEcho(client, "again");
    client.send("\x88\x80\0\0\0\0");
    expect(await client.rest()).toMatch(/^\x88/);

    expect(authorization).toBe("Bearer sk_ws");
    server.close();
  });

  it.each([
    { line: "Sec-WebSocket-Accept: wrong", because: "the key is wrong" },
    { line: "X: y", because: "the key is missing" },
  ])("is not opened when $because", async ({ line }) => {
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["ws.test"],
      script: (socket) =>
        void socket.write(`HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${line}\r\n\r\n`),
    });
    await using proxy = await TestProxy.start({ trusted, services, credentials: { KEY: "sk_ws" } });
    const host = `ws.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    client.send(handshake(host));
    expect((await client.answer()).status).toBe(502);
  });

  it("gets the upstream's refusal as it is", async () => {
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["ws.test"],
      script: (socket) => void socket.write("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"),
    });
    await using proxy = await TestProxy.start({ trusted, services, credentials: { KEY: "sk_ws" } });
    const host = `ws.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    client.send(handshake(host));
    expect((await client.answer()).body).toBe("no");
  });

  it("is the only upgrade: others become plain requests", async () => {
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["ws.test"],
      script: (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    });
    await using proxy = await TestProxy.start({ trusted, services, credentials: { KEY: "sk_ws" } });
    const host = `ws.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`);
    expect((await client.answer()).body).toBe("ok");
    expect(upstream.received[0]).not.toMatch(/upgrade/i);
  });
});
