/** The server of this home, seen from outside: is it there, is it well, stop it. */
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { Conflict, InvalidInput, NotFound } from "../../errors.ts";
import { dataDirectoryOf, findServerAddress, pidFileName, readPidFile, removeFile } from "../../runtime/files.ts";
import { isOurServer, isRunning, pause } from "../../runtime/process.ts";
import type { CliContext } from "../command.ts";
import { anonymousClient, resolveAddress } from "../connect.ts";
import { success } from "../output.ts";

const stopLimitMs = 10_000;

/**
 * Asks the server to stop and waits until it has.
 * @throws {NotFound} when none runs; {Conflict} when the pid file names a stranger, or the server does not end.
 */
export async function stopServer(context: CliContext): Promise<void> {
  const directory = dataDirectoryOf(context.home);
  const file = join(directory, pidFileName);
  const found = await readPidFile(directory);
  if (found.state === "absent") {
    throw new NotFound("server_not_running", "No server of this home is running", { hint: "agent-vault server -d" });
  }
  if (found.state === "unreadable") {
    throw new InvalidInput("pid_file_damaged", `${file} does not hold a process id`, {
      hint: "remove it once no server runs",
    });
  }
  if (found.state === "stale") {
    await removeFile(file);
    throw new NotFound(
      "server_not_running",
      `No server of this home is running; PID ${found.pid} had ended and its file is removed`,
    );
  }
  if (isOurServer(found.pid) === false) {
    await removeFile(file);
    throw new Conflict(
      "pid_reused",
      `PID ${found.pid} is another program now, so it was left alone and the stale file is removed`,
    );
  }
  context.terminal.err(`Stopping the server (PID ${found.pid}) …\n`);
  signal(found.pid);
  for (const end = Date.now() + stopLimitMs; Date.now() < end; ) {
    await pause(50);
    if (!isRunning(found.pid)) return success(context.terminal, "Server stopped");
  }
  throw new Conflict(
    "server_still_running",
    `The server (PID ${found.pid}) has not ended after ${stopLimitMs / 1000} s`,
    {
      hint: `kill -9 ${found.pid}`,
    },
  );
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (cause) {
    throw new Conflict("server_not_ours", `PID ${pid} belongs to another user`, {
      hint: "stop it as that user",
      cause,
    });
  }
}

export interface FoundServer {
  readonly running: boolean;
  readonly pid?: number;
  readonly address?: string;
  readonly healthy?: boolean;
  /** The root certificate that agents trust, while it runs with its proxy. RFC 3339. */
  readonly root_expires_at?: string;
}

export async function findServer(context: CliContext): Promise<FoundServer> {
  const directory = dataDirectoryOf(context.home);
  const found = await readPidFile(directory);
  if (found.state !== "running" || isOurServer(found.pid) === false) return { running: false };
  const address = (await findServerAddress(directory)) ?? (await resolveAddress(context, undefined));
  const client = anonymousClient(address);
  const healthy = await client.health().then(
    () => true,
    () => false,
  );
  const root = healthy ? await client.proxyAuthority().catch(() => undefined) : undefined;
  return {
    running: true,
    pid: found.pid,
    address,
    healthy,
    ...(root && { root_expires_at: new Date(new X509Certificate(root.pem).validTo).toISOString() }),
  };
}
