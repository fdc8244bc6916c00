import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createSecureContext, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { UpstreamFailed } from "../../src/errors.ts";
import { cidr } from "../../src/net/address.ts";
import { DnsCache } from "../../src/net/dns-cache.ts";
import { OpenSockets } from "../../src/net/open-sockets.ts";
import { Outbound, type OutboundOptions, timingsOf } from "../../src/net/outbound.ts";
import { NetworkPolicy, type NetworkPolicyOptions } from "../../src/net/policy.ts";
import { UpstreamTrust } from "../../src/net/trust.ts";
import type { VaultNetwork } from "../../src/net/vault-network.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { type RawUpstream, startRawUpstream } from "../support/upstream.ts";

const noFiles = { extraFiles: [], replacementFile: undefined, replacementDirectories: [] };

let authority: TestAuthority;
let upstream: RawUpstream;

beforeAll(async () => {
  authority = await TestAuthority.create();
  upstream = await startRawUpstream({
    authority,
    names: ["api.test"],
    script: (socket, received) => void socket.write(`echo ${received}`),
  });
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
});

interface Setup {
  readonly vaults?: Record<string, VaultNetwork>;
  readonly network?: Partial<NetworkPolicyOptions>;
  readonly options?: Partial<OutboundOptions>;
}

/** Nobody vouches for the upstream but a vault that names its authority. */
function outboundFor({ vaults = {}, network = {}, options = {} }: Setup): Outbound {
  const trust = new UpstreamTrust(noFiles);
  return new Outbound({
    policy: new NetworkPolicy({ allowPrivateRanges: true, allowlist: [], ...network }),
    trust: trust.context,
    contextFor: (identity) => trust.contextFor(identity),
    networkOf: (vaultId) => vaults[vaultId],
    resolve: async () => ["127.0.0.1"],
    ...options,
  });
}

const trusting = (): VaultNetwork => ({ networks: undefined, roots: authority.pem });
const noSession = () => ({ session: undefined as Buffer | undefined });
const target = (vaultId: string) => ({ host: "api.test", port: upstream.port, vaultId });

async function codeOf(opening: Promise<Socket>): Promise<string> {
  return await opening.then(
    (socket) => {
      socket.destroy();
      return "opened";
    },
    (error: UpstreamFailed) => error.code,
  );
}

/** One exchange, after which tickets have arrived. */
async function echo(socket: TLSSocket): Promise<void> {
  const arrived = once(socket, "data");
  socket.write("hello");
  await arrived;
}

describe("the roots of a vault", () => {
  it("vouch for its upstreams and for nobody else's", async () => {
    const outbound = outboundFor({ vaults: { a: trusting(), b: { networks: undefined, roots: undefined } } });
    expect(await codeOf(outbound.connectTls(target("a"), noSession()))).toBe("opened");
    expect(await codeOf(outbound.connectTls(target("b"), noSession()))).toBe("tls_verification_failed");
    expect(await codeOf(outbound.connectTls(target("unknown"), noSession()))).toBe("tls_verification_failed");
    expect(await codeOf(outbound.connectTls({ host: "api.test", port: upstream.port }, noSession()))).toBe(
      "tls_verification_failed",
    );
  });

  it("do not vouch for another name", async () => {
    const outbound = outboundFor({ vaults: { a: trusting() } });
    const opening = outbound.connectTls({ ...target("a"), host: "other.test" }, noSession());
    expect(await codeOf(opening)).toBe("tls_verification_failed");
  });
});

describe("a TLS session", () => {
  it("is resumed by the same vault", async () => {
    const outbound = outboundFor({ vaults: { a: trusting() } });
    const sessions = noSession();
    const first = await outbound.connectTls(target("a"), sessions);
    await echo(first);
    expect(first.isSessionReused()).toBe(false);
    const second = await outbound.connectTls(target("a"), sessions);
    await echo(second);
    expect(second.isSessionReused()).toBe(true);
    expect(second.authorized).toBe(true);
    for (const socket of [first, second]) socket.destroy();
  });

  it("is never resumed by another vault, nor by the instance itself", async () => {
    const outbound = outboundFor({
      vaults: { a: trusting(), b: trusting() },
      options: { trust: createSecureContext({ ca: [authority.pem] }) },
    });
    const sessions = noSession();
    const first = await outbound.connectTls(target("a"), sessions);
    await echo(first);
    const stolen = sessions.session;
    expect(stolen).toBeDefined();
    for (const other of [target("b"), target("unknown"), { host: "api.test", port: upstream.port }]) {
      const socket = await outbound.connectTls(other, { session: stolen });
      expect(socket.isSessionReused()).toBe(false);
      socket.destroy();
    }
    first.destroy();
  });

  it("lends a vault no trust that it does not have itself, even in the wrong hands", async () => {
    const outbound = outboundFor({ vaults: { a: trusting(), b: { networks: undefined, roots: undefined } } });
    const sessions = noSession();
    const first = await outbound.connectTls(target("a"), sessions);
    await echo(first);
    expect(sessions.session).toBeDefined();
    expect(await codeOf(outbound.connectTls(target("b"), sessions))).toBe("tls_verification_failed");
    first.destroy();
  });

  it("ends with the trust that it was made under", async () => {
    const vaults = { a: trusting() };
    const outbound = outboundFor({ vaults });
    const sessions = noSession();
    const first = await outbound.connectTls(target("a"), sessions);
    await echo(first);
    vaults.a = { networks: undefined, roots: undefined };
    expect(await codeOf(outbound.connectTls(target("a"), sessions))).toBe("tls_verification_failed");
    // The connection that is still open hands out another ticket: it must not be taken for a new one.
    await echo(first);
    expect(await codeOf(outbound.connectTls(target("a"), sessions))).toBe("tls_verification_failed");
    first.destroy();
  });

  it("that somebody else made up is not offered", async () => {
    const outbound = outboundFor({ vaults: { a: trusting() } });
    const socket = await outbound.connectTls(target("a"), { session: Buffer.from("not one of ours") });
    expect(socket.isSessionReused()).toBe(false);
    socket.destroy();
  });
});

describe("a client certificate", () => {
  it("is shown by the vault that has one, for the origin that it is for, as long as it has it", async () => {
    const clients = await TestAuthority.create("Clients");
    const client = await clients.issue(["agent-vault"], { isClient: true });
    const server = createTlsServer(
      { ...(await authority.issue(["api.test"])), ca: [clients.pem], requestCert: true, rejectUnauthorized: true },
      (socket) => void socket.on("error", () => socket.destroy()).end("welcome"),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const shown = { certificate: client.cert, key: client.key };
    const vaults: Record<string, VaultNetwork> = {
      a: { ...trusting(), clientFor: (to) => (to.host === "api.test" ? shown : undefined) },
      b: trusting(),
    };
    const outbound = outboundFor({ vaults });
    const socket = await outbound.connectTls({ host: "api.test", port, vaultId: "a" }, noSession());
    expect(String((await once(socket, "data"))[0])).toBe("welcome");
    // TLS 1.3 lets a client believe that it is in before the server has looked at what it shows.
    const stranger = await outbound.connectTls({ host: "api.test", port, vaultId: "b" }, noSession());
    await expect(once(stranger, "data")).rejects.toThrow(/certificate.required/i);
    const kept = await outbound.connectTls({ host: "api.test", port, vaultId: "a" }, noSession());
    vaults.a = trusting();
    await outbound.recheck("a");
    expect(kept.destroyed).toBe(true);
    socket.destroy();
    server.close();
  });
});

describe("the networks of a vault", () => {
  it("decide for that vault alone, also while the name is in the cache", async () => {
    const outbound = outboundFor({
      vaults: {
        a: { networks: [cidr("127.0.0.0/8")], roots: authority.pem },
        b: { networks: [], roots: authority.pem },
      },
      network: { allowPrivateRanges: false, vaultAllowlist: ["127.0.0.0/8"] },
    });
    expect(await codeOf(outbound.connectTls(target("a"), noSession()))).toBe("opened");
    expect(await codeOf(outbound.connectTls(target("b"), noSession()))).toBe("blocked_by_network_policy");
    expect(await codeOf(outbound.connect(target("unknown")))).toBe("blocked_by_network_policy");
  });

  it("are asked for once a dial, and a failure to read them opens nothing", async () => {
    const outbound = outboundFor({
      options: { networkOf: () => Promise.reject(Object.assign(new Error("database"), { code: "unavailable" })) },
    });
    expect(await codeOf(outbound.connect(target("a")))).toBe("unavailable");
    expect(upstream.received.length).toBe(upstream.connections);
  });
});

describe("open connections", () => {
  it("are forgotten when they are over, however they end", async () => {
    const sockets = new OpenSockets<string>();
    const outbound = outboundFor({ vaults: { a: trusting() } });
    const opened = await Promise.all([
      outbound.connect(target("a")),
      outbound.connectTls(target("a"), noSession()),
      outbound.connectTls(target("a"), noSession()),
    ]);
    for (const socket of opened) sockets.add(socket, { vaultId: "a", facts: "" });
    opened[0].destroy();
    opened[1].end();
    expect(sockets.has("a")).toBe(true);
    sockets.closeUnless("a", () => false);
    await expect.poll(() => sockets.has("a")).toBe(false);
    expect(sockets.vaultIds).toEqual([]);
  });

  it("are cut when the vault may not reach the address any more, and left alone otherwise", async () => {
    const vaults: Record<string, VaultNetwork> = { a: trusting(), b: trusting() };
    const outbound = outboundFor({ vaults });
    const [one, other] = await Promise.all([
      outbound.connectTls(target("a"), noSession()),
      outbound.connectTls(target("b"), noSession()),
    ]);
    const plain = await outbound.connect(target("a"));
    await outbound.recheckAll();
    expect([one.destroyed, other.destroyed, plain.destroyed]).toEqual([false, false, false]);
    vaults.a = { networks: [], roots: authority.pem };
    await outbound.recheck("a");
    expect([one.destroyed, other.destroyed, plain.destroyed]).toEqual([true, false, true]);
    other.destroy();
  });

  it("are not handed out when the vault lost the right to them while they were dialled", async () => {
    const vaults: Record<string, VaultNetwork> = { a: trusting() };
    const resolved = Promise.withResolvers<readonly string[]>();
    const outbound = outboundFor({ vaults, options: { resolve: () => resolved.promise } });
    const dialling = [outbound.connect(target("a")), outbound.connectTls(target("a"), noSession())].map(codeOf);
    vaults.a = { networks: [], roots: authority.pem };
    await outbound.recheck("a");
    resolved.resolve(["127.0.0.1"]);
    expect(await Promise.all(dialling)).toEqual(["blocked_by_network_policy", "blocked_by_network_policy"]);
  });

  it("are cut when the root that vouched for them is gone", async () => {
    const vaults: Record<string, VaultNetwork> = { a: trusting() };
    const outbound = outboundFor({ vaults });
    const socket = await outbound.connectTls(target("a"), noSession());
    const plain = await outbound.connect(target("a"));
    vaults.a = { networks: undefined, roots: undefined };
    await outbound.recheck("a");
    expect([socket.destroyed, plain.destroyed]).toEqual([true, false]);
    plain.destroy();
  });

  it("keep only what needs no permission when the settings of the vault cannot be read", async () => {
    let isBroken = false;
    const outbound = outboundFor({
      options: { networkOf: () => (isBroken ? Promise.reject(new Error("database")) : undefined) },
    });
    const socket = await outbound.connect(target("a"));
    isBroken = true;
    await outbound.recheck("a");
    expect(socket.destroyed).toBe(true);
  });
});

describe("a dial", () => {
  it.each([
    { what: "a name without address", code: "dns_failed", resolve: async () => [] },
    { what: "a resolver that fails", code: "dns_failed", resolve: () => Promise.reject(new Error("SERVFAIL")) },
    { what: "a resolver that is silent", code: "dns_failed", resolve: () => new Promise<never>(() => undefined) },
    { what: "an answer that is no address", code: "blocked_by_network_policy", resolve: async () => ["127.1"] },
    {
      what: "one bad address among good ones",
      code: "blocked_by_network_policy",
      resolve: async () => ["127.0.0.1", "169.254.169.254"],
    },
  ])("of $what fails as $code", async ({ code, resolve }) => {
    const outbound = outboundFor({ options: { resolve, dnsTimeoutMs: 50 } });
    expect(await codeOf(outbound.connect(target("a")))).toBe(code);
  });

  it("of a shut port fails before the name is looked up", async () => {
    const outbound = outboundFor({
      network: { ports: { allowed: undefined, denied: [{ from: 25, to: 25 }] } },
      options: { resolve: async () => Promise.reject(new Error("it was looked up")) },
    });
    expect(await codeOf(outbound.connect({ host: "mail.test", port: 25 }))).toBe("blocked_by_network_policy");
  });

  it("tells a port where nobody listens, a handshake that ends and one that stalls apart", async () => {
    const outbound = outboundFor({ options: { tlsTimeoutMs: 100 } });
    const closing = createServer(
      (socket) =>
        void socket
          .on("error", () => undefined)
          .resume()
          .end(),
    );
    const stalling = createServer((socket) => void socket.on("error", () => undefined).resume());
    const ports = await Promise.all(
      [closing, stalling].map(async (server) => {
        server.listen(0, "127.0.0.1");
        await once(server, "listening");
        return (server.address() as AddressInfo).port;
      }),
    );
    const dialTls = (port: number | undefined) =>
      codeOf(outbound.connectTls({ host: "api.test", port: port ?? 0 }, noSession()));
    expect(await dialTls(ports[0])).toBe("tls_failed");
    expect(await dialTls(ports[1])).toBe("tls_timeout");
    await new Promise<void>((resolve) => closing.close(() => resolve()));
    expect(await dialTls(ports[0])).toBe("connect_refused");
    stalling.close();
  });

  it("asks for a name again once none of its addresses answered", async () => {
    const answers = [["127.0.0.99"], ["127.0.0.1"]];
    const asked: string[] = [];
    const dns = new DnsCache({
      resolve: async (host) => ({ addresses: answers[asked.push(host) - 1] ?? [], ttlMs: 60_000 }),
    });
    const outbound = outboundFor({ options: { dns } });
    expect(await codeOf(outbound.connect(target("a")))).toBe("connect_refused");
    expect(await codeOf(outbound.connect(target("a")))).toBe("opened");
    expect(await codeOf(outbound.connect(target("a")))).toBe("opened");
    expect(asked).toHaveLength(2);
  });

  it("says how long each phase took", async () => {
    const outbound = outboundFor({ vaults: { a: trusting() } });
    const plain = await outbound.connect(target("a"));
    const secure = await outbound.connectTls(target("a"), noSession());
    expect(timingsOf(plain)).toMatchObject({ tlsMs: 0 });
    const { dnsMs, connectMs, tlsMs } = timingsOf(secure) ?? { dnsMs: -1, connectMs: -1, tlsMs: -1 };
    for (const phase of [connectMs, tlsMs]) expect(phase).toBeGreaterThan(0);
    expect(dnsMs).toBeGreaterThanOrEqual(0);
    for (const socket of [plain, secure]) socket.destroy();
  });
});
