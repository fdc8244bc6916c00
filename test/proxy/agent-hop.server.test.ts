import { once } from "node:events";
import { chmod, lstat, mkdtemp, readdir, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, describe, expect, it } from "vitest";
import type { Service } from "../../src/domain/services/service.ts";
import { silentLogger } from "../../src/log.ts";
import { TlsFiles } from "../../src/runtime/tls-files.ts";
import { connectWithoutWaiting } from "../support/early-hello.ts";
import { connectHead, RawClient, TestProxy, testToken } from "../support/proxy.ts";
import { startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";

const trusted = await TestAuthority.create();
const hopAuthority = await TestAuthority.create("Test hop CA");
const folder = await mkdtemp(join(tmpdir(), "hop-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const bearer: Service = {
  name: "api",
  pattern: { host: "api.test" },
  auth: { type: "bearer", token: "API_KEY" },
  substitutions: [],
};
const setup = { trusted, services: [bearer], credentials: { API_KEY: "sk_real" } };

async function issueHop(names: readonly string[], prefix: string) {
  const { cert, key } = await hopAuthority.issue(names);
  const files = { certificateFile: join(folder, `${prefix}.crt`), keyFile: join(folder, `${prefix}.key`) };
  await writeFile(files.certificateFile, cert);
  await writeFile(files.keyFile, key);
  return files;
}

async function dialTls(port: number, servername = "proxy.test"): Promise<RawClient> {
  const socket = connectTls({ host: "127.0.0.1", port, servername, ca: [hopAuthority.pem] });
  await once(socket, "secureConnect");
  return new RawClient(socket);
}

describe("TLS towards agents", () => {
  it("carries tunnels, with the handshake of the tunnel inside", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    const tls = await TlsFiles.open({ ...(await issueHop(["proxy.test"], "tunnel")), log: silentLogger });
    await using proxy = await TestProxy.start({ ...setup, options: { tls } });
    await using client = await dialTls(proxy.port);
    client.send(connectHead(`api.test:${upstream.port}`, testToken));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
    await using inside = await client.secure("api.test", proxy.rootPem);
    for (const path of ["/a", "/b"]) {
      inside.send(`GET ${path} HTTP/1.1\r\nHost: api.test:${upstream.port}\r\n\r\n`);
      expect((await inside.answer()).status).toBe(200);
    }
    expect(upstream.requests.map(({ url }) => url)).toEqual(["/a", "/b"]);
    expect(upstream.requests[0]?.values("authorization")).toEqual(["Bearer sk_real"]);
    expect(proxy.journal[0]).toMatchObject({ clientIp: "127.0.0.1", status: 200 });
    tls.stop();
  });

  it("keeps a ClientHello that was sent behind the CONNECT without waiting", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    const tls = await TlsFiles.open({ ...(await issueHop(["proxy.test"], "early")), log: silentLogger });
    await using proxy = await TestProxy.start({ ...setup, options: { tls } });
    await using client = await dialTls(proxy.port);
    const authority = `api.test:${upstream.port}`;
    const inside = new RawClient(
      connectWithoutWaiting(client.socket, { authority, servername: "api.test", ca: proxy.rootPem }),
    );
    inside.send(`GET /early HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    expect((await inside.answer()).status).toBe(200);
    expect(upstream.requests.map(({ url }) => url)).toEqual(["/early"]);
    tls.stop();
  });

  it("refuses who speaks in plain, and says nothing to them", async () => {
    const tls = await TlsFiles.open({ ...(await issueHop(["proxy.test"], "plain")), log: silentLogger });
    await using proxy = await TestProxy.start({ ...setup, options: { tls } });
    await using client = await proxy.dial();
    client.send(connectHead("api.test:443", testToken));
    expect(await client.rest()).not.toContain("HTTP/1.1");
    expect(proxy.journal).toEqual([]);
    tls.stop();
  });

  it("ends a connection whose handshake does not come", async () => {
    const tls = await TlsFiles.open({ ...(await issueHop(["proxy.test"], "slow")), log: silentLogger });
    await using proxy = await TestProxy.start({ ...setup, options: { tls, timeouts: { clientTlsMs: 100 } } });
    await using client = await proxy.dial();
    expect(await client.rest()).toBe("");
    tls.stop();
  });

  it("shows a renewed certificate to the next connection and leaves the open ones alone", async () => {
    const files = await issueHop(["proxy.test"], "renewed");
    const tls = await TlsFiles.open({ ...files, log: silentLogger });
    await using proxy = await TestProxy.start({ ...setup, options: { tls } });
    await using before = await dialTls(proxy.port);
    await issueHop(["proxy.test", "renewed.test"], "renewed");
    await tls.look();
    await using after = await dialTls(proxy.port, "renewed.test");
    for (const client of [before, after]) {
      client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
      expect((await client.answer()).status).toBe(200);
    }
    tls.stop();
  });
});

describe("the files of a certificate", () => {
  it("stay as they were while a renewal is half done", async () => {
    const files = await issueHop(["proxy.test"], "half");
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (event: string) => void warnings.push(event) };
    const tls = await TlsFiles.open({ ...files, log });
    const { context } = tls;
    const other = await hopAuthority.issue(["proxy.test"]);
    await writeFile(files.certificateFile, other.cert);
    await tls.look();
    expect(tls.context).toBe(context);
    await tls.look();
    expect(warnings).toHaveLength(1);
    await writeFile(files.keyFile, other.key);
    await tls.look();
    expect(tls.context).not.toBe(context);
    await unlink(files.keyFile);
    await tls.look();
    expect(warnings).toHaveLength(2);
    tls.stop();
  });

  it.each([
    { why: "a key of another certificate", write: (key: string) => writeFile(key, otherKey) },
    { why: "no key", write: (key: string) => writeFile(key, "nothing") },
    { why: "a key that is not there", write: (key: string) => unlink(key) },
  ])("are refused at the start: $why", async ({ write }) => {
    const files = await issueHop(["proxy.test"], "bad");
    await write(files.keyFile);
    const opening = TlsFiles.open({ ...files, log: silentLogger });
    await expect(opening).rejects.toMatchObject({ code: "bad_tls_files" });
    await expect(opening).rejects.not.toThrow("PRIVATE");
  });
});

const otherKey = (await hopAuthority.issue(["other.test"])).key;

describe("the proxy's Unix socket", () => {
  const options = (path: string, mode = 0o600) => ({ socket: { path, mode } });

  async function dialSocket(path: string): Promise<RawClient> {
    const socket = connect({ path });
    await once(socket, "connect");
    return new RawClient(socket);
  }

  it("serves tunnels to who may open it, and is gone when the proxy stops", async () => {
    await using upstream = await startRecordingUpstream({ authority: trusted, names: ["api.test"] });
    const path = join(folder, "proxy.sock");
    const proxy = await TestProxy.start({ ...setup, options: { ...options(path), port: undefined } });
    expect((await lstat(path)).mode & 0o777).toBe(0o600);
    await using client = await dialSocket(path);
    client.send(connectHead(`api.test:${upstream.port}`, testToken));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
    await using inside = await client.secure("api.test", proxy.rootPem);
    inside.send(`GET /a HTTP/1.1\r\nHost: api.test:${upstream.port}\r\n\r\n`);
    expect((await inside.answer()).status).toBe(200);
    expect(upstream.requests[0]?.values("authorization")).toEqual(["Bearer sk_real"]);
    expect(proxy.journal[0]?.clientIp).toBe("unix");
    expect(proxy.port).toBe(0);
    await proxy.close();
    expect((await readdir(folder)).filter((name) => name.includes("sock") || name.startsWith(".av"))).toEqual([]);
  });

  it("still wants a token", async () => {
    const path = join(folder, "token.sock");
    await using proxy = await TestProxy.start({ ...setup, options: options(path) });
    await using client = await dialSocket(path);
    client.send(connectHead("api.test:443", "av_sess_wrong"));
    expect((await client.answer()).status).toBe(407);
    expect(proxy.port).toBeGreaterThan(0);
  });

  it("has the mode that was asked for", async () => {
    const path = join(folder, "mode.sock");
    await using _ = await TestProxy.start({ ...setup, options: options(path, 0o660) });
    expect((await lstat(path)).mode & 0o777).toBe(0o660);
  });

  it("takes the place of one that nobody listens on any more", async () => {
    const path = join(folder, "stale.sock");
    await leaveStaleSocket(path);
    await using _ = await TestProxy.start({ ...setup, options: options(path) });
    await using client = await dialSocket(path);
    client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    expect((await client.answer()).status).toBe(200);
  });

  it("leaves a server at work in its place", async () => {
    const path = join(folder, "busy.sock");
    await using first = await TestProxy.start({ ...setup, options: options(path) });
    await expect(TestProxy.start({ ...setup, options: options(path) })).rejects.toMatchObject({
      code: "socket_in_use",
    });
    await using client = await dialSocket(path);
    client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    expect((await client.answer()).status).toBe(200);
    expect(first.port).toBeGreaterThan(0);
  });

  it.each([
    { why: "a file", make: (path: string) => writeFile(path, "mine") },
    { why: "a link, wherever it leads", make: (path: string) => symlink(join(folder, "nowhere"), path) },
  ])("does not remove $why", async ({ why, make }) => {
    const path = join(folder, `${why.slice(2, 6)}.sock`);
    await make(path);
    const starting = TestProxy.start({ ...setup, options: options(path) });
    await expect(starting).rejects.toMatchObject({ code: "socket_path_taken" });
    expect((await lstat(path)).isSocket()).toBe(false);
  });

  it("does not remove a socket that took its place", async () => {
    const path = join(folder, "moved.sock");
    const proxy = await TestProxy.start({ ...setup, options: options(path) });
    await unlink(path);
    const other = createServer().listen(path);
    await once(other, "listening");
    await proxy.close();
    expect((await lstat(path)).isSocket()).toBe(true);
    other.close();
  });

  it("opens neither when the port cannot be had", async () => {
    const path = join(folder, "neither.sock");
    await using first = await TestProxy.start(setup);
    const starting = TestProxy.start({ ...setup, options: { ...options(path), port: first.port } });
    await expect(starting).rejects.toMatchObject({ code: "port_in_use" });
    await expect(lstat(path)).rejects.toMatchObject({ code: "ENOENT" });
  });

  it.each([
    { path: join(folder, "missing", "a.sock"), why: "a directory that is not there" },
    { path: join(folder, "x".repeat(120)), why: "a path that is too long" },
  ])("says what is wrong with $why", async ({ path }) => {
    await expect(TestProxy.start({ ...setup, options: options(path) })).rejects.toMatchObject({
      code: "bad_socket_path",
    });
  });
});

/** A socket file whose server went away without removing it. */
async function leaveStaleSocket(path: string): Promise<void> {
  const made = `${path}.made`;
  const server = createServer().listen(made);
  await once(server, "listening");
  await rename(made, path);
  await new Promise((resolve) => server.close(resolve));
  await chmod(path, 0o600);
}
