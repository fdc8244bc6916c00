import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runBinary } from "../../support/binary.ts";
import { TestEgressProxy } from "../../support/egress-proxy.ts";
import { type PackagedProxy, proxyLogin, startMicrosocks, startTinyproxy } from "../../support/packaged-proxy.ts";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "what is inside, the credential or the proxy's password, by the way out" });

const { user, password } = proxyLogin;

describe.each([
  { name: "tinyproxy", scheme: "http", start: startTinyproxy },
  { name: "microsocks", scheme: "socks5", start: startMicrosocks },
  { name: "microsocks", scheme: "socks5h", start: startMicrosocks },
])("a broker whose way out is $name, by $scheme", ({ scheme, start }) => {
  let proxy: PackagedProxy;
  let stage: Stage;

  beforeAll(async () => {
    proxy = await start();
    stage = await setStage({
      env: { HTTPS_PROXY: `${scheme}://${user}:${password}@127.0.0.1:${proxy.port}`, AGENT_VAULT_DENIED_PORTS: "none" },
    });
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  it("brokers a request with the real credential, again and again on one connection", async () => {
    for (const path of ["/one", "/two"]) {
      expect((await stage.ask(path)).status).toBe(200);
    }
    expect(stage.secure.received.join("")).toContain(`Bearer ${secret}`);
    expect(stage.secure.received).toHaveLength(1);
  });

  it("answers with what the proxy says when nobody listens", async () => {
    const answer = await stage.ask("/", { authority: `${hosts.other}:1` });
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.body).error).toMatch(/^(egress_proxy_failed|connect_refused)$/);
  });

  it("is refused addresses inside before the proxy hears of them", async () => {
    const before = proxy.log();
    for (const host of ["10.0.0.1", "169.254.169.254", "[::ffff:169.254.169.254]"]) {
      const answer = await stage.askPlain("/", { authority: `${host}:443` });
      expect(JSON.parse(answer.body).error).toBe("blocked_by_network_policy");
    }
    expect(proxy.log().slice(before.length)).not.toMatch(/10\.0\.0\.1|169\.254/);
  });

  it("writes the proxy's password nowhere", async () => {
    const written = await stage.everythingWritten();
    expect(written).toContain("proxy_request");
    expect(written).not.toContain(password);
    expect(written).not.toContain(Buffer.from(`${user}:${password}`).toString("base64"));
  });
});

describe("an egress proxy that turns on the broker", () => {
  it("gets no credential by standing in for the upstream", async () => {
    await using proxy = await TestEgressProxy.start({ kind: "http" });
    await using stage = await setStage({
      env: {
        AGENT_VAULT_UPSTREAM_PROXY: `http://127.0.0.1:${proxy.port}`,
        AGENT_VAULT_UPSTREAM_PROXY_RESOLVES: "true",
      },
    });
    // Whatever name is asked for, this machine answers: with a certificate that is not for it.
    await stage.services([bearerService(`api.github.com:${stage.secure.port}`)]);
    const answer = await stage.ask("/", { authority: `api.github.com:${stage.secure.port}` });
    expect(JSON.parse(answer.body).error).toBe("tls_verification_failed");
    expect(stage.secure.received.join("")).not.toContain(secret);
  });

  it("cannot be the broker itself", async () => {
    const environments = [
      { HTTPS_PROXY: "http://token:vault@127.0.0.1:14322" },
      { AGENT_VAULT_UPSTREAM_PROXY: "socks5://localhost:14321" },
    ];
    for (const env of environments) {
      const home = await mkdtemp(join(tmpdir(), "agent-vault-loop-"));
      const { code, stderr } = await runBinary(["server"], { env: { HOME: home, ...env } });
      expect(code).toBe(1);
      expect(stderr).toContain(`${Object.keys(env)[0]} names this server itself`);
      expect(stderr).not.toContain("token:vault");
      await rm(home, { recursive: true, force: true });
    }
  });

  it("may be named in a file, so that its password is in no environment", async () => {
    await using proxy = await TestEgressProxy.start({ kind: "http", login: `${user}:${password}` });
    const folder = await mkdtemp(join(tmpdir(), "agent-vault-egress-"));
    const file = join(folder, "proxy");
    await writeFile(file, `http://${user}:${password}@127.0.0.1:${proxy.port}\n`, { mode: 0o600 });
    await using stage = await setStage({ env: { AGENT_VAULT_UPSTREAM_PROXY_FILE: file } });
    expect((await stage.ask("/")).status).toBe(200);
    expect(proxy.asked).toEqual([`${hosts.api}:${stage.secure.port}`]);
    await rm(folder, { recursive: true, force: true });
  });
});
