import { lstat, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runProgram, startBinaryServer } from "../support/binary.ts";
import { type BrokeredUpstream, startBrokeredUpstream } from "../support/brokered-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";

const secret = "sk_live_0c41d97be25a4f38";
const top = join(import.meta.dirname, "..", "..");
const path = [join(top, "node_modules", ".bin"), process.env.PATH].join(delimiter);
const undici = JSON.stringify(join(top, "node_modules/undici/index.js"));

const clients: readonly { readonly name: string; readonly command: (url: string) => readonly string[] }[] = [
  { name: "curl", command: (url) => ["curl", "-sS", url] },
  // Debian's httpx (0.23) cannot do TLS inside of TLS; requests can.
  {
    name: "python-requests",
    command: (url) => ["/usr/bin/python3", "-c", `import requests; print(requests.get("${url}").text)`],
  },
  {
    name: "undici-proxy-agent",
    command: (url) => [
      "node",
      "--input-type=module",
      "-e",
      `import { fetch, ProxyAgent } from ${undici};
       const dispatcher = new ProxyAgent(process.env.HTTPS_PROXY);
       console.log(await (await fetch("${url}", { dispatcher })).text());
       await dispatcher.close();`,
    ],
  },
  {
    name: "node-fetch",
    command: (url) => ["node", "--input-type=module", "-e", `console.log(await (await fetch("${url}")).text())`],
  },
];

async function prepare(brokered: BrokeredUpstream): Promise<void> {
  const { server, host } = brokered;
  await server.cli(["vault", "credential", "set", "UPSTREAM_TOKEN=-"], { stdin: secret });
  const bearer = ["--auth-type", "bearer", "--token-key", "UPSTREAM_TOKEN"];
  await server.cli(["vault", "service", "add", "--name", "upstream", "--host", host(), ...bearer]);
}

describe("the proxy with TLS of its own root", () => {
  let brokered: BrokeredUpstream;

  beforeAll(async () => {
    brokered = await startBrokeredUpstream({ env: { AGENT_VAULT_PROXY_TLS: "on" } });
    await prepare(brokered);
  });
  afterAll(() => brokered?.[Symbol.asyncDispose]());

  it.each(clients)("serves $name, led there by run", async ({ name, command }) => {
    const { server, upstream, host } = brokered;
    upstream.forget();
    const result = await server.run(["run", "--", ...command(`https://${host()}/hop/${name}`)], {
      env: { PATH: path },
    });
    expect(result.stdout, result.stderr).toContain("hello");
    expect(upstream.requests.map(({ url }) => url)).toEqual([`/hop/${name}`]);
    expect(upstream.requests[0]?.values("authorization")).toEqual([`Bearer ${secret}`]);
  });

  it("hands out https:// and refuses who speaks in plain", async () => {
    const { server } = brokered;
    const { stdout } = await server.run(["run", "--quiet", "--", "sh", "-c", 'echo "$HTTPS_PROXY"']);
    expect(stdout).toMatch(/^https:\/\//);
    const plain = await runProgram("curl", ["-sS", "-m", "5", `http://127.0.0.1:${server.proxyPort}/health`]);
    expect(plain.code).not.toBe(0);
    expect(server.log()).toContain(`Proxy for agents on port ${server.proxyPort}, with TLS`);
  });

  it("is what doctor looks at", async () => {
    const { stdout } = await brokered.server.run(["doctor", "--json"]);
    const checks = JSON.parse(stdout) as { checks: readonly { name: string; verdict: string }[] };
    expect(checks.checks.find(({ name }) => name === "tunnel")).toMatchObject({ verdict: "ok" });
  });
});

describe("the proxy with a certificate from files", () => {
  it("serves curl, and the renewed certificate without a restart", async () => {
    const folder = await mkdtemp(join(tmpdir(), "hop-files-"));
    const authority = await TestAuthority.create("Test hop CA");
    const [ca, certificate, key] = ["ca.pem", "hop.crt", "hop.key"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const write = async (pair: { cert: string; key: string }) => {
      await writeFile(certificate, pair.cert);
      await writeFile(key, pair.key);
    };
    await writeFile(ca, authority.pem);
    await write(await authority.issue(["localhost"]));
    await using brokered = await startBrokeredUpstream({
      env: { AGENT_VAULT_PROXY_TLS_CERT_FILE: certificate, AGENT_VAULT_PROXY_TLS_KEY_FILE: key },
    });
    const probe = (name: string) =>
      runProgram("curl", [
        "-sS",
        "--cacert",
        ca,
        "--resolve",
        `${name}:${brokered.server.proxyPort}:127.0.0.1`,
        `https://${name}:${brokered.server.proxyPort}/health`,
      ]);
    expect((await probe("localhost")).stdout).toContain('"ok"');
    expect((await probe("renewed.test")).code).not.toBe(0);
    await write(await authority.issue(["localhost", "renewed.test"]));
    await expect.poll(async () => (await probe("renewed.test")).stdout, { timeout: 20_000 }).toContain('"ok"');
    await rm(folder, { recursive: true, force: true });
  });
});

describe("the proxy's Unix socket", () => {
  it("is the only way out of a sandbox without a network", async () => {
    const folder = await mkdtemp(join(tmpdir(), "hop-socket-"));
    const socket = join(folder, "proxy.sock");
    await using brokered = await startBrokeredUpstream({ env: { AGENT_VAULT_PROXY_SOCKET: socket } });
    await prepare(brokered);
    const { server, upstream, host } = brokered;
    expect((await lstat(socket)).mode & 0o777).toBe(0o600);
    const token = (await server.cli(["vault", "token", "--vault", "default"])).trim();
    await server.cli(["ca", "fetch", "-o", join(folder, "ca.pem")]);
    const url = `https://${host()}/sandboxed`;
    const script = [
      "ip link set lo up 2>/dev/null",
      `socat TCP-LISTEN:3128,bind=127.0.0.1,fork,reuseaddr UNIX-CONNECT:${socket} & relay=$!`,
      "sleep 0.3",
      `curl -sS -m 3 --noproxy '*' ${url} && echo LEAK`,
      `curl -sS -m 10 --retry 5 --retry-connrefused --cacert ${folder}/ca.pem -x "http://$TOKEN:default@127.0.0.1:3128" ${url}`,
      "kill $relay",
    ].join("\n");
    const inside = ["--unshare-all", "--cap-drop", "ALL", "--dev", "/dev", "--proc", "/proc"];
    const files = ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--bind", folder, folder];
    const links = ["bin", "lib", "lib64", "sbin"].flatMap((name) => ["--symlink", `usr/${name}`, `/${name}`]);
    const result = await runProgram("bwrap", [...inside, ...files, ...links, "sh", "-c", script], {
      env: { TOKEN: token },
    });
    expect(result.stdout, result.stderr).toContain("hello");
    expect(result.stdout).not.toContain("LEAK");
    expect(upstream.requests.map(({ url }) => url)).toEqual(["/sandboxed"]);
    expect(upstream.requests[0]?.values("authorization")).toEqual([`Bearer ${secret}`]);
    await server.stop();
    await expect(lstat(socket)).rejects.toMatchObject({ code: "ENOENT" });
    await rm(folder, { recursive: true, force: true });
  });

  it("comes back after a crash", async () => {
    const folder = await mkdtemp(join(tmpdir(), "hop-crash-"));
    const socket = join(folder, "proxy.sock");
    const env = { AGENT_VAULT_PROXY_SOCKET: socket };
    const home = join(folder, "home");
    const crashed = await startBinaryServer({ home, env });
    await expect.poll(() => crashed.log()).toContain(socket);
    process.kill(crashed.pid, "SIGKILL");
    await crashed.stop();
    expect((await lstat(socket)).isSocket()).toBe(true);
    await using again = await startBinaryServer({ home, env });
    await expect.poll(() => again.log()).toContain(`and at ${socket}`);
    await again.stop();
    await rm(folder, { recursive: true, force: true });
  });
});

describe("a server whose TLS files cannot be used", () => {
  it("does not start with a plain proxy", async () => {
    const env = { AGENT_VAULT_PROXY_TLS_CERT_FILE: "/nowhere/a.crt", AGENT_VAULT_PROXY_TLS_KEY_FILE: "/nowhere/a.key" };
    await expect(startBinaryServer({ env })).rejects.toThrow("cannot be read: ENOENT");
  });
});
