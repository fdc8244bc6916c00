import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { createSecureContext } from "node:tls";
import { expect, it } from "vitest";
import { Outbound } from "../../src/net/outbound.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";
import { Deadlines, defaultTimeouts } from "../../src/proxy/deadlines.ts";
import { Outboxes } from "../../src/proxy/outboxes.ts";
import { Pool } from "../../src/proxy/pool.ts";

it("keeps no connection that was still being dialled when it was closed", async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const policy = new NetworkPolicy({ allowPrivateRanges: true, allowlist: [] });
  const outbound = new Outbound({ policy, trust: createSecureContext() });
  const deadlines = new Deadlines(defaultTimeouts);
  const pool = new Pool(outbound, deadlines, defaultTimeouts, new Outboxes());
  const accepted = once(server, "connection");

  const dialling = pool.dial("o", { vaultId: "v", scheme: "http", host: "127.0.0.1", port });
  pool.close();
  pool.release("o", await dialling);

  expect(pool.take("o")).toBeUndefined();
  const [peer] = await accepted;
  peer.resume();
  await once(peer, "close");
  deadlines.stop();
  server.close();
});
