import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { NotFound, Unavailable } from "../../src/errors.ts";
import { type RawClient, TestProxy, testToken } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
const service = {
  name: "api",
  pattern: { host: "api.test" },
  auth: { type: "bearer", token: "KEY" },
  substitutions: [],
} as const;

const upgrade =
  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const switching =
  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/** What can be open when a right ends, each with the first bytes that its agent sees. */
const open = [
  { what: "a download", more: "", answer: "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst", until: "first" },
  {
    what: "an event stream",
    more: "",
    answer: "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:",
    until: ":",
  },
  { what: "a WebSocket", more: upgrade, answer: switching, until: "\r\n\r\n" },
];

async function setTheStage(answer: string) {
  const sockets: Socket[] = [];
  const upstream = await startRawUpstream({
    authority: trusted,
    names: ["api.test"],
    script: (socket, received) => {
      if (!received.endsWith("\r\n\r\n")) return;
      sockets.push(socket);
      socket.write(answer);
    },
  });
  const proxy = await TestProxy.start({ trusted, services: [service], credentials: { KEY: "sk" } });
  const host = `api.test:${upstream.port}`;
  return {
    host,
    proxy,
    vault: proxy.vault,
    sockets,
    async open(more: string, until: string): Promise<RawClient> {
      const client = await proxy.tunnel(host);
      client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`);
      await client.until(until);
      return client;
    },
    tunnel: () => proxy.tunnel(host),
    async [Symbol.asyncDispose]() {
      await proxy.close();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

describe("the next request in a tunnel", () => {
  it("is refused as soon as the token has ended, announced or not, and the tunnel with it", async () => {
    await using t = await setTheStage("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await using client = await t.open("", "ok");
    t.vault.isRevoked = true;
    client.send(`GET /second HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    const answer = await client.answer();
    expect(answer.status).toBe(407);
    expect(answer.head).toMatch(/^Connection: close\r$/m);
    expect(await client.rest()).toBe("");
    expect(t.proxy.journal).toMatchObject([{ status: 200 }, { errorCode: "invalid_token" }]);
  });
});

describe.each(open)("$what", ({ more, answer, until }) => {
  it("ends with its token once that is announced, on both sides, and says so in the journal", async () => {
    await using t = await setTheStage(answer);
    await using client = await t.open(more, until);
    t.vault.isRevoked = true;
    t.vault.announce();
    await client.rest();
    await closed(t.sockets);
    expect(t.proxy.journal).toMatchObject([{ errorCode: "revoked" }]);
  });

  it("ends with its token when that expires and nobody announces it", async () => {
    await using t = await setTheStage(answer);
    await using client = await t.open(more, until);
    t.vault.isRevoked = true;
    await client.rest();
    await closed(t.sockets);
  });

  it("ends with its service, switched off, removed, or handed to another one", async () => {
    for (const services of [[{ ...service, enabled: false }], [], [{ ...service, name: "another" }]]) {
      await using t = await setTheStage(answer);
      await using client = await t.open(more, until);
      t.vault.services = services;
      t.vault.announce();
      await client.rest();
      await closed(t.sockets);
      expect(t.proxy.journal[0]?.errorCode).toMatch(/^service_(disabled|removed)$/);
    }
  });

  it("goes on when something else changed, and while the database cannot be asked", async () => {
    await using t = await setTheStage(answer);
    await using client = await t.open(more, until);
    t.vault.services = [{ ...service, pattern: { host: "other.test" }, name: "other" }, service];
    t.vault.announce();
    t.vault.outage = new Unavailable("database_unavailable", "The database is away");
    t.vault.announce();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(client.isClosed).toBe(false);
    t.sockets[0]?.write("second");
    await client.until("second");

    t.vault.outage = new NotFound("vault_not_found", "Vault not found");
    await client.rest();
  });
});

describe("an open tunnel", () => {
  it("ends with its token although nothing happens in it", async () => {
    await using t = await setTheStage("");
    await using client = await t.tunnel();
    t.vault.isRevoked = true;
    t.vault.announce();
    await client.rest();
  });

  it("ends with its token in the middle of the handshake", async () => {
    await using t = await setTheStage("");
    await using client = await t.proxy.dial();
    client.send(
      `CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nProxy-Authorization: Bearer ${testToken}\r\n\r\n`,
    );
    await client.head();
    t.vault.isRevoked = true;
    t.vault.announce();
    await client.rest();
    expect(t.proxy.journal).toMatchObject([{ method: "CONNECT", errorCode: "revoked" }]);
  });
});

async function closed(sockets: readonly Socket[]): Promise<void> {
  while (sockets.length === 0 || sockets.some((socket) => !socket.destroyed)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
