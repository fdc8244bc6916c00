import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { childrenOf } from "./machine.ts";

export interface Nginx {
  /** The one worker, which does all the work. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** Runs an nginx of its own in `folder` with the given contents of the `http` block, until `port` accepts. */
export async function startNginx(folder: string, port: number, http: string): Promise<Nginx> {
  for (const part of ["", "client", "proxy", "other"]) await mkdir(join(folder, part), { recursive: true });
  const temporary = (name: string, where: string) => `${name}_temp_path ${join(folder, where)};`;
  const configuration = `
    ${process.getuid?.() === 0 ? "user root;" : ""}
    worker_processes 1;
    pid ${join(folder, "nginx.pid")};
    error_log ${join(folder, "error.log")} warn;
    daemon off;
    events { worker_connections 8192; }
    http {
      access_log off;
      tcp_nodelay on;
      keepalive_timeout 600s;
      keepalive_requests 1000000000;
      client_max_body_size 0;
      ssl_session_tickets off;
      ssl_session_cache off;
      ${temporary("client_body", "client")}
      ${temporary("proxy", "proxy")}
      ${["fastcgi", "uwsgi", "scgi"].map((name) => temporary(name, "other")).join("\n")}
      ${http}
    }`;
  const file = join(folder, "nginx.conf");
  await writeFile(file, configuration);
  const errorLog = join(folder, "error.log");
  const child = spawn("nginx", ["-p", folder, "-c", file, "-e", errorLog], {
    stdio: ["ignore", "inherit", "inherit"],
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  await untilListening(port, child, "nginx");
  const [worker] = childrenOf(child.pid ?? 0);
  if (worker === undefined) throw new Error("nginx has no worker");
  return { pid: worker, stop: () => stopProcess(child) };
}

/** @throws {Error} if the process ends first, or after 15 s. */
export async function untilListening(port: number, child: ChildProcess, what: string): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`${what} ended with ${child.exitCode}`);
    if (Date.now() > deadline) throw new Error(`${what} does not listen on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await gone;
  clearTimeout(timer);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => socket.destroy());
    socket.once("error", () => resolve(false));
    socket.once("close", (hadError) => resolve(!hadError));
  });
}
