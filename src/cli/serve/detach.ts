/** A server in the background: started, watched until it answers, and left alone. */
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { localUrl } from "../../config.ts";
import { Conflict, InvalidInput } from "../../errors.ts";
import { openDataDirectory, readPidFile } from "../../runtime/files.ts";
import { type ChildEnd, type Environment, exitCodeOf, pause, startDetached } from "../../runtime/process.ts";
import type { CliContext } from "../command.ts";
import { anonymousClient } from "../connect.ts";
import { note, success } from "../output.ts";

/** Tells a child that it is the detached server, and that its standard input carries a `Handover`. */
export const detachedMark = "_AGENT_VAULT_DETACHED";
const logName = "server.log";
/** Migrating a large database and deriving a key take their time. */
const healthLimitMs = 15_000;

/** The secrets of a detached server: one line of JSON on its standard input, in no environment and no argument. */
export interface Handover {
  /** Absent for a server without a master password. */
  readonly masterPassword?: string | undefined;
  readonly smtpPassword?: string | undefined;
}

export interface DetachOptions {
  readonly dataDirectory: string;
  /** Flags of `server`, without `--detach` and the database URL. */
  readonly args: readonly string[];
  readonly environment: Environment;
  readonly handover: Handover;
  /** Where the server will listen. */
  readonly host: string;
  readonly port: number;
}

/**
 * Starts the server in a session of its own and waits until it answers. Passwords go through a pipe, so
 * that no list of processes and no environment ever holds it.
 * @throws {Conflict} with the last line of its log when it ends first.
 */
export async function detach(context: CliContext, options: DetachOptions): Promise<void> {
  const logFile = join(await openDataDirectory(options.dataDirectory), logName);
  const begin = sizeOf(logFile);
  const log = openLog(logFile);
  const child = await startDetached({
    args: ["server", ...options.args],
    environment: { ...options.environment, [detachedMark]: "1" },
    input: `${JSON.stringify(options.handover)}\n`,
    output: log,
  });
  closeSync(log);
  const client = anonymousClient(localUrl(options.host, options.port));
  for (const end = Date.now() + healthLimitMs; Date.now() < end; ) {
    const ended = child.end();
    if (ended) throw startFailed(ended, logFile, begin);
    const isHealthy = await client.health().then(
      () => true,
      () => false,
    );
    // Something else may answer on a port that the child could not have; only a child that claimed its pid file counts.
    const claimed = isHealthy ? await readPidFile(options.dataDirectory) : undefined;
    if (claimed?.state === "running" && claimed.pid === child.pid && child.end() === undefined) {
      success(context.terminal, `Server started (PID ${child.pid}), ${client.address}`);
      note(context.terminal, `Its log is ${logFile}`);
      child.leave();
      return;
    }
    await pause(100);
  }
  child.leave();
  throw new Conflict("start_slow", `The server (PID ${child.pid}) does not answer yet; it may still come up`, {
    hint: `look into ${logFile}`,
  });
}

function openLog(file: string): number {
  try {
    return openSync(file, "a", 0o600);
  } catch (cause) {
    throw new InvalidInput("log_unwritable", `Cannot write ${file}`, {
      hint: "check its owner and permissions",
      cause,
    });
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function startFailed(end: ChildEnd, logFile: string, begin: number): Conflict {
  const said = readFileSync(logFile).subarray(begin).toString("utf8");
  const lines = said.split("\n").filter((line) => line.trim() !== "");
  const error = lines.find((line) => line.startsWith("error: "))?.slice("error: ".length) ?? lines.at(-1);
  const hint = lines
    .find((line) => line.startsWith("try: "))
    ?.slice("try: ".length)
    .trim();
  return new Conflict("start_failed", `The server ended at its start: ${error ?? `exit code ${exitCodeOf(end)}`}`, {
    hint: hint ?? `look into ${logFile}`,
  });
}
