import { describe, expect, it } from "vitest";
import { attributed } from "../../src/domain/actors/scope.ts";
import type { Service } from "../../src/domain/services/service.ts";
import { Forbidden } from "../../src/errors.ts";
import type { Span } from "../../src/telemetry/span.ts";
import { sample } from "../../src/telemetry/span.ts";
import { connectHead, TestProxy } from "../support/proxy.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const bearer: Service = {
  name: "api",
  pattern: { host: "api.test" },
  auth: { type: "bearer", token: "API_KEY" },
  substitutions: [],
};
const vault = { trusted, services: [bearer], credentials: { API_KEY: "sk_live_secret" } } as const;

function spansInto(spans: Span[], ratio = 1) {
  return {
    sample: (header: string | undefined) => sample({ followsParent: true, ratio }, header),
    record: (span: Span) => void spans.push(span),
  };
}

describe("the journal of a proxy", () => {
  it("tells what it took to open a connection, and nothing of it for the requests that follow", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    await using proxy = await TestProxy.start(vault);
    const host = `api.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    for (const path of ["/cold", "/warm"]) {
      client.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      await client.answer();
    }
    const [cold, warm] = proxy.journal;
    const { dnsMs, connectMs, tlsMs, address } = cold?.details?.dial ?? {};
    expect(address).toBe("127.0.0.1");
    for (const ms of [dnsMs, connectMs, tlsMs]) expect(ms).toBeGreaterThan(0);
    expect(cold?.details?.isRetried).toBeUndefined();
    expect(warm).toMatchObject({ path: "/warm", status: 200 });
    expect(warm?.details).toBeUndefined();
    expect(warm?.protocol).toBeUndefined();
    expect(warm?.upstreamMs).not.toBeNull();
  });

  it("tells an old protocol, a second attempt, and a connection that was used again and died", async () => {
    let answered = 0;
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["api.test"],
      script: (socket, received) => {
        if (!received.endsWith("\r\n\r\n")) return;
        // The connection dies under its second request, whatever that is.
        if (received.split("\r\n\r\n").length > 2) socket.destroy();
        else socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", () => answered++);
      },
    });
    await using proxy = await TestProxy.start(vault);
    const host = `api.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    const send = async (method: string, path: string, minor = 1) => {
      const length = method === "POST" ? "Content-Length: 0\r\n" : "";
      client.send(`${method} ${path} HTTP/1.${minor}\r\nHost: ${host}\r\nConnection: keep-alive\r\n${length}\r\n`);
      return (await client.answer()).status;
    };
    expect(await send("GET", "/1")).toBe(200);
    expect(await send("GET", "/2")).toBe(200);
    expect(await send("POST", "/3")).toBe(502);
    expect(await send("GET", "/4", 0)).toBe(200);
    expect(
      proxy.journal.map(({ details, protocol, path }) => [path, details?.isRetried, details?.isUnanswered, protocol]),
    ).toEqual([
      ["/1", undefined, undefined, undefined],
      ["/2", true, undefined, undefined],
      ["/3", undefined, true, undefined],
      ["/4", undefined, undefined, "http/1.0"],
    ]);
    expect(answered).toBe(3);
  });

  it("tells how long a request waited for its place", async () => {
    await using upstream = await startRawUpstream({
      authority: trusted,
      names: ["api.test"],
      script: (socket, received) => {
        if (!received.endsWith("\r\n\r\n")) return;
        setTimeout(() => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 30);
      },
    });
    const limits = { isOff: false, rate: 100, burst: 100, concurrency: 1, waitMs: 5_000 };
    await using proxy = await TestProxy.start({ ...vault, limits });
    const host = `api.test:${upstream.port}`;
    const [one, other] = [await proxy.tunnel(host), await proxy.tunnel(host)];
    for (const client of [one, other]) client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await Promise.all([one.answer(), other.answer()]);
    const waits = proxy.journal.map(({ details }) => details?.queueMs ?? 0);
    expect(waits.filter((ms) => ms > 0)).toHaveLength(1);
    for (const client of [one, other]) client.socket.destroy();
  });

  it("has a row for a tunnel that has ended, with what went through it, and none for one that is open", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    await using proxy = await TestProxy.start(vault);
    const host = `api.test:${upstream.port}`;
    const client = await proxy.tunnel(host);
    client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    await client.answer();
    expect(proxy.tunnels).toEqual([]);
    client.socket.destroy();
    await expect.poll(() => proxy.tunnels.length).toBe(1);
    expect(proxy.tunnels[0]).toMatchObject({
      method: "CONNECT",
      status: 200,
      host,
      errorCode: "",
      sessionId: "session-1",
    });
    expect(proxy.tunnels[0]?.bytesIn).toBe(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`.length);
    expect(proxy.tunnels[0]?.bytesOut).toBeGreaterThan("HTTP/1.1 200 OK\r\n".length);
  });

  it("shows a handshake that failed once, as a failure and not as a tunnel", async () => {
    await using proxy = await TestProxy.start(vault);
    await using client = await proxy.dial();
    client.send(connectHead("api.test:443", "av_sess_test"));
    await client.head();
    client.send("this is no ClientHello\r\n\r\n");
    await expect.poll(() => proxy.journal.length).toBe(1);
    await client.rest();
    expect(proxy.journal).toMatchObject([
      { method: "CONNECT", host: "api.test:443", status: 0, errorCode: "tls_handshake_failed", vaultId: "vault-1" },
    ]);
    expect(proxy.tunnels).toEqual([]);
  });

  it("shows a tunnel above the limit under the id that the agent was told, once a minute", async () => {
    const connections = { max: 0, maxPerAddress: 0, maxPerToken: 1 };
    await using proxy = await TestProxy.start({ ...vault, options: { connections } });
    await using _open = await proxy.tunnel("api.test:443");
    await using client = await proxy.dial();
    const ids: (string | undefined)[] = [];
    for (let at = 0; at < 5; at++) {
      client.send(connectHead("api.test:443", "av_sess_test"));
      ids.push(/^x-request-id: (\S+)/im.exec((await client.answer()).head)?.[1]);
    }
    expect(proxy.journal).toMatchObject([
      { requestId: ids[0], method: "CONNECT", host: "api.test:443", status: 429, errorCode: "too_many_tunnels" },
    ]);
    expect(proxy.metrics.render()).toContain('refusals_total{code="too_many_tunnels"} 5\n');
  });

  it("shows a refused token to the vault it was for, on both ways in, and a token of nobody to nobody", async () => {
    await using proxy = await TestProxy.start(vault);
    const scope = { ...proxy.vault.scope, sessionId: "session-2", actorId: "agent-7" };
    const known = proxy.vault.resolve.bind(proxy.vault);
    proxy.vault.resolve = async (token, hint) => {
      if (token !== "stray") return known(token, hint);
      throw attributed(new Forbidden("forbidden", "Not yours"), scope);
    };
    await using client = await proxy.dial();
    const told: (string | undefined)[] = [];
    for (const head of [connectHead("api.test:443", "stray"), connectHead("api.test:443", "of-nobody")]) {
      client.send(head);
      told.push(/^x-request-id: (\S+)/im.exec((await client.answer()).head)?.[1]);
    }
    expect(proxy.journal).toMatchObject([
      { requestId: told[0], status: 403, errorCode: "forbidden", sessionId: "session-2", actorId: "agent-7" },
    ]);
    const authorization = `Proxy-Authorization: Basic ${btoa("stray:billing")}`;
    scope.sessionId = "session-3";
    client.send(`GET http://api.test/x HTTP/1.1\r\nHost: api.test\r\n${authorization}\r\n\r\n`);
    const { head } = await client.answer();
    expect(proxy.journal[1]).toMatchObject({
      requestId: /^x-request-id: (\S+)/im.exec(head)?.[1],
      method: "GET",
      host: "api.test:80",
      errorCode: "forbidden",
      sessionId: "session-3",
    });
  });
});

describe("the spans of a proxy", () => {
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;

  it("go on with the agent's trace, hold no secret and no query, and change nothing that is sent", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    const spans: Span[] = [];
    await using proxy = await TestProxy.start({ ...vault, options: { tracing: spansInto(spans) } });
    const host = `api.test:${upstream.port}`;
    await using client = await proxy.tunnel(host);
    const head = `Host: ${host}\r\nTraceparent: ${traceparent}\r\nX-Private: header-value\r\n`;
    for (const path of ["/v1/charges?card=4242", "/v1/again"]) {
      client.send(`GET ${path} HTTP/1.1\r\n${head}\r\n`);
      await client.answer();
    }
    const [server, upstreamSpan, , warm] = spans;
    expect(server).toMatchObject({ traceId, parentSpanId: "00f067aa0ba902b7", kind: "server", name: "GET api" });
    expect(server?.attributes).toMatchObject({
      "http.request.method": "GET",
      "url.path": "/v1/charges",
      "server.address": "api.test",
      "http.response.status_code": 200,
      "agent_vault.request_id": proxy.journal[0]?.requestId,
      "agent_vault.vault": "billing",
      "agent_vault.service": "api",
    });
    expect(upstreamSpan).toMatchObject({ traceId, parentSpanId: server?.spanId, kind: "client", isError: false });
    expect(upstreamSpan?.attributes).toMatchObject({
      "url.full": `https://${host}/v1/charges`,
      "network.peer.address": "127.0.0.1",
      "agent_vault.upstream.reused": false,
    });
    expect(warm?.attributes["agent_vault.upstream.reused"]).toBe(true);
    expect(upstreamSpan?.startMs).toBeGreaterThanOrEqual((server?.startMs ?? 0) - 1);
    expect(upstreamSpan?.endMs).toBe(server?.endMs);
    const told = JSON.stringify(spans);
    for (const secret of ["sk_live_secret", "4242", "header-value", "av_sess_test"]) expect(told).not.toContain(secret);
    expect(upstream.requests[0]?.values("traceparent")).toEqual([traceparent]);
    expect(upstream.requests[0]?.values("authorization")).toEqual(["Bearer sk_live_secret"]);
  });

  it("of a refusal have no span of an upstream; an invalid or doubled traceparent is none", async () => {
    const spans: Span[] = [];
    await using proxy = await TestProxy.start({ ...vault, policy: "deny", options: { tracing: spansInto(spans) } });
    await using client = await proxy.tunnel("other.test:443");
    const twice = `traceparent: ${traceparent}\r\n`.repeat(2);
    for (const extra of ["", "traceparent: 00-nonsense-01\r\n", twice]) {
      client.send(`BREW /coffee HTTP/1.1\r\nHost: other.test\r\n${extra}\r\n`);
      await client.answer();
    }
    expect(spans).toHaveLength(3);
    for (const span of spans) {
      expect(span).toMatchObject({ kind: "server", name: "HTTP", parentSpanId: "", isError: false });
      expect(span.traceId).not.toBe(traceId);
      expect(span.attributes).toMatchObject({ "http.request.method": "_OTHER", "error.type": "no_match" });
    }
  });

  it("are not made for a trace that is not recorded", async () => {
    const spans: Span[] = [];
    await using proxy = await TestProxy.start({ ...vault, policy: "deny", options: { tracing: spansInto(spans, 0) } });
    await using client = await proxy.tunnel("other.test:443");
    client.send(`GET / HTTP/1.1\r\nHost: other.test\r\ntraceparent: ${traceparent.replace(/1$/, "0")}\r\n\r\n`);
    await client.answer();
    expect(spans).toEqual([]);
  });
});
