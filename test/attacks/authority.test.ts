import { connect } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bearerService, hosts, proxyAuthorization, type Stage, secret, setStage } from "./support/stage.ts";
import { Wire } from "./support/wire.ts";

// Who is being talked to is said up to four times: CONNECT, SNI, request target, Host. A credential goes by the first,
// and no later one may lead the request, or the upstream's idea of it, somewhere else.
describe("an agent whose words about the target disagree", () => {
  let stage: Stage;
  let api: string;
  let other: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    other = `${hosts.other}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("cannot name another host in the ClientHello than in CONNECT", async () => {
    const attempt = async () => {
      using wire = await stage.tunnel({ authority: api, servername: hosts.other });
      wire.send(`GET / HTTP/1.1\r\nHost: ${other}\r\n\r\n`);
      return await wire.answer();
    };
    await expect(attempt()).rejects.toThrow();
    expect(stage.secure.received).toEqual([]);
  });

  it("may name the same host in other letters, or none", async () => {
    for (const servername of [hosts.api.toUpperCase(), null]) {
      const answer = await stage.ask("/", { authority: api, servername });
      expect(answer.status).toBe(200);
    }
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`, `Bearer ${secret}`]);
  });

  it("gets a certificate for the host of CONNECT and nothing else", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${api} HTTP/1.1\r\nHost: ${api}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    await wire.answer("HEAD");
    const names = await wire.certificateNames({ ca: stage.ca, servername: hosts.api });
    expect(names).toContain(`DNS:${hosts.api}`);
    expect(names).not.toContain(hosts.other);
  });

  it.each([
    { target: "/", host: () => other, because: "Host names another service" },
    { target: "/", host: () => hosts.other, because: "Host names another one, without port" },
    { target: "/", host: () => `${hosts.api}:1`, because: "Host names another port" },
    { target: "/", host: () => `${hosts.api}.`, because: "a dot more" },
    { target: "/", host: () => "", because: "an empty Host" },
    { target: "ABSOLUTE", host: () => api, because: "the target names another host" },
    { target: "ABSOLUTE-HTTP", host: () => api, because: "the target names another scheme and host" },
  ])("cannot lead a request inside a tunnel elsewhere: $because", async ({ target, host }) => {
    using wire = await stage.tunnel({ authority: api });
    const path = { ABSOLUTE: `https://${other}/x`, "ABSOLUTE-HTTP": `http://${other}/x` }[target] ?? target;
    wire.send(`GET ${path} HTTP/1.1\r\nHost: ${host()}\r\n\r\n`);
    const answer = await wire.answer();
    // Refused, or sent to where CONNECT said with a Host that says so, too.
    if (answer.status === 200) {
      expect(stage.secure.values("host")).toEqual([api]);
      expect(stage.secure.received.join()).not.toContain(hosts.other);
    } else {
      expect([400, 421]).toContain(answer.status);
      expect(stage.secure.received).toEqual([]);
    }
  });

  it("cannot do it with a nested CONNECT", async () => {
    using wire = await stage.tunnel({ authority: api });
    wire.send(`CONNECT ${other} HTTP/1.1\r\nHost: ${other}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    expect((await wire.answer("HEAD")).status).toBeGreaterThanOrEqual(400);
    expect(stage.secure.received).toEqual([]);
  });

  it("cannot do it in absolute form: the URL counts, and Host follows it", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const url = `http://${hosts.api}:${stage.plain.port}/`;
    wire.send(`GET ${url} HTTP/1.1\r\nHost: internal.test\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    const answer = await wire.answer();
    const seen = stage.plain.values("host");
    if (answer.status === 200) expect(seen).toEqual([`${hosts.api}:${stage.plain.port}`]);
    else expect(seen).toEqual([]);
    stage.plain.forget();
  });

  it.each([
    { target: "https://HOST/", because: "TLS would be stripped" },
    { target: "ftp://HOST/", because: "no such scheme" },
    { target: "ws://HOST/", because: "no such scheme" },
    { target: "file:///etc/passwd", because: "no such scheme" },
    { target: "gopher://HOST/", because: "no such scheme" },
    { target: "http:///", because: "no host" },
    { target: "http://user:pass@HOST/", because: "user info can make one host look like another" },
    { target: "/", because: "a proxy has no pages of its own" },
    { target: "*", because: "there is nothing to ask about" },
  ])("cannot send $target outside of a tunnel: $because", async ({ target }) => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const host = `${hosts.api}:${stage.plain.port}`;
    const method = target === "*" ? "OPTIONS" : "GET";
    wire.send(
      `${method} ${target.replace("HOST", host)} HTTP/1.1\r\nHost: ${host}\r\n${proxyAuthorization({}, stage.token)}\r\n`,
    );
    const answer = await wire.answer();
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(stage.plain.received).toEqual([]);
  });

  it.each([
    "HOST",
    "HOST:",
    "HOST:0",
    "HOST:65536",
    "HOST:4294967739",
    "HOST:+443",
    "HOST:0x1bb",
    "HOST:443:443",
    "HOST:443/path",
    "HOST:443?x",
    "HOST:443#x",
    "user@HOST:443",
    "user:pass@HOST:443",
    "https://HOST:443",
    "HOST.:PORT",
    "HOST,internal.test:443",
    "*.upstream.test:443",
    ".upstream.test:443",
    "api..upstream.test:443",
    "api%2eupstream.test:443",
    "api\\upstream.test:443",
    "[HOST]:443",
    "[::1:443",
    "[::1%25eth0]:443",
    "[::1%eth0]:443",
    ":443",
    "//HOST:443",
    "/",
    "*",
  ])("cannot CONNECT to %s", async (form) => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const target = form.replace("HOST", hosts.api).replace("PORT", String(stage.secure.port));
    wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${api}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    const answer = await wire.answer();
    if (form === "HOST.:PORT" && answer.status === 200) return; // one dot at the end may be stripped; see the next test
    expect(answer.status, answer.head).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(stage.secure.received).toEqual([]);
  });

  it.each([hosts.api.toUpperCase(), "Api.Upstream.Test", `${hosts.api}.`])(
    "cannot slip past a disabled service by spelling its host %s",
    async (spelling) => {
      await stage.services([bearerService(api, { enabled: false })]);
      const status = await stage
        .ask("/", { authority: `${spelling}:${stage.secure.port}`, servername: hosts.api })
        .then(
          (answer) => answer.status,
          (error: { status?: number }) => error.status,
        );
      await stage.services([bearerService(api)]);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(stage.secure.received).toEqual([]);
    },
  );

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
