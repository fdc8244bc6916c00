import { connect } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "bytes in a tunnel that are no TLS, forwarded or answered" });

describe("an agent that does not begin with TLS when its tunnel is open", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("cannot speak to the tunnel without TLS", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${api} HTTP/1.1\r\nHost: ${api}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    expect((await wire.answer("HEAD")).status).toBe(200);
    wire.send(`GET / HTTP/1.1\r\nHost: ${api}\r\n\r\n`);
    expect(await wire.untilClosed()).not.toContain("HTTP/1.1 200");
    expect(stage.secure.received).toEqual([]);
  });

  it("loses nothing when it sends its ClientHello with CONNECT, before the answer", async () => {
    const { hello, peer } = await captureClientHello(stage.ca);
    peer.destroy();
    using wire = await Wire.dial(stage.server.proxyPort);
    const head = `CONNECT ${api} HTTP/1.1\r\nHost: ${api}\r\n${proxyAuthorization({}, stage.token)}\r\n`;
    wire.send(Buffer.concat([Buffer.from(head, "latin1"), hello]));
    expect((await wire.answer("HEAD")).status).toBe(200);
    // 0x16 0x03: a handshake record, the ServerHello.
    expect(await wire.next(2)).toBe("\x16\x03");
  });
});

/** The bytes with which a TLS client opens, taken from one that talks to us. */
async function captureClientHello(ca: string) {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const arrived = new Promise<Buffer>((resolve) => server.once("connection", (socket) => socket.once("data", resolve)));
  const peer = connect({ host: "127.0.0.1", port, servername: hosts.api, ca });
  peer.on("error", () => undefined);
  const hello = await arrived;
  server.close();
  return { hello, peer };
}
