import { createServer as createPlainServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { describe, expect, it } from "vitest";
import type { Service } from "../../src/domain/services/service.ts";
import { connectWithoutWaiting } from "../support/early-hello.ts";
import { connectHead, type ProxySetup, TestProxy, testToken } from "../support/proxy.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const service = (more: Partial<Service> = {}): Service => ({
  name: "api",
  pattern: { host: "api.test" },
  auth: { type: "bearer", token: "API_KEY" },
  substitutions: [],
  ...more,
});
const credentials = { API_KEY: "sk_real" };

/** A proxy, an upstream that answers with exactly `answer` to each request head, and a tunnel to it. */
async function rawSetup(
  answer: string | ((socket: Socket, received: string, connection: number) => void),
  setup: Partial<ProxySetup> = {},
) {
  const upstream = await startRawUpstream({
    authority: trusted,
    names: ["api.test"],
    script:
      typeof answer === "string"
        ? (socket, received) => {
            if (received.endsWith("\r\n\r\n")) socket.write(answer, "latin1");
          }
        : answer,
  });
  const proxy = await TestProxy.start({ trusted, services: [service()], credentials, ...setup });
  const client = await proxy.tunnel(`api.test:${upstream.port}`);
  const host = `api.test:${upstream.port}`;
  return {
    upstream,
    proxy,
    client,
    host,
    async [Symbol.asyncDispose]() {
      client.socket.destroy();
      await proxy.close();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("what goes upstream", () => {
  it("keeps order, case and repetition of headers, and puts the credential where the agent had its own", async () => {
    await using t = await rawSetup(ok);
    t.client.send(
      `GET /a%2Fb|x?q=1&q HTTP/1.1\r\nACCEPT: a\r\nHost: ${t.host}\r\naUthorization: mine\r\naccept: b\r\nAuthorization: two\r\n` +
        `Authorization_: x\r\nConnection: X-Custom, close, x_hop\r\nX-Custom: s\r\nX-Hop: s\r\nTE: trailers\r\nX-Vault: v\r\n` +
        `Proxy_Authorization: t\r\nKeep-Alive: 5\r\nX-Last: 1\r\n\r\n`,
    );
    expect(await t.client.rest()).toContain("\r\n\r\nok");
    expect(t.upstream.received[0]).toBe(
      `GET /a%2Fb|x?q=1&q HTTP/1.1\r\nACCEPT: a\r\nHost: ${t.host}\r\nAuthorization: Bearer sk_real\r\naccept: b\r\n` +
        "Authorization_: x\r\nX-Last: 1\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    );
  });

  it("lets no underscore spelling of the credential's header through", async () => {
    await using t = await rawSetup(ok, {
      services: [
        service({ auth: { type: "api-key", key: "API_KEY", header: "X-Api-Key" }, stripHeaders: ["Authorization"] }),
      ],
    });
    t.client.send(
      `GET / HTTP/1.1\r\nHost: ${t.host}\r\nX_Api_Key: evil\r\nx-api_key: evil\r\nAuthorization: dummy\r\n\r\n`,
    );
    await t.client.answer();
    expect(t.upstream.received[0]).toBe(`GET / HTTP/1.1\r\nHost: ${t.host}\r\nX-Api-Key: sk_real\r\n\r\n`);
  });

  it("keeps an empty POST an empty POST, and a chunked upload chunked with its trailers", async () => {
    await using t = await rawSetup((socket, received) => {
      if (received.includes("X-Sum: 9\r\n\r\n") || (received.includes("/empty") && !received.includes("/up")))
        socket.write(ok);
    });
    t.client.send(`POST /empty HTTP/1.1\r\nHost: ${t.host}\r\nContent-Length: 0\r\n\r\n`);
    await t.client.answer();
    expect(t.upstream.received[0]).toContain("Content-Length: 0\r\n");
    t.client.send(
      `POST /up HTTP/1.1\r\nHost: ${t.host}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3;ext=1\r\nabc\r\n0\r\nX-Sum: 9\r\nX_Vault: t\r\n\r\n`,
    );
    expect((await t.client.answer()).status).toBe(200);
    expect(t.upstream.received[0]).toMatch(
      /Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nAuthorization: Bearer sk_real\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n$/,
    );
    expect(t.upstream.connections).toBe(1);
  });

  it("waits for the upstream's own verdict on Expect: 100-continue", async () => {
    await using t = await rawSetup((socket, received) => {
      if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 100 Continue\r\n\r\n");
      if (received.endsWith("body")) socket.write(ok);
    });
    t.client.send(`PUT /x HTTP/1.1\r\nHost: ${t.host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`);
    expect(await t.client.head()).toBe("HTTP/1.1 100 Continue\r\n\r\n");
    t.client.send("body");
    expect((await t.client.answer()).body).toBe("ok");
  });
});

describe("what comes back", () => {
  it("relays 103, keeps the reason, and drops what is not the agent's business", async () => {
    await using t = await rawSetup(
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
        "HTTP/1.1 299 Fine Indeed\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: s=1\r\nAlt-Svc: h3\r\nX-Agent-Vault-Proxy-Error: true\r\n" +
        "Connection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.head()).toBe("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    expect((await t.client.answer()).head).toBe(
      "HTTP/1.1 299 Fine Indeed\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\n",
    );
  });

  it.each([
    { services: [service({ setCookie: "pass" })], arrives: true, because: "the service says so" },
    { services: [], arrives: true, because: "nothing was injected" },
    { services: [service({ auth: { type: "passthrough" } })], arrives: true, because: "nothing was injected" },
    { services: [service()], arrives: false, because: "a session would outlive the credential" },
  ])("passes Set-Cookie: $arrives, because $because", async ({ services, arrives }) => {
    await using t = await rawSetup("HTTP/1.1 200 OK\r\nSet-Cookie: s=1\r\nContent-Length: 2\r\n\r\nok", { services });
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect((await t.client.answer()).head.includes("Set-Cookie")).toBe(arrives);
  });

  it("sends the head of a silent event stream at once, and every event as it comes", async () => {
    let stream: Socket | undefined;
    await using t = await rawSetup((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
      stream = socket;
    });
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.head()).toContain("Transfer-Encoding: chunked");
    stream?.write("6\r\ndata:1\r\n");
    expect(await t.client.until("data:1\r\n")).toBe("6\r\ndata:1\r\n");
    stream?.write("0\r\nX-T: 1\r\n\r\n");
    expect(await t.client.until("\r\n\r\n")).toBe("0\r\nX-T: 1\r\n\r\n");
  });

  it("relays answers without bodies, and goes on with the connection", async () => {
    await using t = await rawSetup((socket, received) => {
      const method = received.trimEnd().split("\r\n\r\n").at(-1)?.slice(0, 4);
      if (method === "HEAD") socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
      else if (received.includes("/gone")) socket.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
      else socket.write("HTTP/1.1 204 No Content\r\n\r\n");
    });
    t.client.send(`HEAD / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.head()).toContain("Content-Length: 100");
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.head()).toContain("204");
    t.client.send(`GET /gone HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.head()).toContain("304");
    expect(t.upstream.connections).toBe(1);
  });

  it("frames an answer that ends with its connection anew", async () => {
    await using t = await rawSetup((socket) => socket.end("HTTP/1.1 200 OK\r\n\r\nall of it"));
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    await t.client.head();
    expect(await t.client.until("0\r\n\r\n")).toBe("9\r\nall of it\r\n0\r\n\r\n");
  });

  it("closes after an answer of unknown length to HTTP/1.0", async () => {
    await using t = await rawSetup("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    t.client.send(`GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
    expect(await t.client.rest()).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok");
  });

  it.each([
    { answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", because: "in a chunk" },
    { answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", because: "before the last chunk" },
    { answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", because: "before its length" },
    { answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX", because: "in bad framing" },
  ])("lets the agent see that an answer was cut short $because", async ({ answer }) => {
    await using t = await rawSetup((socket) => void setTimeout(() => socket.end(answer), 5));
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    const text = await t.client.rest();
    expect(text).toContain("abc");
    expect(text).not.toContain("\r\n0\r\n\r\n");
    expect(t.proxy.journal.at(-1)).toMatchObject({ status: 200, errorCode: "upstream_aborted" });
  });

  it("answers while the upload still runs", async () => {
    await using t = await rawSetup("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    t.client.send(`POST / HTTP/1.1\r\nHost: ${t.host}\r\nContent-Length: 100000\r\n\r\n`);
    const { status, head, body } = await t.client.answer();
    expect({ status, body }).toEqual({ status: 413, body: "no" });
    expect(head).toContain("Connection: close");
  });

  it.each([
    { answer: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", because: "bare LF" },
    { answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", because: "two lengths" },
    {
      answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      because: "two framings",
    },
    {
      answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
      because: "nobody asked to switch",
    },
    { answer: "HTTP/2.0 200 OK\r\n\r\n", because: "not HTTP/1.1" },
  ])("calls a malformed answer a bad gateway: $because", async ({ answer }) => {
    await using t = await rawSetup((socket) => void socket.write(answer));
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    const { status, head, body } = await t.client.answer();
    expect(status).toBe(502);
    expect(head).toContain("X-Agent-Vault-Proxy-Error: true\r\n");
    expect(JSON.parse(body)).toMatchObject({ error: "upstream_bad_answer", request_id: expect.any(String) });
  });
});

describe("upstream connections", () => {
  it("are used again", async () => {
    await using t = await rawSetup(ok);
    for (let i = 0; i < 3; i++) {
      t.client.send(`GET /${i} HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
      expect((await t.client.answer()).body).toBe("ok");
    }
    expect(t.upstream.connections).toBe(1);
  });

  it("serve pipelined requests in order", async () => {
    await using t = await rawSetup((socket, received) => {
      const path = received.slice(received.lastIndexOf("GET ") + 4).split(" ")[0] ?? "";
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
    });
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`;
    t.client.send(get("/1") + get("/2") + get("/3"));
    for (const path of ["/1", "/2", "/3"]) expect((await t.client.answer()).body).toBe(path);
  });

  it("are replaced once when an idle one turns out to be dead", async () => {
    await using t = await rawSetup((socket, received, connection) => {
      if (connection === 0 && received.split("GET").length > 2) socket.destroy();
      else if (received.endsWith("\r\n\r\n")) socket.write(ok);
    });
    for (let i = 0; i < 2; i++) {
      t.client.send(`GET /${i} HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
      expect((await t.client.answer()).body).toBe("ok");
    }
    expect(t.upstream.connections).toBe(2);
  });

  it("are not tried again for a request that may have had an effect", async () => {
    await using t = await rawSetup((socket, received, connection) => {
      if (connection === 0 && received.includes("POST")) socket.destroy();
      else if (received.endsWith("\r\n\r\n")) socket.write(ok);
    });
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    await t.client.answer();
    t.client.send(`POST / HTTP/1.1\r\nHost: ${t.host}\r\nContent-Length: 1\r\n\r\nx`);
    expect((await t.client.answer()).status).toBe(502);
    expect(t.upstream.connections).toBe(1);
  });

  it("are dropped when they said more than they were asked", async () => {
    await using t = await rawSetup(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`);
    for (let i = 0; i < 2; i++) {
      t.client.send(`GET /${i} HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
      expect((await t.client.answer()).body).toBe("ok");
    }
    expect(t.upstream.connections).toBe(2);
  });

  it("are cancelled when the agent leaves", async () => {
    const closed = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    await using t = await rawSetup((socket) => {
      socket.on("close", () => closed.resolve());
      arrived.resolve();
    });
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    await arrived.promise;
    t.client.socket.destroy();
    await closed.promise;
    expect(t.proxy.journal).toMatchObject([{ errorCode: "client_aborted" }]);
  });
});

describe("refusals in a tunnel", () => {
  it.each([
    { send: "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", status: 421, code: "misdirected_request" },
    { send: "GET https://other.test/ HTTP/1.1\r\nHost: HOST\r\n\r\n", status: 421, code: "misdirected_request" },
    { send: "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n", status: 421, code: "misdirected_request" },
    { send: "TRACE / HTTP/1.1\r\nHost: HOST\r\n\r\n", status: 405, code: "method_not_allowed" },
    { send: "CONNECT x:1 HTTP/1.1\r\nHost: HOST\r\n\r\n", status: 405, code: "method_not_allowed" },
    { send: "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n", status: 400, code: "asterisk_form" },
    { send: "GET / HTTP/1.1\r\n\r\n", status: 400, code: "host_missing" },
    { send: "GET / HTTP/1.1\r\nHost : HOST\r\n\r\n", status: 400, code: "bad_header_name" },
    { send: "GET /a#b HTTP/1.1\r\nHost: HOST\r\n\r\n", status: 400, code: "bad_request_line" },
    {
      send: "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      status: 400,
      code: "ambiguous_length",
    },
    { send: "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2000\r\n\r\n", status: 413, code: "request_too_large" },
  ])("answer $status $code", async ({ send, status, code }) => {
    await using t = await rawSetup(ok, { options: { maxRequestBytes: 1000 } });
    t.client.send(send.replaceAll("HOST", t.host));
    const { status: got, head, body } = await t.client.answer();
    expect({ status: got, ...JSON.parse(body) }).toMatchObject({ status, error: code });
    expect(head).toContain(`X-Agent-Vault-Error-Code: ${code}\r\n`);
    expect(t.upstream.received).toEqual([]);
    expect(t.proxy.journal).toHaveLength(1);
  });

  it("reads Host in any spelling that means the tunnel's", async () => {
    await using t = await rawSetup(ok);
    t.client.send(`GET / HTTP/1.1\r\nHost: API.Test.:${t.upstream.port}\r\n\r\n`);
    expect((await t.client.answer()).status).toBe(200);
    expect(t.upstream.received[0]).toContain(`Host: api.test:${t.upstream.port}\r\n`);
  });

  it("say what to propose when nothing matches and the vault denies", async () => {
    await using t = await rawSetup(ok, { services: [], policy: "deny" });
    t.client.send(`GET /v1?secret=1 HTTP/1.1\r\nHost: ${t.host}\r\nAuthorization: Bearer sk_own\r\n\r\n`);
    const { status, body } = await t.client.answer();
    expect(status).toBe(403);
    expect(body).not.toContain("sk_own");
    expect(JSON.parse(body)).toMatchObject({
      error: "forbidden",
      proposal_hint: {
        host: "api.test",
        port: t.upstream.port,
        path: "/v1",
        method: "GET",
        auth_scheme: "bearer",
        endpoint: "POST /v1/proposals",
      },
    });
    expect(t.proxy.journal).toMatchObject([{ status: 403, errorCode: "no_match" }]);
  });

  it.each([
    { setup: { services: [service({ enabled: false })] }, status: 403, code: "service_disabled" },
    { setup: { services: [service()], credentials: {} }, status: 502, code: "credential_not_found" },
    {
      setup: { network: { allowPrivateRanges: false, allowlist: [] } },
      status: 502,
      code: "blocked_by_network_policy",
    },
    {
      setup: { addresses: { "api.test": ["8.8.8.8", "169.254.169.254"] } },
      status: 502,
      code: "blocked_by_network_policy",
    },
    { setup: { addresses: { "api.test": [] } }, status: 502, code: "dns_failed" },
  ])("answer $status $code", async ({ setup, status, code }) => {
    await using t = await rawSetup(ok, setup);
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    const { status: got, body } = await t.client.answer();
    expect({ status: got, error: JSON.parse(body).error }).toEqual({ status, error: code });
    expect(body).not.toContain("sk_real");
    expect(t.proxy.journal).toMatchObject([{ status }]);
  });

  it("answer 400 to a path with several readings where a service is limited to a path", async () => {
    await using t = await rawSetup(ok, { services: [service({ pattern: { host: "api.test", path: "/api/*" } })] });
    t.client.send(`GET /api/%2e%2e/admin HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(JSON.parse((await t.client.answer()).body)).toMatchObject({ error: "ambiguous_path" });
    expect(t.upstream.received).toEqual([]);
  });

  it("do not close the tunnel, so that the next request may do better", async () => {
    await using t = await rawSetup(ok, {
      policy: "deny",
      services: [service({ pattern: { host: "api.test", path: "/v1/*" } })],
    });
    t.client.send(`GET /v2/x HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect((await t.client.answer()).status).toBe(403);
    t.client.send(`GET /v1/x HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect((await t.client.answer()).status).toBe(200);
  });

  it("reach an open tunnel whose token was revoked, and close it", async () => {
    await using t = await rawSetup(ok);
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    await t.client.answer();
    t.proxy.vault.isRevoked = true;
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect((await t.client.answer()).status).toBe(407);
    await t.client.rest();
  });

  it("cut an answer that is longer than allowed", async () => {
    await using t = await rawSetup(
      (socket, received) => {
        socket.write(
          received.includes("/declared")
            ? "HTTP/1.1 200 OK\r\nContent-Length: 2048\r\n\r\n"
            : `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n${"x".repeat(2048)}\r\n0\r\n\r\n`,
        );
      },
      { options: { maxResponseBytes: 1024 } },
    );
    t.client.send(`GET /declared HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(JSON.parse((await t.client.answer()).body)).toMatchObject({ error: "response_too_large" });
    t.client.send(`GET /streamed HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.rest()).not.toContain("0\r\n\r\n");
    expect(t.proxy.journal.at(-1)).toMatchObject({ errorCode: "response_truncated" });
  });

  it("stop a chunked upload that is longer than allowed", async () => {
    await using t = await rawSetup(() => undefined, { options: { maxRequestBytes: 8 } });
    t.client.send(`POST / HTTP/1.1\r\nHost: ${t.host}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    t.client.send("5\r\nabcde\r\n5\r\nabcde\r\n");
    expect((await t.client.answer()).status).toBe(413);
  });
});

describe("upstream certificates", () => {
  it.each([
    { names: ["other.test"], validity: {}, because: "another name" },
    { names: ["api.test"], validity: { notBefore: new Date(0), notAfter: new Date(1e12) }, because: "expired" },
  ])("are refused: $because", async ({ names, validity }) => {
    const certificate = await trusted.issue(names, validity);
    const { createServer } = await import("node:https");
    const server = createServer(certificate, (_, response) => response.end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await using proxy = await TestProxy.start({ trusted, services: [service()], credentials });
    const client = await proxy.tunnel(`api.test:${port}`);
    client.send(`GET / HTTP/1.1\r\nHost: api.test:${port}\r\n\r\n`);
    expect(JSON.parse((await client.answer()).body)).toMatchObject({ error: "tls_verification_failed" });
    client.socket.destroy();
    server.close();
  });

  it("are refused from an authority nobody named", async () => {
    await using upstream = await startRecordingUpstream({
      authority: await TestAuthority.create(),
      names: ["api.test"],
    });
    await using proxy = await TestProxy.start({ trusted, services: [service()], credentials });
    await using client = await proxy.tunnel(`api.test:${upstream.port}`);
    client.send(`GET / HTTP/1.1\r\nHost: api.test:${upstream.port}\r\n\r\n`);
    expect(JSON.parse((await client.answer()).body)).toMatchObject({ error: "tls_verification_failed" });
    expect(upstream.requests).toEqual([]);
  });
});

describe("the outer connection", () => {
  it("challenges without a token, stays open, and takes the next try", async () => {
    await using proxy = await TestProxy.start({ trusted });
    await using client = await proxy.dial();
    client.send("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n");
    const { status, head, body } = await client.answer();
    expect(status).toBe(407);
    expect(head).toContain('Proxy-Authenticate: Basic realm="agent-vault"\r\n');
    expect(JSON.parse(body)).toMatchObject({ error: "proxy_auth_required" });
    client.send(connectHead("api.test:443", "wrong"));
    expect((await client.answer()).status).toBe(407);
    client.send(connectHead("api.test:443", testToken));
    expect(await client.head()).toBe("HTTP/1.1 200 Connection Established\r\n\r\n");
  });

  it.each([
    "api.test",
    "api.test:0",
    "api.test:65536",
    "api.test:",
    "u@api.test:443",
    "127.1:80",
    "0x7f.1:80",
    "[::1%25lo]:80",
    "https://a:443",
    "a..b:1",
  ])("refuses CONNECT %s before the 200", async (authority) => {
    await using proxy = await TestProxy.start({ trusted });
    await using client = await proxy.dial();
    client.send(connectHead(authority, testToken).replace(/Host: [^\r]*/, "Host: x"));
    expect((await client.answer()).status).toBe(400);
  });

  it("finds a ClientHello that was sent behind the CONNECT without waiting", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    await using proxy = await TestProxy.start({ trusted });
    await using client = await proxy.dial();
    const authority = `api.test:${upstream.port}`;
    const secure = connectWithoutWaiting(client.socket, { authority, servername: "api.test", ca: proxy.rootPem });
    secure.write(`GET / HTTP/1.1\r\nHost: api.test:${upstream.port}\r\nConnection: close\r\n\r\n`);
    let text = "";
    for await (const chunk of secure) {
      text += String(chunk);
      if (text.includes("hello")) break;
    }
    expect(text).toContain("hello");
  });

  it("refuses a ClientHello that names another host", async () => {
    await using proxy = await TestProxy.start({ trusted });
    const client = await proxy.tunnel("api.test:443", { servername: "api.test" });
    client.socket.destroy();
    const outcome = await proxy
      .tunnel("api.test:443", { servername: "evil.test" })
      .then((other) => other.rest())
      .catch((error: Error) => error.message);
    expect(outcome).not.toContain("200");
    await expect
      .poll(() => proxy.journal)
      .toMatchObject([{ method: "CONNECT", errorCode: expect.stringMatching(/sni_mismatch|tls_/) }]);
  });

  it.each([
    { send: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", code: "not_a_proxy_request" },
    { send: "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", code: "not_a_proxy_request" },
    { send: "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", code: "not_a_proxy_request" },
    { send: "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", code: "invalid_host" },
    { send: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", code: "not_a_proxy_request" },
  ])("refuses $send", async ({ send, code }) => {
    await using proxy = await TestProxy.start({ trusted });
    await using client = await proxy.dial();
    client.send(send);
    expect(JSON.parse((await client.answer()).body)).toMatchObject({ error: code });
  });

  it("serves absolute-form to http upstreams, with a credential only where the service allows it", async () => {
    const seen: (string | undefined)[] = [];
    const server = createPlainServer((request, response) => {
      seen.push(`${request.headers.host} ${request.url} ${request.headers.authorization}`);
      response.end("plain");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await using proxy = await TestProxy.start({ trusted, services: [service()], credentials });
    await using client = await proxy.dial();
    const authorization = `Proxy-Authorization: Bearer ${testToken}\r\n`;
    const get = `GET http://api.test:${port}/x?y HTTP/1.1\r\nHost: liar\r\n${authorization}\r\n`;
    client.send(get);
    expect(JSON.parse((await client.answer()).body)).toMatchObject({ error: "scheme_not_allowed" });
    proxy.vault.services = [service({ schemes: ["https", "http"] })];
    client.send(get);
    expect((await client.answer()).body).toBe("plain");
    expect(seen).toEqual([`api.test:${port} /x?y Bearer sk_real`]);
    client.send(`GET http://api.test:${port}/ HTTP/1.1\r\nHost: a\r\n\r\n`);
    expect((await client.answer()).status).toBe(407);
    server.closeAllConnections();
    server.close();
  });

  it("never dials itself", async () => {
    await using proxy = await TestProxy.start({ trusted });
    for (const host of ["127.0.0.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "localhost", "127.9.9.9"]) {
      await using client = await proxy.dial();
      client.send(
        `GET http://${host}:${proxy.port}/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Bearer ${testToken}\r\n\r\n`,
      );
      expect(JSON.parse((await client.answer()).body)).toMatchObject({ error: "blocked_by_network_policy" });
    }
  });
});

describe("deadlines", () => {
  it("close a connection that says nothing, and answer one that stops in its head", async () => {
    await using proxy = await TestProxy.start({
      trusted,
      options: { timeouts: { requestHeadMs: 100, lingerMs: 100 } },
    });
    await using silent = await proxy.dial();
    expect(await silent.rest()).toBe("");
    await using slow = await proxy.dial();
    slow.send("CONNECT api.te");
    expect((await slow.answer()).status).toBe(408);
  });

  it("answer 504 when the upstream does not", async () => {
    await using t = await rawSetup(() => undefined, { options: { timeouts: { responseHeadMs: 100 } } });
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    const { status, body } = await t.client.answer();
    expect({ status, error: JSON.parse(body).error }).toEqual({ status: 504, error: "upstream_timeout" });
  });

  it("cut a body that stands still", async () => {
    await using t = await rawSetup("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", {
      options: { timeouts: { bodyIdleMs: 100 } },
    });
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.rest()).toContain("abc");
    expect(t.proxy.journal).toMatchObject([{ errorCode: "idle_timeout" }]);
  });
});

describe("shutting down", () => {
  it("lets a running request end and closes idle tunnels at once", async () => {
    let stream: Socket | undefined;
    await using t = await rawSetup((socket) => {
      stream = socket;
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    });
    await using idle = await t.proxy.tunnel(t.host);
    t.client.send(`GET / HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    await t.client.until("ab");
    const closed = t.proxy.close(5_000);
    await idle.rest();
    stream?.write("cd");
    expect(await t.client.rest()).toBe("cd");
    await closed;
  });
});
