import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "./binary.ts";

/** A proxy that others wrote, as Debian packages it, with a login. */
export interface PackagedProxy extends AsyncDisposable {
  readonly port: number;
  /** What it wrote about what it did. */
  log(): string;
}

export const proxyLogin = { user: "corp", password: "pr0xy-s3cret" } as const;

/** tinyproxy: HTTP, with Basic authentication. */
export async function startTinyproxy(): Promise<PackagedProxy> {
  const folder = await mkdtemp(join(tmpdir(), "agent-vault-tinyproxy-"));
  const [port] = await freePorts();
  const file = join(folder, "tinyproxy.conf");
  const login = `BasicAuth ${proxyLogin.user} ${proxyLogin.password}`;
  await writeFile(file, ["Listen 127.0.0.1", `Port ${port}`, login, "LogLevel Connect", "Timeout 60", ""].join("\n"));
  return await started(spawn("tinyproxy", ["-d", "-c", file]), port, folder);
}

/** microsocks: SOCKS5, with user and password. */
export async function startMicrosocks(): Promise<PackagedProxy> {
  const [port] = await freePorts();
  const login = ["-u", proxyLogin.user, "-P", proxyLogin.password];
  return await started(spawn("microsocks", ["-i", "127.0.0.1", "-p", String(port), ...login]), port);
}

async function started(child: ChildProcess, port: number, folder?: string): Promise<PackagedProxy> {
  let log = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      log += chunk.toString();
    });
  }
  await untilListening(child, port);
  return {
    port,
    log: () => log,
    [Symbol.asyncDispose]: async () => {
      const ended = child.exitCode === null ? once(child, "exit") : undefined;
      child.kill();
      await ended;
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

async function untilListening(child: ChildProcess, port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`);
    const socket = connect({ host: "127.0.0.1", port });
    const isUp = await Promise.race([
      once(socket, "connect").then(
        () => true,
        () => false,
      ),
      once(socket, "error").then(() => false),
    ]);
    socket.destroy();
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${child.spawnfile} does not listen`);
}
