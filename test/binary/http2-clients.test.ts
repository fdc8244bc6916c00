import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bearerService, hosts, type Stage, secret, setStage } from "../attacks/support/stage.ts";
import { freePorts, runProgram } from "../support/binary.ts";

/** Clients that people use, over HTTP/2 through the built binary, to nginx, which speaks it as well. */

const top = join(import.meta.dirname, "..", "..");
const node = join(top, "node_modules", ".bin", "node");
const megabytes = 20;

let stage: Stage;
let folder: string;
let nginx: ChildProcess;
let target = "";
let proxy = "";

beforeAll(async () => {
  stage = await setStage();
  folder = await mkdtemp(join(tmpdir(), "agent-vault-nginx-"));
  const { cert, key } = await stage.authority.issue([hosts.api]);
  const [port = 0] = await freePorts();
  await mkdir(join(folder, "files"));
  await Promise.all([
    writeFile(join(folder, "cert.pem"), cert),
    writeFile(join(folder, "key.pem"), key),
    writeFile(join(folder, "ca.pem"), stage.ca),
    writeFile(join(folder, "files", "large"), Buffer.alloc(megabytes * 1024 * 1024, "0123456789abcdef")),
    writeFile(join(folder, "nginx.conf"), configuration(port)),
  ]);
  nginx = spawn("/usr/sbin/nginx", ["-p", folder, "-c", "nginx.conf", "-e", "stderr"], { stdio: "ignore" });
  await listens(port);
  target = `${hosts.api}:${port}`;
  proxy = `http://${stage.token}:default@127.0.0.1:${stage.server.proxyPort}`;
  await stage.services([bearerService(target)]);
});

afterAll(async () => {
  nginx.kill();
  await stage[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

function configuration(port: number): string {
  return `
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http {
  log_format seen '$server_protocol $request_method $request_uri $http_authorization $request_length';
  access_log access.log seen;
  client_max_body_size 0; client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
  server {
    listen 127.0.0.1:${port} ssl http2;
    server_name ${hosts.api};
    ssl_certificate cert.pem; ssl_certificate_key key.pem;
    location /hello { return 200 "$server_protocol $http_authorization\\n"; }
    location /files/ { root .; }
  }
}`;
}

async function listens(port: number): Promise<void> {
  for (;;) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: "127.0.0.1", port }, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on("error", () => resolve(false));
    });
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What nginx saw of the requests for a path. */
async function seen(path: string): Promise<string[]> {
  const log = await readFile(join(folder, "access.log"), "utf8");
  return log.split("\n").filter((line) => line.includes(` ${path} `));
}

const environment = () => ({
  https_proxy: proxy,
  CURL_CA_BUNDLE: join(folder, "ca.pem"),
  SSL_CERT_FILE: join(folder, "ca.pem"),
});

describe("a client that speaks HTTP/2", () => {
  it("curl, which prefers it: both hops speak it, and the credential is attached and not shown", async () => {
    const format = "%{http_version} %{response_code}";
    const result = await runProgram("curl", ["-sS", "-w", format, `https://${target}/hello?curl`], {
      env: environment(),
    });
    expect(result.stdout, result.stderr).toMatch(/^HTTP\/2\.0 Bearer \[redacted\]\**\n2 200$/);
    expect(await seen("/hello?curl")).toEqual([expect.stringMatching(`^HTTP/2.0 GET /hello\\?curl Bearer ${secret} `)]);
  });

  it("curl, told to speak HTTP/1.1: so do both hops", async () => {
    const command = ["-sS", "--http1.1", "-w", "%{http_version}", `https://${target}/hello?old`];
    const result = await runProgram("curl", command, { env: environment() });
    expect(result.stdout, result.stderr).toMatch(/^HTTP\/1\.1 Bearer \[redacted\]\**\n1\.1$/);
  });

  it("curl, for several large files at once", async () => {
    const urls = [1, 2, 3].flatMap((number) => [
      "-o",
      join(folder, `got-${number}`),
      `https://${target}/files/large?${number}`,
    ]);
    const command = ["-sS", "--parallel", "--http2", "-w", "%{http_version} %{size_download}\\n", ...urls];
    const result = await runProgram("curl", command, { env: environment() });
    expect(result.stdout, result.stderr).toBe(`2 ${megabytes * 1024 * 1024}\n`.repeat(3));
    const [got, sent] = await Promise.all([readFile(join(folder, "got-2")), readFile(join(folder, "files", "large"))]);
    expect(got.equals(sent)).toBe(true);
  });

  it("python's httpx, told to speak nothing else", async () => {
    const script = [
      "import httpx, ssl",
      `context = ssl.create_default_context(cafile=${JSON.stringify(join(folder, "ca.pem"))})`,
      `with httpx.Client(http1=False, http2=True, proxies=${JSON.stringify(proxy)}, verify=context) as client:`,
      `    for i in range(20): answer = client.get(${JSON.stringify(`https://${target}/hello?httpx`)})`,
      "    print(answer.http_version, answer.status_code, answer.text.strip())",
    ].join("\n");
    const result = await runProgram("/usr/bin/python3", ["-c", script]);
    expect(result.stdout, result.stderr).toMatch(/^HTTP\/2 200 HTTP\/2\.0 Bearer \[redacted\]\**\n$/);
    expect(await seen("/hello?httpx")).toHaveLength(20);
  });

  it("node:http2, with many requests on one connection", async () => {
    const script = `
      const http2 = require("node:http2"), net = require("node:net"), tls = require("node:tls"), fs = require("node:fs");
      const [proxy, target, ca] = process.argv.slice(1);
      const { port, username, password } = new URL(proxy);
      const socket = net.connect(port, "127.0.0.1", () => {
        const basic = Buffer.from(username + ":" + password).toString("base64");
        socket.write("CONNECT " + target + " HTTP/1.1\\r\\nHost: " + target + "\\r\\nProxy-Authorization: Basic " + basic + "\\r\\n\\r\\n");
        socket.once("data", () => {
          const secure = tls.connect({ socket, servername: target.split(":")[0], ca: fs.readFileSync(ca), ALPNProtocols: ["h2"] });
          const session = http2.connect("https://" + target, { createConnection: () => secure });
          let left = 500;
          for (let i = 0; i < 500; i++) {
            const request = session.request({ ":path": "/hello?node" });
            request.on("response", (headers) => { if (headers[":status"] !== 200) console.log(headers); });
            request.resume();
            request.on("end", () => { if (--left === 0) { console.log("done"); session.close(); } });
          }
        });
      });`;
    const result = await runProgram(node, ["-e", script, proxy, target, join(folder, "ca.pem")]);
    expect(result.stdout, result.stderr).toBe("done\n");
    expect(await seen("/hello?node")).toHaveLength(500);
  });

  it("h2load, with a hundred streams on each of four connections", async () => {
    const bridge = await startBridge();
    const { port } = bridge.address() as AddressInfo;
    const command = ["-n", "4000", "-c", "4", "-m", "100", "--header", `:authority: ${target}`];
    const result = await runProgram("h2load", [...command, `https://127.0.0.1:${port}/hello?load`]);
    bridge.close();
    expect(result.stdout, result.stderr).toContain("4000 succeeded, 0 failed, 0 errored");
    expect(await seen("/hello?load")).toHaveLength(4000);
  });
});

/** For a client that knows no proxies: each connection goes on inside of a tunnel. */
async function startBridge(): Promise<Server> {
  const basic = Buffer.from(`${stage.token}:default`).toString("base64");
  const head = `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`;
  const bridge = createServer((client: Socket) => {
    client.pause();
    const tunnel = connect({ host: "127.0.0.1", port: stage.server.proxyPort }, () => tunnel.write(head));
    tunnel.once("data", () => {
      client.pipe(tunnel);
      tunnel.pipe(client);
    });
    for (const socket of [client, tunnel]) {
      socket.on("error", () => socket.destroy());
      socket.on("close", () => (socket === client ? tunnel : client).destroy());
    }
  });
  await new Promise<void>((resolve) => bridge.listen(0, "127.0.0.1", resolve));
  return bridge;
}
