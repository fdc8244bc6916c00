import { spawn } from "node:child_process";
import { mkdir, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePorts, startBinaryServer } from "../test/support/binary.ts";
import { registerOwner } from "../test/support/brokered-upstream.ts";
import type { TestAuthority } from "../test/support/test-authority.ts";
import { startNginx, stopProcess, untilListening } from "./nginx.ts";

/** The name of the upstream; scripts/machine.mjs makes it lead here. */
const name = "api.upstream.test";

export type SubjectName = "direct" | "agent-vault" | "nginx" | "mitmproxy";

/** One way from the load generator to the upstream. */
export interface Subject {
  readonly name: SubjectName;
  /** The process in the middle; none for `direct`. */
  readonly pid: number | undefined;
  /** Arguments of the load generator that lead this way. */
  readonly route: readonly string[];
  /** Whether answers are searched for the credential that went out; only ours can. */
  setScrub?(mode: "off" | "redact"): Promise<void>;
  stop(): Promise<void>;
}

/** A TLS upstream that is never the bottleneck: nginx with answers of several sizes and a place for uploads. */
export interface Upstream {
  readonly port: number;
  /** PEM file of the authority that signed it. */
  readonly caFile: string;
  /** Connections accepted so far. */
  accepted(): Promise<number>;
  stop(): Promise<void>;
}

export interface Laboratory {
  readonly folder: string;
  readonly authority: TestAuthority;
  readonly upstream: Upstream;
}

const sizes = { "1b": 1, "1k": 1024, "64k": 64 * 1024, "100m": 100 * 1024 ** 2, "1g": 1024 ** 3 };

export async function startUpstream(folder: string, authority: TestAuthority): Promise<Upstream> {
  const home = join(folder, "upstream");
  const files = join(home, "files");
  await mkdir(files, { recursive: true });
  for (const [file, bytes] of Object.entries(sizes)) {
    await writeFile(join(files, file), "");
    await truncate(join(files, file), bytes);
  }
  const certificate = await writeCertificate(home, authority);
  const caFile = join(home, "ca.pem");
  await writeFile(caFile, authority.pem);
  const [port, statusPort] = await freePorts();
  const nginx = await startNginx(
    home,
    port,
    `server {
       listen 127.0.0.1:${port} ssl;
       ${certificate}
       root ${files};
       location /upload/ { dav_methods PUT; create_full_put_path on; client_body_buffer_size 64k; }
     }
     server { listen 127.0.0.1:${statusPort}; keepalive_timeout 0; location = / { stub_status; } }`,
  );
  const accepted = async () => {
    // Each question is one more connection: none is kept.
    const answer = await fetch(`http://127.0.0.1:${statusPort}/`, { headers: { connection: "close" } });
    const status = await answer.text();
    const counters = /\n\s*(\d+) \d+ \d+/.exec(status);
    return Number(counters?.[1]);
  };
  return { port, caFile, accepted, stop: nginx.stop };
}

export function direct({ upstream }: Laboratory): Subject {
  return {
    name: "direct",
    pid: undefined,
    route: ["--to", `127.0.0.1:${upstream.port}`, "--name", name, "--ca", upstream.caFile],
    stop: async () => undefined,
  };
}

/** nginx as TLS-to-TLS reverse proxy that sets one header: no authentication, no matching, no log. */
export async function startNginxPeer({ folder, authority, upstream }: Laboratory): Promise<Subject> {
  const home = join(folder, "nginx-peer");
  await mkdir(home, { recursive: true });
  const certificate = await writeCertificate(home, authority);
  const [port] = await freePorts();
  const nginx = await startNginx(
    home,
    port,
    `upstream origin { server 127.0.0.1:${upstream.port}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }
     server {
       listen 127.0.0.1:${port} ssl;
       ${certificate}
       location / {
         proxy_pass https://origin;
         proxy_http_version 1.1;
         proxy_set_header Connection "";
         proxy_set_header Host ${name}:${upstream.port};
         proxy_set_header Authorization "Bearer real";
         proxy_ssl_name ${name};
         proxy_ssl_server_name on;
         proxy_ssl_verify on;
         proxy_ssl_trusted_certificate ${upstream.caFile};
         proxy_request_buffering off;
         proxy_max_temp_file_size 0;
       }
     }`,
  );
  const route = ["--to", `127.0.0.1:${port}`, "--name", name, "--ca", upstream.caFile];
  return { name: "nginx", pid: nginx.pid, route, stop: nginx.stop };
}

/** mitmproxy with an add-on of one line that sets the header; large bodies are streamed. */
export async function startMitmproxy({ folder, upstream }: Laboratory): Promise<Subject> {
  const home = join(folder, "mitmproxy");
  await mkdir(home, { recursive: true });
  const addOn = join(home, "header.py");
  await writeFile(addOn, 'def request(flow):\n    flow.request.headers["Authorization"] = "Bearer real"\n');
  const [port] = await freePorts();
  const settings = [`confdir=${home}`, `ssl_verify_upstream_trusted_ca=${upstream.caFile}`, "stream_large_bodies=1m"];
  const args = ["-q", "--listen-host", "127.0.0.1", "-p", String(port), "-s", addOn];
  const child = spawn("mitmdump", [...args, ...settings.flatMap((setting) => ["--set", setting])], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { PATH: "/usr/bin:/bin", HOME: home },
  });
  await untilListening(port, child, "mitmproxy");
  return {
    name: "mitmproxy",
    pid: child.pid,
    route: throughProxy(upstream, port, join(home, "mitmproxy-ca-cert.pem")),
    stop: () => stopProcess(child),
  };
}

/** The built binary as it ships: authentication, matching, injection and journal are on. */
export async function startAgentVault({ folder, upstream }: Laboratory): Promise<Subject> {
  const server = await startBinaryServer({
    env: {
      AGENT_VAULT_UPSTREAM_CA_FILE: upstream.caFile,
      AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8",
      AGENT_VAULT_RATELIMIT_PROFILE: "off",
    },
  });
  try {
    await registerOwner(server);
    await server.cli(["vault", "credential", "set", "BENCH_TOKEN=-"], { stdin: "real-credential-of-the-bench" });
    const service = ["--name", "bench", "--host", `${name}:${upstream.port}`];
    await server.cli(["vault", "service", "add", ...service, "--auth-type", "bearer", "--token-key", "BENCH_TOKEN"]);
    const setScrub = async (mode: "off" | "redact") =>
      void (await server.cli(["vault", "settings", "set", "--scrub", mode]));
    // As its peers, which search nothing; what it costs is measured by itself.
    await setScrub("off");
    const caFile = join(folder, "agent-vault-ca.pem");
    await server.cli(["ca", "fetch", "-o", caFile]);
    const token = (await server.cli(["vault", "token"])).trim();
    const auth = Buffer.from(`${token}:default`).toString("base64");
    return {
      name: "agent-vault",
      pid: server.pid,
      route: [...throughProxy(upstream, server.proxyPort, caFile), "--proxy-auth", auth],
      setScrub,
      stop: async () => void (await server.stop()),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

function throughProxy(upstream: Upstream, port: number, caFile: string): readonly string[] {
  return ["--to", `${name}:${upstream.port}`, "--proxy", `127.0.0.1:${port}`, "--name", name, "--ca", caFile];
}

/** Writes a certificate for the upstream's name; returns the lines of nginx's configuration that use it. */
async function writeCertificate(home: string, authority: TestAuthority): Promise<string> {
  const { cert, key } = await authority.issue([name]);
  const [certFile, keyFile] = [join(home, "cert.pem"), join(home, "key.pem")];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key, { mode: 0o600 });
  return `ssl_certificate ${certFile}; ssl_certificate_key ${keyFile};`;
}
