import { createSecureContext } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Outbound } from "../../src/net/outbound.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";
import { Deadlines, defaultTimeouts } from "../../src/proxy/deadlines.ts";
import { Outboxes } from "../../src/proxy/outboxes.ts";
import { type Origin, originKey, Pool } from "../../src/proxy/pool.ts";
import { SharedPool } from "../../src/proxy/shared-pool.ts";
import { Http2Upstream } from "../support/http2-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";

let upstream: Http2Upstream;
let pool: SharedPool;
let deadlines: Deadlines;
let crashes: unknown[];

beforeEach(async () => {
  const authority = await TestAuthority.create();
  upstream = await Http2Upstream.start(authority, ["api.test"]);
  const outbound = new Outbound({
    policy: new NetworkPolicy({ allowPrivateRanges: true, allowlist: [] }),
    trust: createSecureContext({ ca: [authority.pem] }),
    resolve: async () => ["127.0.0.1"],
  });
  const timeouts = defaultTimeouts;
  deadlines = new Deadlines(timeouts);
  const outboxes = new Outboxes();
  crashes = [];
  const onCrash = (error: unknown) => crashes.push(error);
  pool = new SharedPool({
    outbound,
    pool: new Pool(outbound, deadlines, timeouts, outboxes),
    deadlines,
    timeouts,
    outboxes,
    onCrash,
  });
});

afterEach(async () => {
  pool.close();
  deadlines.stop();
  await upstream[Symbol.asyncDispose]();
  expect(crashes).toEqual([]);
});

const originOf = (vaultId: string): Origin => ({ vaultId, scheme: "https", host: "api.test", port: upstream.port });
const dial = (vaultId: string) => pool.dial(originKey(originOf(vaultId)), originOf(vaultId));

describe("the pool of connections that requests share", () => {
  it("makes one for all who ask at once", async () => {
    await Promise.all(Array.from({ length: 20 }, () => dial("vault-1")));
    await expect.poll(() => upstream.wires.length).toBe(1);
    expect(pool.sessions).toBe(1);
  });

  it("keeps vaults apart: none sees, or speeds up, the connection of another", async () => {
    await dial("vault-1");
    expect(pool.take(originKey(originOf("vault-2")))).toBeUndefined();
    await dial("vault-2");
    await expect.poll(() => upstream.wires.length).toBe(2);
  });

  it("tells all who wait that the upstream cannot be reached", async () => {
    const { port } = upstream;
    await upstream[Symbol.asyncDispose]();
    const origin: Origin = { vaultId: "vault-1", scheme: "https", host: "api.test", port };
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => pool.dial(originKey(origin), origin)));
    for (const result of results) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "connect_refused" } });
    }
    upstream = await Http2Upstream.start(await TestAuthority.create(), ["api.test"]);
  });

  it("gives back a place that was not used", async () => {
    upstream.settings = [[3, 1]];
    const key = originKey(originOf("vault-1"));
    const first = await dial("vault-1");
    expect(pool.take(key)).toBeUndefined();
    pool.release(key, first);
    expect(pool.take(key)).toBeDefined();
    await expect.poll(() => upstream.wires.length).toBe(1);
  });

  it("keeps no connection on which nothing may be asked", async () => {
    upstream.settings = [[3, 0]];
    for (let i = 1; i <= 3; i++) {
      await dial("vault-1");
      await expect.poll(() => upstream.wires.length).toBe(i);
      await expect.poll(() => pool.sessions).toBe(0);
    }
  });

  it("forgets a connection that ended", async () => {
    await dial("vault-1");
    await expect.poll(() => upstream.wires.length).toBe(1);
    upstream.wires[0]?.socket.destroy();
    await expect.poll(() => pool.sessions).toBe(0);
    await dial("vault-1");
    await expect.poll(() => upstream.wires.length).toBe(2);
  });
});
