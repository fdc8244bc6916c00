import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createHttpsServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { parseService } from "../../../src/domain/services/definition.ts";
import type { ProxyTimeouts } from "../../../src/proxy/deadlines.ts";
import { fieldOf, Http2Client, requestFieldsFor } from "../../support/http2-client.ts";
import { connectHead, TestProxy, testToken } from "../../support/proxy.ts";
import { TestAuthority } from "../../support/test-authority.ts";

/** Agents that speak HTTP/2, to an upstream that speaks HTTP/1.1. */

const secret = "sk_live_http2";
let upstream: Server;
let authority: TestAuthority;
let port = 0;
let host = "";
let proxy: TestProxy;
const seen: { method: string; url: string; headers: string[]; body: string; trailers: string[] }[] = [];
let respond: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(async () => {
  authority = await TestAuthority.create();
  upstream = createHttpsServer(await authority.issue(["api.test"]), (request, response) => respond(request, response));
  upstream.on("checkContinue", (_request, response: ServerResponse) => {
    response.writeHead(417).end();
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  port = (upstream.address() as AddressInfo).port;
  host = `api.test:${port}`;
});

beforeEach(async () => {
  seen.length = 0;
  respond = (request, response) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      const { method = "", url = "", rawHeaders: headers, rawTrailers: trailers } = request;
      seen.push({ method, url, headers, body, trailers });
      response.end(`${method} ${url} ${body.length}`);
    });
  };
  proxy = await TestProxy.start({
    trusted: authority,
    services: [
      parseService(
        { name: "api", host: `${host}/v1/*`, auth: { type: "bearer", token: "KEY" } },
        { allowsInternalNames: false },
      ),
      parseService(
        { name: "off", host: `${host}/off/*`, enabled: false, auth: { type: "bearer", token: "KEY" } },
        { allowsInternalNames: false },
      ),
    ],
    credentials: { KEY: secret },
  });
  return () => proxy.close();
});

afterAll(() => {
  upstream.closeAllConnections();
  upstream.close();
});

async function open(options: { opensWindows?: boolean } = {}): Promise<Http2Client> {
  const plain = await proxy.dial();
  plain.send(connectHead(host, testToken));
  expect(await plain.head()).toContain(" 200 ");
  plain.socket.removeAllListeners("data");
  return await Http2Client.secure(plain.socket, { servername: "api.test", ca: proxy.rootPem, ...options });
}

const get = (path: string, ...more: string[]) => requestFieldsFor(host, path, more);
const post = (path: string, ...more: string[]) => requestFieldsFor(host, path, more, "POST");

describe("an agent that speaks HTTP/2", () => {
  it("gets the credential attached, and never sees it", async () => {
    await using client = await open();
    const answer = await client.ask(get("/v1/charges?a=b", "authorization", "Bearer placeholder", "x-order", "1"));
    expect(answer.heads[0]?.[1]).toBe("200");
    expect(answer.body).toBe("GET /v1/charges?a=b 0");
    expect(seen[0]?.headers).toEqual(
      ["Host", host, "authorization", `Bearer ${secret}`, "x-order", "1"].map((text) =>
        text === "Host" ? "host" : text === "authorization" ? "Authorization" : text,
      ),
    );
    expect(JSON.stringify([...client.answers])).not.toContain(secret);
  });

  it("has many requests under way at once, each journalled for itself", async () => {
    await using client = await open();
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) => client.ask(get(index % 3 === 0 ? `/off/${index}` : `/v1/${index}`))),
    );
    expect(answers.map((answer) => answer.heads[0]?.[1])).toEqual(
      answers.map((_, index) => (index % 3 === 0 ? "403" : "200")),
    );
    expect(answers[1]?.body).toBe("GET /v1/1 0");
    expect(proxy.journal.filter((entry) => entry.errorCode === "service_disabled")).toHaveLength(20);
    expect(proxy.journal.filter((entry) => entry.status === 200 && entry.matchedService === "api")).toHaveLength(40);
  });

  it("sends bodies with and without a length, and trailers", async () => {
    await using client = await open();
    const sized = client.begin(post("/v1/a", "content-length", "5"), false);
    client.data(sized, "hel");
    client.data(sized, "lo", true);
    expect((await client.over(sized)).body).toBe("POST /v1/a 5");
    expect(seen[0]?.headers.join()).toContain("content-length,5");
    const open_ = client.begin(post("/v1/b", "trailer", "x-sum"), false);
    client.data(open_, "x".repeat(40_000).slice(0, 16_000));
    client.headers(open_, ["x-sum", "9"], true);
    expect((await client.over(open_)).body).toBe("POST /v1/b 16000");
    expect(seen[1]?.headers.join()).toContain("Transfer-Encoding,chunked");
    expect(seen[1]?.trailers).toEqual(["x-sum", "9"]);
  });

  it("gets interim answers, a streamed body, and trailers", async () => {
    respond = (_request, response) => {
      response.writeEarlyHints({ link: "</a>; rel=preload" });
      response.writeHead(200, { Trailer: "X-Sum" });
      response.write("one ");
      response.write("two");
      response.addTrailers({ "X-Sum": "7" });
      response.end();
    };
    await using client = await open();
    const answer = await client.ask(get("/v1/x"));
    expect(answer.heads.map((head) => head[1])).toEqual(["103", "200"]);
    expect(answer.body).toBe("one two");
    expect(answer.trailers).toEqual(["x-sum", "7"]);
    expect(answer.heads[1]?.join()).not.toMatch(/transfer-encoding|connection|keep-alive/i);
  });

  it("sees an upload of many windows arrive whole, and a download as well", async () => {
    respond = (request, response) => {
      response.writeHead(200);
      request.pipe(response);
    };
    await using client = await open();
    const streamId = client.begin(post("/v1/echo"), false);
    const part = "0123456789abcdef".repeat(1000);
    // Within the windows that it was given: it has to wait for them to grow.
    const sender = new WindowedSender(client, streamId);
    for (let i = 0; i < 200; i += 1) await sender.send(part);
    client.data(streamId, "", true);
    const answer = await client.over(streamId);
    expect(answer.body.length).toBe(part.length * 200);
    expect(answer.body).toBe(part.repeat(200));
  });

  it("answers HEAD, 204 and 304 with a head alone", async () => {
    respond = (request, response) => {
      response.writeHead(Number(request.url?.slice(4)) || 200, { "Content-Length": 12 });
      response.end();
    };
    await using client = await open();
    const head = await client.ask(requestFieldsFor(host, "/v1/200", [], "HEAD"));
    expect(head).toMatchObject({ endedWithHead: true, body: "" });
    expect(fieldOf(head, "content-length")).toBe("12");
    expect(await client.ask(get("/v1/204"))).toMatchObject({ endedWithHead: true });
    expect(await client.ask(get("/v1/304"))).toMatchObject({ endedWithHead: true });
  });

  it("joins the cookies that a browser splits", async () => {
    await using client = await open();
    await client.ask(get("/v1/x", "cookie", "a=1", "cookie", "b=2"));
    expect(seen[0]?.headers.join("|")).toContain("cookie|a=1; b=2");
  });

  it("takes the request back: the upstream's connection goes, and the journal says so", async () => {
    const closed = Promise.withResolvers<void>();
    respond = (request, response) => {
      request.on("close", () => closed.resolve());
      response.writeHead(200);
      response.write("begun");
    };
    await using client = await open();
    const streamId = client.begin(get("/v1/x"));
    await client.until(() => client.answer(streamId).body !== "");
    client.reset(streamId, 8);
    await closed.promise;
    await until(() => proxy.journal.some((entry) => entry.errorCode === "client_aborted"));
    // The others go on.
    respond = (_request, response) => response.end("fine");
    expect((await client.ask(get("/v1/y"))).body).toBe("fine");
  });

  it("sees an answer that breaks off as a stream that breaks off, and keeps its connection", async () => {
    respond = (_request, response) => {
      response.writeHead(200, { "Content-Length": 100 });
      response.write("half", () => response.destroy());
    };
    await using client = await open();
    const answer = await client.ask(get("/v1/x"));
    expect(answer).toMatchObject({ isComplete: false, resetCode: 2 });
    respond = (_request, response) => response.end("fine");
    expect((await client.ask(get("/v1/y"))).body).toBe("fine");
  });

  it("gets an answer before its request is complete, and is told to stop", async () => {
    respond = (_request, response) => {
      response.writeHead(413, { Connection: "close" });
      response.end("too much");
    };
    await using client = await open();
    const streamId = client.begin(post("/v1/x"), false);
    client.data(streamId, "some");
    await client.until(() => client.answer(streamId).resetCode !== undefined);
    expect(client.answer(streamId)).toMatchObject({ body: "too much", isComplete: true, resetCode: 0 });
  });

  it("is not read ahead of an upstream that does not read", async () => {
    const arrived = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    respond = (request, response) => {
      request.pause();
      arrived.resolve();
      void go.promise.then(() => {
        let count = 0;
        request.on("data", (chunk: Buffer) => {
          count += chunk.length;
        });
        request.on("end", () => response.end(String(count)));
        request.resume();
      });
    };
    await using client = await open();
    const streamId = client.begin(post("/v1/x"), false);
    const sender = new WindowedSender(client, streamId);
    const part = "x".repeat(16_000);
    let sent = 0;
    const sending = (async () => {
      for (let i = 0; i < 2000; i += 1) {
        await sender.send(part);
        sent += part.length;
      }
      client.data(streamId, "", true);
    })();
    await arrived.promise;
    let before = -1;
    while (before !== sent) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(sent).toBeLessThan(part.length * 2000);
    go.resolve();
    await sending;
    expect((await client.over(streamId)).body).toBe(String(part.length * 2000));
  });

  it("cannot send more than its window allows", async () => {
    respond = (request) => request.pause();
    await using client = await open();
    const streamId = client.begin(post("/v1/x"), false);
    for (let i = 0; i < 1000; i += 1) client.data(streamId, "x".repeat(16_000));
    await client.until(() => client.answer(streamId).resetCode !== undefined || client.goaway !== undefined);
    expect(client.goaway?.code ?? client.answer(streamId).resetCode).toBe(3);
  });
});

describe("a WebSocket over HTTP/2", () => {
  const connectTo = (path: string, ...more: string[]) => [
    ...[":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", host, ":path", path],
    ...["sec-websocket-version", "13", ...more],
  ];
  /** A text frame of a client (RFC 6455, section 5.2). */
  const masked = (text: string) => {
    const mask = [1, 2, 3, 4];
    const bytes = [...Buffer.from(text)].map((byte, at) => byte ^ (mask[at % 4] ?? 0));
    return Buffer.from([0x81, 0x80 | text.length, ...mask, ...bytes]).toString("latin1");
  };
  let sockets: WebSocketServer;

  beforeEach(() => {
    sockets = new WebSocketServer({ noServer: true });
    upstream.removeAllListeners("upgrade");
    upstream.on("upgrade", (request, socket, head) => {
      seen.push({ method: "", url: request.url ?? "", headers: request.rawHeaders, body: "", trailers: [] });
      sockets.handleUpgrade(request, socket, head, (ws) => {
        ws.on("message", (message) => ws.send(`you said ${message}`));
      });
    });
  });

  afterEach(() => {
    for (const client of sockets.clients) client.terminate();
    upstream.removeAllListeners("upgrade");
  });

  it("is announced, opened with the credential, and carries messages both ways", async () => {
    await using client = await open();
    const streamId = client.begin(connectTo("/v1/socket", "authorization", "Bearer mine"), false);
    client.data(streamId, masked("early"));
    await client.until(() => client.answer(streamId).body.includes("you said early"));
    expect(client.settings.get(8)).toBe(1);
    expect(client.answer(streamId).heads.map((head) => head[1])).toEqual(["200"]);
    expect(client.answer(streamId).heads[0]?.join()).not.toMatch(/accept|upgrade|connection/i);
    expect(seen[0]?.headers.join("|")).toContain(`Bearer ${secret}`);
    client.data(streamId, masked("hello"));
    await client.until(() => client.answer(streamId).body.includes("you said hello"));
    // Others go on beside it.
    expect((await client.ask(get("/v1/x"))).body).toBe("GET /v1/x 0");
    client.data(streamId, Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).toString("latin1"));
    const answer = await client.over(streamId);
    expect(answer.body).toContain("\x88\x02\x03\xe8");
    await until(() => proxy.journal.some((entry) => entry.path === "/v1/socket" && entry.status === 101));
  });

  it("is refused like any other request", async () => {
    await using client = await open();
    const streamId = client.begin(connectTo("/off/socket"), false);
    const answer = await client.over(streamId);
    expect(answer.heads[0]?.[1]).toBe("403");
  });

  it("ends at the upstream when the agent resets it, and with the token", async () => {
    await using client = await open();
    const first = client.begin(connectTo("/v1/socket"), false);
    await client.until(() => client.answer(first).heads.length === 1);
    client.reset(first, 8);
    await until(() => sockets.clients.size === 0);
    const second = client.begin(connectTo("/v1/socket"), false);
    await client.until(() => client.answer(second).heads.length === 1);
    proxy.vault.isRevoked = true;
    proxy.vault.announce();
    const answer = await client.over(second);
    expect(answer.body).toContain("\x88\x02\x03\xf0");
  });
});

describe("the limits of a token", () => {
  it("hold for each stream", async () => {
    await using limited = await TestProxy.start({
      trusted: authority,
      limits: { isOff: false, rate: 1000, burst: 1000, concurrency: 3, waitMs: 1 },
    });
    const waiting: ServerResponse[] = [];
    respond = (_request, response) => waiting.push(response);
    const plain = await limited.dial();
    plain.send(connectHead(host, testToken));
    await plain.head();
    plain.socket.removeAllListeners("data");
    await using client = await Http2Client.secure(plain.socket, { servername: "api.test", ca: limited.rootPem });
    const streams = Array.from({ length: 8 }, () => client.begin(get("/x")));
    await client.until(() => [...client.answers.values()].filter((answer) => answer.isComplete).length >= 5);
    const statuses = streams.flatMap((id) => client.answer(id).heads.map((head) => head[1]));
    expect(statuses).toEqual(["429", "429", "429", "429", "429"]);
    await until(() => waiting.length === 3);
    for (const response of waiting) response.end();
  });

  it("end every stream with the token, and the connection after them", async () => {
    respond = (_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n");
    };
    await using client = await open();
    const streamId = client.begin(get("/v1/x"));
    await client.until(() => client.answer(streamId).body !== "");
    proxy.vault.isRevoked = true;
    proxy.vault.announce();
    await client.closed();
    expect(client.answer(streamId)).toMatchObject({ isComplete: false });
    expect(client.goaway?.code).toBe(0);
    expect(proxy.journal.find((entry) => entry.path === "/v1/x")?.errorCode).toBe("revoked");
  });
});

describe("an agent that keeps its windows shut", () => {
  async function openShut(timeouts: Partial<ProxyTimeouts>): Promise<[TestProxy, Http2Client]> {
    const impatient = await TestProxy.start({ trusted: authority, options: { timeouts } });
    const plain = await impatient.dial();
    plain.send(connectHead(host, testToken));
    await plain.head();
    plain.socket.removeAllListeners("data");
    const options = { servername: "api.test", ca: impatient.rootPem, opensWindows: false };
    return [impatient, await Http2Client.secure(plain.socket, options)];
  }

  it("loses the stream whose answer does not move", async () => {
    respond = (_request, response) => {
      response.writeHead(200);
      response.write("x".repeat(1_000_000));
    };
    const [impatient, client] = await openShut({ bodyIdleMs: 300 });
    await using _proxy = impatient;
    await using _client = client;
    const streamId = client.begin(get("/x"));
    expect(await client.over(streamId)).toMatchObject({ isComplete: false, resetCode: 2 });
    expect(impatient.journal[0]?.errorCode).toBe("idle_timeout");
  });

  it("loses the connection when it does not take an answer that is complete", async () => {
    respond = (_request, response) => response.end("small");
    const [impatient, client] = await openShut({ idleMs: 300 });
    await using _proxy = impatient;
    await using _client = client;
    client.begin(get("/x"));
    await client.closed();
    expect(client.goaway).toMatchObject({ code: 0xb });
    expect(impatient.journal.map((entry) => entry.errorCode)).toContain("http2_flood");
  });
});

describe("a proxy that stops", () => {
  it("says so, lets streams end, and closes", async () => {
    const waiting: ServerResponse[] = [];
    respond = (_request, response) => waiting.push(response);
    await using client = await open();
    const streamId = client.begin(get("/v1/x"));
    await until(() => waiting.length === 1);
    const closing = proxy.close(5000);
    await client.until(() => client.goaway !== undefined);
    expect(client.goaway).toMatchObject({ code: 0, lastStreamId: streamId });
    const late = client.begin(get("/v1/y"));
    expect((await client.over(late)).resetCode).toBe(7);
    waiting[0]?.end("done");
    expect((await client.over(streamId)).body).toBe("done");
    await closing;
  });
});

describe("choosing a protocol", () => {
  it.each([
    { offered: ["h2", "http/1.1"], chosen: "h2" },
    { offered: ["http/1.1", "h2"], chosen: "h2" },
    { offered: ["spdy/3", "h2"], chosen: "h2" },
    { offered: ["http/1.1"], chosen: "http/1.1" },
  ])("takes $chosen where the agent offers $offered", async ({ offered, chosen }) => {
    const plain = await proxy.dial();
    plain.send(connectHead(host, testToken));
    await plain.head();
    plain.socket.removeAllListeners("data");
    const { connect } = await import("node:tls");
    const secure = connect({
      socket: plain.socket,
      servername: "api.test",
      ca: [proxy.rootPem],
      ALPNProtocols: offered,
    });
    await new Promise<void>((resolve, reject) => {
      secure.once("secureConnect", resolve);
      secure.once("error", reject);
    });
    expect(secure.alpnProtocol).toBe(chosen);
    secure.destroy();
  });
});

/** Sends no more than the stream's window allows, as it was announced. */
class WindowedSender {
  readonly #client: Http2Client;
  readonly #streamId: number;
  #sent = 0;

  constructor(client: Http2Client, streamId: number) {
    this.#client = client;
    this.#streamId = streamId;
  }

  async send(text: string): Promise<void> {
    const allowed = () =>
      Math.min(
        (this.#client.settings.get(4) ?? 65_535) + this.#client.granted(this.#streamId),
        65_535 + this.#client.granted(0),
      );
    await this.#client.until(() => this.#sent + text.length <= allowed());
    this.#sent += text.length;
    this.#client.data(this.#streamId, text);
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
