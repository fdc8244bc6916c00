import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { WebSocketServer } from "ws";
import type { Service } from "../../src/domain/services/service.ts";
import { type RawClient, TestProxy } from "../support/proxy.ts";
import { WebSocketServer as RealServer, type RealWebSocket, WebSocketClient } from "../support/real-ws.ts";
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
    {
      line: "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Accept: x",
      because: "there are two keys, and the agent may look at the other",
    },
    {
      line: "Upgrade: h2c\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
      because: "it switches to something else as well",
    },
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

describe("the messages of a WebSocket", () => {
  const key = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
  const marker = "[redacted]**********************";

  /** An upstream that echoes messages, and a client of `ws` that reaches it through the proxy. */
  async function setup(change: Partial<Service>, deflate: boolean, early = "") {
    const server = createServer(await trusted.issue(["ws.test"]));
    const sockets = new RealServer({ server, perMessageDeflate: deflate ? { threshold: 0 } : false });
    const received: string[] = [];
    sockets.on("connection", (socket: RealWebSocket) => {
      if (early !== "") socket.send(early);
      socket.on("error", () => undefined);
      socket.on("message", (data: Buffer, binary: boolean) => {
        received.push(data.toString());
        socket.send(data, { binary });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const host = `ws.test:${(server.address() as AddressInfo).port}`;
    const proxy = await TestProxy.start({
      trusted,
      services: [{ ...services[0], ...change }],
      credentials: { KEY: key, SID: 'AC"123' },
    });
    const tunnel = await proxy.tunnel(host);
    tunnel.socket.removeAllListeners("data");
    const client = new WebSocketClient(`ws://${host}/`, {
      createConnection: () => tunnel.socket,
      perMessageDeflate: deflate ? { threshold: 0 } : false,
    });
    client.on("error", () => undefined);
    onTestFinished(async () => {
      client.terminate();
      await proxy.close();
      server.close();
      server.closeAllConnections();
    });
    const inbox: string[] = [];
    client.on("message", (data: Buffer) => void inbox.push(data.toString()));
    const closed = once(client, "close").then(([code]) => code as number);
    if (early === "") await once(client, "open");
    return { client, received, inbox, closed, proxy };
  }

  const substitutions = [{ key: "SID", placeholder: "__sid__", in: ["websocket"] }] as const;

  it.each([
    { deflate: false, kind: "as they are" },
    { deflate: true, kind: "compressed" },
  ])("$kind: placeholders are replaced upwards, credentials taken out downwards", async ({ deflate }) => {
    const { client, received, inbox, closed, proxy } = await setup({ substitutions }, deflate);
    expect(client.extensions).toBe(deflate ? "permessage-deflate" : "");
    client.send('{"sid":"__sid__"}');
    client.send("plain __sid__");
    client.send("frag", { fin: false });
    client.send(`ment __s`, { fin: false });
    client.send("id__");
    client.send(`echo ${key} and ${Buffer.from(key).toString("base64")}`);
    await expect.poll(() => inbox.length).toBe(4);
    expect(received.slice(0, 3)).toEqual(['{"sid":"AC\\"123"}', 'plain AC"123', 'fragment AC"123']);
    expect(inbox[3]).toContain(`echo ${marker} and [redacted]`);
    expect(inbox.join()).not.toContain(key);
    client.close(1000);
    expect(await closed).toBe(1000);
    await expect.poll(() => proxy.journal.length).toBe(1);
    expect(proxy.journal[0]).toMatchObject({
      status: 101,
      errorCode: "",
      scrubbed: { mode: "redact", found: ["KEY"] },
    });
    expect(proxy.journal[0]?.bytesIn).toBeGreaterThan(0);
  });

  it.each([
    { scrub: "block", code: 1008, error: "credential_in_answer" },
    { scrub: "detect", code: 1000, error: "" },
    { scrub: "off", code: 1000, error: "" },
  ] as const)("in the mode $scrub, an echoed credential ends with $code", async ({ scrub, code, error }) => {
    const { client, inbox, closed, proxy } = await setup({ scrub }, false);
    client.send("first");
    client.send(`echo ${key}`);
    await expect.poll(() => inbox.length + proxy.journal.length).toBeGreaterThan(1);
    client.close(1000);
    expect(await closed).toBe(code);
    await expect.poll(() => proxy.journal.length).toBe(1);
    expect(proxy.journal[0]).toMatchObject({ status: 101, errorCode: error });
    expect(proxy.journal[0]?.scrubbed?.found).toEqual(scrub === "off" ? undefined : ["KEY"]);
    expect(inbox.join().includes(key)).toBe(scrub !== "block");
  });

  it("are refused when a placeholder stands in a binary one", async () => {
    const { client, received, closed, proxy } = await setup({ substitutions }, false);
    client.send(Buffer.from("..__sid__.."), { binary: true });
    expect(await closed).toBe(1008);
    expect(received).toEqual([]);
    await expect.poll(() => proxy.journal[0]?.errorCode).toBe("placeholder_in_binary_message");
  });

  it("are looked at when they come right behind the 101", async () => {
    const { inbox, client } = await setup({}, false, `hello ${key}`);
    await expect.poll(() => inbox).toEqual([`hello ${marker}`]);
    client.terminate();
  });

  it("stop when the token is revoked", async () => {
    const { client, closed, proxy } = await setup({}, false);
    proxy.vault.isRevoked = true;
    expect(await closed).toBe(1008);
    client.send("late");
    await expect.poll(() => proxy.journal.length).toBe(1);
  });
});
