import { createServer as createHttpsServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Http2Client, requestFieldsFor } from "../../support/http2-client.ts";
import { connectHead, type ProxySetup, TestProxy, testToken } from "../../support/proxy.ts";
import { TestAuthority } from "../../support/test-authority.ts";

let authority: TestAuthority;
let upstream: Server;
let host = "";

beforeAll(async () => {
  authority = await TestAuthority.create();
  upstream = createHttpsServer(await authority.issue(["api.test"]), (_request, response) => {
    response.writeHead(200, { "X-Long": "x".repeat(12_000) }).end("a body");
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  host = `api.test:${(upstream.address() as AddressInfo).port}`;
});

afterAll(() => {
  upstream.closeAllConnections();
  upstream.close();
});

/** One answer of this client has a body that it leaves where it is: its windows are closed. */
async function clientThatHolds(proxy: TestProxy): Promise<Http2Client> {
  const plain = await proxy.dial();
  plain.send(connectHead(host, testToken));
  await plain.head();
  plain.socket.removeAllListeners("data");
  const secure = { servername: "api.test", ca: proxy.rootPem, opensWindows: false };
  const client = await Http2Client.secure(plain.socket, secure);
  const held = client.begin(requestFieldsFor(host, "/held", []));
  await expect.poll(() => client.answers.get(held)?.heads.length).toBe(1);
  expect(client.answers.get(held)?.isComplete).toBe(false);
  return client;
}

const setup = (options: ProxySetup["options"] = {}): ProxySetup => ({ trusted: authority, options });

describe("an agent that holds one answer back", () => {
  it("is cut off when it does not read the others, which no window bounds", async () => {
    await using proxy = await TestProxy.start(setup());
    const client = await clientThatHolds(proxy);
    client.socket.pause();
    for (let i = 0; i < 3_000 && !client.isClosed; i += 1) {
      client.begin(requestFieldsFor(host, `/${i}`, [], "HEAD"));
      if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    client.socket.resume();
    await expect.poll(() => client.isClosed, { timeout: 10_000 }).toBe(true);
    expect(client.answers.size).toBeLessThan(2_000);
  });

  it("does not keep its connection when its token is revoked", async () => {
    await using proxy = await TestProxy.start(setup({ timeouts: { lingerMs: 300 } }));
    const client = await clientThatHolds(proxy);
    proxy.vault.isRevoked = true;
    await expect.poll(() => client.isClosed, { timeout: 8_000 }).toBe(true);
  });
});
