import type { Socket } from "node:net";
import { createSecureContext } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { UpstreamFailed } from "../../src/errors.ts";
import { Egress, EgressProxy } from "../../src/net/egress-proxy.ts";
import { NoProxy } from "../../src/net/no-proxy.ts";
import { Outbound, type OutboundOptions } from "../../src/net/outbound.ts";
import { NetworkPolicy, type NetworkPolicyOptions } from "../../src/net/policy.ts";
import { TestEgressProxy } from "../support/egress-proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { type RawUpstream, startRawUpstream } from "../support/upstream.ts";

/** A public address that names resolve to; the test's proxies reach this machine instead. */
const publicAddress = "93.184.216.34";
const addresses: Readonly<Record<string, readonly string[]>> = {
  "inside.test": ["10.0.0.7"],
  "metadata.test": ["169.254.169.254"],
  "mixed.test": [publicAddress, "10.0.0.7"],
  "proxy.test": ["127.0.0.1"],
};

let authority: TestAuthority;
let upstream: RawUpstream;

beforeAll(async () => {
  authority = await TestAuthority.create();
  upstream = await startRawUpstream({
    authority,
    names: ["api.test", "inside.test"],
    script: (socket, received) => void socket.write(`echo ${received}`),
  });
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
});

interface Setup {
  readonly url: string;
  readonly except?: string;
  readonly resolvesNames?: boolean;
  readonly network?: Partial<NetworkPolicyOptions>;
  readonly options?: Partial<OutboundOptions>;
}

function outboundThrough({ url, except = "", resolvesNames = false, network = {}, options = {} }: Setup): Outbound {
  const proxy = EgressProxy.parse(url);
  const noProxy = NoProxy.parse(except);
  if (!proxy || typeof noProxy === "string") throw new Error("the test's own proxy cannot be read");
  return new Outbound({
    policy: new NetworkPolicy({ allowPrivateRanges: false, allowlist: [], ...network }),
    trust: createSecureContext({ ca: [authority.pem] }),
    egress: new Egress({ https: proxy, http: proxy, except: noProxy, resolvesNames }),
    resolve: async (host) => addresses[host] ?? [publicAddress],
    ...options,
  });
}

async function echo(socket: Socket): Promise<string> {
  const arrived = new Promise<string>((resolve) => socket.once("data", (chunk) => resolve(chunk.toString())));
  socket.write("hello");
  const text = await arrived;
  socket.destroy();
  return text;
}

async function failureOf(opening: Promise<Socket>): Promise<UpstreamFailed> {
  const outcome = await opening.then(
    (socket) => {
      socket.destroy();
      return new Error("it was opened");
    },
    (error: unknown) => error,
  );
  return outcome as UpstreamFailed;
}

const noSession = () => ({ session: undefined });

describe("an upstream behind an egress proxy", () => {
  it.each([
    { kind: "http", url: "http://127.0.0.1", asks: "api.test" },
    { kind: "https", url: "https://127.0.0.1", asks: "api.test" },
    { kind: "https", url: "https://proxy.test", asks: "api.test" },
    { kind: "socks5", url: "socks5://127.0.0.1", asks: publicAddress },
    { kind: "socks5", url: "socks5h://127.0.0.1", asks: "api.test" },
    { kind: "http", url: "http://us%40er:p%C3%A4ss@127.0.0.1", login: "us@er:päss", asks: "api.test" },
    { kind: "https", url: "https://user:pass@127.0.0.1", login: "user:pass", asks: "api.test" },
    { kind: "socks5", url: "socks5://user:pass@127.0.0.1", login: "user:pass", asks: publicAddress },
    { kind: "socks5", url: "socks5://user:pass@127.0.0.1", asks: publicAddress },
  ] as const)("is reached by $url, which is asked for $asks", async ({ kind, url, asks, ...rest }) => {
    await using proxy = await TestEgressProxy.start({ kind, authority, ...rest });
    const outbound = outboundThrough({ url: `${url}:${proxy.port}` });
    const socket = await outbound.connectTls({ host: "api.test", port: upstream.port }, noSession());
    expect(await echo(socket)).toBe("echo hello");
    expect(proxy.asked).toEqual([`${asks}:${upstream.port}`]);
  });

  it("has its certificate verified through the tunnel: the proxy cannot stand in for it", async () => {
    const impostor = await TestAuthority.create("Impostor");
    await using fake = await startRawUpstream({ authority: impostor, names: ["api.test"], script: () => undefined });
    await using proxy = await TestEgressProxy.start({ kind: "http" });
    const outbound = outboundThrough({ url: `http://127.0.0.1:${proxy.port}` });
    const wrongRoot = await failureOf(outbound.connectTls({ host: "api.test", port: fake.port }, noSession()));
    const wrongName = await failureOf(outbound.connectTls({ host: "other.test", port: upstream.port }, noSession()));
    expect([wrongRoot.code, wrongName.code]).toEqual(["tls_verification_failed", "tls_verification_failed"]);
    expect(fake.received.join("")).toBe("");
  });

  it("is reached directly where the operator says so, and on this machine", async () => {
    await using proxy = await TestEgressProxy.start({ kind: "http" });
    const outbound = outboundThrough({
      url: `http://127.0.0.1:${proxy.port}`,
      except: "api.test",
      network: { allowPrivateRanges: true },
      options: { resolve: async () => ["127.0.0.1"] },
    });
    const byName = await outbound.connectTls({ host: "api.test", port: upstream.port }, noSession());
    expect(await echo(byName)).toBe("echo hello");
    (await outbound.connect({ host: "127.0.0.1", port: upstream.port })).destroy();
    expect(proxy.received).toEqual([]);
  });

  it.each([
    { host: "inside.test", because: "its address is private" },
    { host: "metadata.test", because: "its address is that of a metadata service" },
    { host: "mixed.test", because: "one of its addresses is private" },
    { host: "10.0.0.7", because: "it is a private address" },
    { host: "::ffff:a00:7", because: "it is a private address" },
    { host: "169.254.169.254", because: "it is a metadata service" },
  ])("is refused before the proxy is asked, when it is $host: $because", async ({ host }) => {
    for (const kind of ["http", "socks5"] as const) {
      await using proxy = await TestEgressProxy.start({ kind });
      const outbound = outboundThrough({ url: `${kind}://127.0.0.1:${proxy.port}` });
      const failure = await failureOf(outbound.connectTls({ host, port: 443 }, noSession()));
      expect(failure.code).toBe("blocked_by_network_policy");
      expect(proxy.received).toEqual([]);
    }
  });

  it("is not looked up where the proxy resolves; addresses, ports and names of this machine still count", async () => {
    await using proxy = await TestEgressProxy.start({ kind: "http" });
    const outbound = outboundThrough({
      url: `http://127.0.0.1:${proxy.port}`,
      resolvesNames: true,
      network: { ports: { allowed: undefined, denied: [{ from: 25, to: 25 }] } },
      options: { resolve: async (host) => Promise.reject(new Error(`${host} was looked up`)) },
    });
    const socket = await outbound.connectTls({ host: "api.test", port: upstream.port }, noSession());
    expect(await echo(socket)).toBe("echo hello");
    for (const [host, port] of [
      ["10.0.0.7", 443],
      ["metadata.google.internal", 80],
      ["api.test", 25],
    ] as const) {
      expect((await failureOf(outbound.connect({ host, port }))).code).toBe("blocked_by_network_policy");
    }
    expect(proxy.asked).toEqual([`api.test:${upstream.port}`]);
  });

  it("fails with a word about who resolves, where its name is not known here", async () => {
    await using proxy = await TestEgressProxy.start({ kind: "http" });
    const outbound = outboundThrough({
      url: `http://127.0.0.1:${proxy.port}`,
      options: { resolve: async () => [] },
    });
    const failure = await failureOf(outbound.connect({ host: "api.test", port: 443 }));
    expect(failure.code).toBe("dns_failed");
    expect(failure.hint).toContain("AGENT_VAULT_UPSTREAM_PROXY_RESOLVES");
  });

  it("is not reached through ourselves, whatever the name of the proxy", async () => {
    await using proxy = await TestEgressProxy.start({ kind: "http" });
    for (const host of ["127.0.0.1", "proxy.test", "[::ffff:127.0.0.1]", "0.0.0.0"]) {
      const outbound = outboundThrough({ url: `http://${host}:${proxy.port}` });
      outbound.policy.protect({ host: "127.0.0.1", port: proxy.port });
      const failure = await failureOf(outbound.connect({ host: "api.test", port: 443 }));
      expect(failure.code).toBe("egress_proxy_failed");
      expect(String(failure.cause)).toContain("this server itself");
    }
    expect(proxy.received).toEqual([]);
  });
});

describe("an egress proxy that does not do its part", () => {
  const bytes =
    (...answer: number[]) =>
    (socket: Socket) =>
      void socket.write(Uint8Array.from(answer));
  const text = (answer: string) => (socket: Socket) => void socket.write(answer);

  it.each([
    { kind: "http", script: text("HTTP/1.1 403 Forbidden\r\n\r\n"), says: "it answered 403", status: 502 },
    { kind: "http", script: text("HTTP/1.1 504 Gateway Timeout\r\n\r\n"), says: "it answered 504", status: 504 },
    { kind: "http", script: text("HTTP/1.1 407 Who are you\r\n\r\n"), says: "other credentials", status: 502 },
    { kind: "http", script: text("SSH-2.0-OpenSSH\r\n\r\n"), says: "does not answer in HTTP", status: 502 },
    { kind: "http", script: text("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK"), says: "more than its answer", status: 502 },
    { kind: "http", script: text("x".repeat(20_000)), says: "too long", status: 502 },
    { kind: "http", script: (socket: Socket) => void socket.end(), says: "closed the connection", status: 502 },
    { kind: "http", script: () => undefined, says: "closed the connection", status: 502 },
    { kind: "socks5", script: bytes(5, 255), says: "login that was not given", status: 502 },
    { kind: "socks5", script: bytes(5, 2), says: "login that was not given", status: 502 },
    { kind: "socks5", script: bytes(4, 0), says: "does not answer in SOCKS5", status: 502 },
    { kind: "socks5", script: bytes(5, 0, 5, 2, 0, 1), says: "not allowed by its rules", status: 502 },
    { kind: "socks5", script: bytes(5, 0, 5, 99, 0, 1), says: "reply 99", status: 502 },
    { kind: "socks5", script: bytes(5, 0, 5, 0, 0, 9), says: "does not answer in SOCKS5", status: 502 },
    { kind: "socks5", script: bytes(5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7), says: "more than its answer", status: 502 },
  ] as const)("($kind) is told apart: $says", async ({ kind, script, says, status }) => {
    await using proxy = await TestEgressProxy.start({ kind, script });
    const outbound = outboundThrough({
      url: `${kind}://127.0.0.1:${proxy.port}`,
      options: { connectTimeoutMs: 500 },
    });
    const failure = await failureOf(outbound.connectTls({ host: "api.test", port: 443 }, noSession()));
    expect(failure).toMatchObject({ code: "egress_proxy_failed", status });
    expect(failure.message).toContain(says);
    // Agents learn nothing about where it is, and nothing stays open.
    expect(`${failure.message} ${failure.hint}`).not.toContain(String(proxy.port));
    await expect.poll(() => proxy.openSockets).toBe(0);
  });

  it("is told apart from an upstream that refuses, where the protocol has a word for it", async () => {
    await using proxy = await TestEgressProxy.start({ kind: "socks5", script: bytes(5, 0, 5, 5, 0, 1) });
    const outbound = outboundThrough({ url: `socks5://127.0.0.1:${proxy.port}` });
    expect((await failureOf(outbound.connect({ host: "api.test", port: 443 }))).code).toBe("connect_refused");
  });

  it("is not used when its own certificate does not hold", async () => {
    const impostor = await TestAuthority.create("Impostor");
    await using proxy = await TestEgressProxy.start({ kind: "https", authority: impostor });
    const outbound = outboundThrough({ url: `https://user:secret@127.0.0.1:${proxy.port}` });
    expect((await failureOf(outbound.connect({ host: "api.test", port: 443 }))).code).toBe("egress_proxy_failed");
    expect(proxy.received).toEqual([]);
  });

  it("never has its password in what anyone is told", async () => {
    for (const kind of ["http", "socks5"] as const) {
      await using proxy = await TestEgressProxy.start({ kind, login: "other:login" });
      const outbound = outboundThrough({ url: `${kind}://user:s3cret@127.0.0.1:${proxy.port}` });
      const failure = await failureOf(outbound.connect({ host: "api.test", port: 443 }));
      expect(failure.code).toBe("egress_proxy_failed");
      const encoded = Buffer.from("user:s3cret").toString("base64");
      expect(proxy.received.join("")).toMatch(kind === "http" ? encoded : "s3cret");
      const told = [failure.message, failure.hint, String(failure.cause), failure.stack].join();
      expect(told).not.toContain("s3cret");
      expect(told).not.toContain(encoded);
    }
  });
});
