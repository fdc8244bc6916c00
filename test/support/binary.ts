import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** dist/agent-vault, or what AGENT_VAULT_TEST_BINARY names (another build, or one of another platform). */
export const binaryPath =
  process.env.AGENT_VAULT_TEST_BINARY ?? join(import.meta.dirname, "..", "..", "dist", "agent-vault");

export interface RunOptions {
  /** Added to a minimal environment (PATH, HOME, LANG); nothing is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly cwd?: string;
  /** Kills the program after this time. */
  readonly timeoutMs?: number;
}

export interface RunResult {
  /** `null` when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the built binary to its end. @throws {Error} if it was never built. */
export async function runBinary(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return runProgram(requireBinary(), args, options);
}

/** Runs any program with the same minimal environment, to its end. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const child = spawn(command, args, {
    cwd: options.cwd ?? tmpdir(),
    env: minimalEnvironment(options.env),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  // A program that exits without reading its input closes the pipe: not our failure.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.stdin ?? "");
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 30_000);
  try {
    const { code, signal } = await ended(child);
    return { code, signal, stdout: stdout(), stderr: stderr() };
  } finally {
    clearTimeout(timer);
  }
}

/** As `runBinary`, for commands that must succeed. @returns standard output. @throws {Error} with everything it said. */
export async function mustRunBinary(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await runBinary(args, options);
  if (result.code !== 0) {
    throw new Error(
      `agent-vault ${args.join(" ")} ended with ${result.code ?? result.signal}:\n${result.stdout}${result.stderr}`,
    );
  }
  return result.stdout;
}

/** A server in the foreground on free ports, with a home of its own that goes when it stops. */
export interface BinaryServer extends AsyncDisposable {
  readonly home: string;
  readonly pid: number;
  readonly apiUrl: string;
  readonly apiPort: number;
  readonly proxyPort: number;
  /** Environment of a command line that belongs to this server: its home, and `extra`. */
  env(extra?: Readonly<Record<string, string>>): Record<string, string>;
  /** Runs the binary as a client of this server; throws unless it succeeds. Returns standard output. */
  cli(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Runs the binary as a client of this server, whatever comes of it. */
  run(args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Calls the API with the token of the person who logged in last from this home. */
  api(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Everything the server wrote so far, both streams. */
  log(): string;
  /** Sends SIGTERM and waits. Removes the home unless it was given. Twice is fine. */
  stop(): Promise<RunResult>;
}

export interface ServerOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** A home that outlives the server, for a second start on the same data. */
  readonly home?: string;
  /** More arguments of `server`. */
  readonly args?: readonly string[];
  readonly cwd?: string;
  /** How many files and sockets the system lets it open. */
  readonly maxOpenFiles?: number;
}

/** Starts the built binary and waits until `/health` answers. @throws {Error} with its output if it does not. */
export async function startBinaryServer(options: ServerOptions = {}): Promise<BinaryServer> {
  const home = options.home ?? (await mkdtemp(join(tmpdir(), "agent-vault-home-")));
  await mkdir(home, { recursive: true });
  const [apiPort, proxyPort] = await freePorts();
  const ports = ["--host", "127.0.0.1", "--port", String(apiPort), "--mitm-port", String(proxyPort)];
  const limit = options.maxOpenFiles === undefined ? "" : `ulimit -n ${options.maxOpenFiles}; `;
  const command = [requireBinary(), "server", ...ports, ...(options.args ?? [])];
  const child = spawn("sh", ["-c", `${limit}exec "$@"`, "sh", ...command], {
    cwd: options.cwd ?? home,
    env: minimalEnvironment({ HOME: home, AGENT_VAULT_MASTER_PASSWORD: "correct-horse-battery", ...options.env }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const end = ended(child);
  const apiUrl = `http://127.0.0.1:${apiPort}`;
  const log = () => stdout() + stderr();
  await untilHealthy(apiUrl, child, log);

  const env = (extra: Readonly<Record<string, string>> = {}) => ({ HOME: home, AGENT_VAULT_ADDR: apiUrl, ...extra });
  const withHome = (run: RunOptions = {}): RunOptions => ({ ...run, env: env(run.env) });
  const stop = async (): Promise<RunResult> => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
    const { code, signal } = await end;
    clearTimeout(timer);
    if (options.home === undefined) await rm(home, { recursive: true, force: true });
    return { code, signal, stdout: stdout(), stderr: stderr() };
  };
  return {
    home,
    pid: child.pid ?? 0,
    apiUrl,
    apiPort,
    proxyPort,
    env,
    cli: (args, run) => mustRunBinary(args, withHome(run)),
    run: (args, run) => runBinary(args, withHome(run)),
    api: (method, path, body) => callApi(apiUrl, home, { method, path, body }),
    log,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

/** Two ports that were free a moment ago. */
export async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()] as const;
  const listen = (server: (typeof servers)[number]) =>
    new Promise<number>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", () => {
        const address = server.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  const ports = [await listen(servers[0]), await listen(servers[1])] as [number, number];
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function requireBinary(): string {
  if (!existsSync(binaryPath)) throw new Error(`${binaryPath} is not there: npm run build makes it`);
  return binaryPath;
}

function minimalEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: tmpdir(), LANG: "C.UTF-8", ...extra };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const parts: Buffer[] = [];
  stream.on("data", (part: Buffer) => parts.push(part));
  return () => Buffer.concat(parts).toString("utf8");
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
}

async function untilHealthy(apiUrl: string, child: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`The server ended at its start:\n${log()}`);
    const isHealthy = await fetch(`${apiUrl}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (isHealthy) return;
    if (Date.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`No /health within 20 s:\n${log()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function callApi(
  apiUrl: string,
  home: string,
  call: { readonly method: string; readonly path: string; readonly body: unknown },
): Promise<unknown> {
  const session = JSON.parse(await readFile(join(home, ".agent-vault", "session.json"), "utf8")) as { token: string };
  const response = await fetch(`${apiUrl}${call.path}`, {
    method: call.method,
    headers: { authorization: `Bearer ${session.token}`, "content-type": "application/json" },
    ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${call.method} ${call.path}: ${response.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}
