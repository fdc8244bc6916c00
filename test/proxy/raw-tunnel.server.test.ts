import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import type { Service } from "../../src/domain/services/service.ts";
import { connectHead, type ProxySetup, type RawClient, TestProxy, testToken } from "../support/proxy.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";

const trusted = await TestAuthority.create();
const raw: Service = {
  name: "pinned",
  pattern: { host: "pinned.test" },
  auth: { type: "passthrough" },
  substitutions: [],
  raw: true,
};
const bearer: Service = {
  name: "api",
  pattern: { host: "*.test" },
  auth: { type: "bearer", token: "API_KEY" },
  substitutions: [],
};
const setup: ProxySetup = { trusted, services: [bearer, raw], credentials: { API_KEY: "sk_real" } };

const open: Socket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});

async function connectThrough(proxy: TestProxy, authority: string): Promise<RawClient> {
  const client = await proxy.dial();
  open.push(client.socket);
  client.send(connectHead(authority, testToken));
  const answer = await client.head();
  if (!answer.startsWith("HTTP/1.1 200 ")) throw new Error(answer);
  return client;
}

describe("a raw tunnel", () => {
  it("shows the agent the certificate of the upstream itself, and carries no credential", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["pinned.test"] });
    await using proxy = await TestProxy.start(setup);
    const authority = `pinned.test:${upstream.port}`;
    const client = await connectThrough(proxy, authority);
    const inside = await client.secure("pinned.test", trusted.pem);
    inside.send(`GET /secret?a=1 HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`);
    expect(await inside.rest()).toContain("hello");
    expect(upstream.requests[0]?.values("authorization")).toEqual([]);
    await expect.poll(() => proxy.journal).toHaveLength(1);
    expect(proxy.journal[0]).toMatchObject({
      method: "CONNECT",
      scheme: "raw",
      host: authority,
      path: "",
      matchedService: "pinned",
      credentialKeys: [],
      status: 200,
      errorCode: "",
    });
    expect(proxy.journal[0]?.bytesIn).toBeGreaterThan(200);
    expect(proxy.journal[0]?.bytesOut).toBeGreaterThan(200);
  });

  it("is not for another host, nor for one that another service covers better", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["other.test", "pinned.test"] });
    const own: Service = { ...bearer, name: "own", pattern: { host: "pinned.test", path: "/v1/*" } };
    for (const [services, host] of [
      [[bearer, raw], "other.test"],
      [[own, raw], "pinned.test"],
      [[{ ...raw, enabled: false }], "pinned.test"],
      [
        [
          { ...raw, pattern: { host: "*.test" } },
          { ...bearer, pattern: { host: "pinned.test" } },
        ],
        "pinned.test",
      ],
    ] as const) {
      await using proxy = await TestProxy.start({ ...setup, services });
      const client = await connectThrough(proxy, `${host}:${upstream.port}`);
      await using _ = await client.secure(host, proxy.rootPem);
    }
  });

  it.each([
    { servername: "evil.test", code: "sni_mismatch" },
    { servername: "", code: "sni_mismatch" },
  ])(
    "ends where the ClientHello names '$servername', before the upstream hears of it",
    async ({ servername, code }) => {
      let heard = 0;
      const upstream = createServer((socket) =>
        socket.on("data", ({ length }) => {
          heard += length;
        }),
      ).listen(0, "127.0.0.1");
      await once(upstream, "listening");
      const { port } = upstream.address() as { port: number };
      await using proxy = await TestProxy.start(setup);
      const client = await connectThrough(proxy, `pinned.test:${port}`);
      client.socket.removeAllListeners("data");
      const inside = connectTls({ socket: client.socket, servername, rejectUnauthorized: false });
      inside.on("error", () => undefined);
      await expect.poll(() => proxy.journal).toMatchObject([{ method: "CONNECT", scheme: "raw", errorCode: code }]);
      expect(heard).toBe(0);
      upstream.close();
    },
  );

  it.each(["GET / HTTP/1.1\r\nHost: pinned.test\r\n\r\n", "SSH-2.0-agent\r\n"])(
    "is for TLS only: %j does not reach the upstream",
    async (text) => {
      let heard = 0;
      const upstream = createServer((socket) =>
        socket.on("data", ({ length }) => {
          heard += length;
        }),
      );
      upstream.listen(0, "127.0.0.1");
      await once(upstream, "listening");
      await using proxy = await TestProxy.start(setup);
      const client = await connectThrough(proxy, `pinned.test:${(upstream.address() as { port: number }).port}`);
      client.send(text);
      expect(await client.rest()).toBe("");
      expect(heard).toBe(0);
      expect(proxy.journal).toMatchObject([{ errorCode: "raw_not_tls" }]);
      upstream.close();
    },
  );

  it("passes nothing on from an upstream that speaks before the name was read", async () => {
    const upstream = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.write("220 what the agent came for\r\n");
    });
    await once(upstream.listen(0, "127.0.0.1"), "listening");
    await using proxy = await TestProxy.start(setup);
    const client = await connectThrough(proxy, `pinned.test:${(upstream.address() as { port: number }).port}`);
    expect(await client.rest()).toBe("");
    expect(proxy.journal).toMatchObject([{ errorCode: "raw_not_tls", bytesOut: 0 }]);
    upstream.close();
  });

  it("obeys the address policy and the ports, and says so before the tunnel is there", async () => {
    await using proxy = await TestProxy.start({ ...setup, network: { allowPrivateRanges: false, allowlist: [] } });
    await using client = await proxy.dial();
    client.send(connectHead("pinned.test:443", testToken));
    const { status, body } = await client.answer();
    expect(status).toBe(502);
    expect(JSON.parse(body)).toMatchObject({ error: "blocked_by_network_policy" });
    expect(proxy.journal).toMatchObject([
      { scheme: "raw", matchedService: "pinned", status: 502, errorCode: "blocked_by_network_policy" },
    ]);
  });

  it("counts as a stream of its token until it ends", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["pinned.test"] });
    const limits = { isOff: false, rate: 100, burst: 100, concurrency: 1, waitMs: 0 };
    await using proxy = await TestProxy.start({ ...setup, limits });
    const authority = `pinned.test:${upstream.port}`;
    const first = await connectThrough(proxy, authority);
    await first.secure("pinned.test", trusted.pem);
    const refused = await connectThrough(proxy, authority).catch((error: unknown) => String(error));
    expect(refused).toContain(" 429 ");
    expect(proxy.journal).toMatchObject([{ status: 429, errorCode: "concurrency_scope" }]);
    expect(refused).toContain(proxy.journal[0]?.requestId);
    first.socket.destroy();
    await expect.poll(() => connectThrough(proxy, authority).then(() => "open", String)).toBe("open");
  });

  it.each([
    {
      what: "its token is revoked",
      change: (proxy: TestProxy) => {
        proxy.vault.isRevoked = true;
      },
      code: "revoked",
    },
    {
      what: "its service is gone",
      change: (proxy: TestProxy) => {
        proxy.vault.services = [];
      },
      code: "service_removed",
    },
    {
      what: "its service is switched off",
      change: (proxy: TestProxy) => {
        proxy.vault.services = [{ ...raw, enabled: false }];
      },
      code: "service_removed",
    },
  ])("ends when $what", async ({ change, code }) => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["pinned.test"] });
    await using proxy = await TestProxy.start(setup);
    const client = await connectThrough(proxy, `pinned.test:${upstream.port}`);
    const inside = await client.secure("pinned.test", trusted.pem);
    change(proxy);
    proxy.vault.announce();
    await inside.rest();
    expect(proxy.journal).toMatchObject([{ scheme: "raw", errorCode: code }]);
  });

  it("ends when nothing moves, when no hello comes, and when the server stops", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["pinned.test"] });
    const timeouts = { rawIdleMs: 150, clientTlsMs: 150 };
    await using proxy = await TestProxy.start({ ...setup, options: { timeouts } });
    const idle = await connectThrough(proxy, `pinned.test:${upstream.port}`);
    const inside = await idle.secure("pinned.test", trusted.pem);
    await inside.rest();
    const silent = await connectThrough(proxy, `pinned.test:${upstream.port}`);
    await silent.rest();
    expect(proxy.journal.map(({ errorCode }) => errorCode)).toEqual(["idle_timeout", "tls_handshake_timeout"]);

    const stopping = await TestProxy.start(setup);
    const left = await connectThrough(stopping, `pinned.test:${upstream.port}`);
    await left.secure("pinned.test", trusted.pem);
    await stopping.close(50);
    expect(stopping.journal).toMatchObject([{ scheme: "raw", errorCode: "server_stopped" }]);
  });
});
