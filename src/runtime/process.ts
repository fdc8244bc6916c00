/** Processes of this machine: is it alive, is it ours, start one and share its fate, take a secret from the environment. */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { isInsideBinary } from "./build-info.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Does a process with this id live? One that we may not signal counts. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** A dead child whose parent has not collected it (a container without an init) still answers signal 0. */
function isZombie(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false; // no /proc on this system: signal 0 has spoken
  }
}

/**
 * Is this process a server of ours? Process ids are reused, and a stale pid file must not make us signal a stranger.
 * Undefined when the system does not tell.
 */
export function isOurServer(pid: number): boolean | undefined {
  let words: string[];
  try {
    words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return undefined;
  }
  const isNamed = words.slice(0, 4).some((word) => /^(agent-vault|main\.ts)/.test(basename(word)));
  const isSelf = words[0] !== undefined && basename(words[0]) === basename(process.execPath);
  return words.includes("server") && (isNamed || isSelf);
}

/** How many files and sockets this process may have open at once; undefined where the system does not tell. */
export function openFileLimit(): number | undefined {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return found ? Number(found[1]) : undefined;
  } catch {
    return undefined;
  }
}

/** Descriptors that are open now; undefined where the system does not count them for the asking. */
export function openFiles(): number | undefined {
  try {
    // Since Linux 6.2 the size of the folder is the number of its entries.
    return statSync("/proc/self/fd").size || undefined;
  } catch {
    return undefined;
  }
}

/** How to start this program again: the compiled binary alone, or the runtime with its script. */
export function ownCommand(): readonly [string, ...string[]] {
  const script = process.argv[1];
  const isCompiled = script === undefined || isInsideBinary(script);
  if (isCompiled) return [process.execPath];
  return "Deno" in globalThis ? [process.execPath, "run", "-A", script] : [process.execPath, script];
}

/** Reads a variable and takes it out of this process's environment, so that no child and no dump of it holds the value. */
export function takeFromEnvironment(name: string): string | undefined {
  const value = process.env[name];
  delete process.env[name];
  return value === undefined || value === "" ? undefined : value;
}

/** What a shell would start for this word: an absolute path, or undefined when there is nothing executable. */
export function findCommand(word: string, environment: Environment): string | undefined {
  if (word.includes("/")) return isExecutable(resolve(word)) ? resolve(word) : undefined;
  for (const directory of (environment.PATH ?? "").split(delimiter)) {
    const candidate = resolve(directory || ".", word);
    if (isExecutable(candidate)) return candidate;
    const windows = process.platform === "win32" ? `${candidate}.exe` : undefined;
    if (windows && isExecutable(windows)) return windows;
  }
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // absent, or not for us: the same answer
  }
}

/**
 * Hands a text to a program's standard input, without showing what it prints. False when it cannot be started, fails,
 * or takes longer than two seconds. Clipboard programs stay in the background and keep no pipe of ours.
 */
export function pipeInto({ command, args, environment }: ChildOptions, text: string): Promise<boolean> {
  return new Promise((done) => {
    const child = spawn(command, args, { env: { ...environment }, stdio: ["pipe", "ignore", "ignore"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), 2_000);
    const finish = (isGood: boolean) => {
      clearTimeout(timer);
      done(isGood);
    };
    child.once("error", () => finish(false));
    child.once("exit", (code) => finish(code === 0));
    child.stdin.on("error", () => undefined); // its exit code tells
    child.stdin.end(text);
  });
}

export interface Captured {
  /** Undefined when it could not be started, or ran out of time. */
  readonly code: number | undefined;
  /** Both streams. */
  readonly output: string;
}

/** Runs a program without input and collects what it prints, up to 64 KiB. Killed after `timeoutMs`. */
export function capture(
  { command, args, environment }: ChildOptions,
  { timeoutMs, workingDirectory }: { readonly timeoutMs: number; readonly workingDirectory?: string },
): Promise<Captured> {
  return new Promise((done) => {
    const child = spawn(command, args, {
      env: { ...environment },
      stdio: ["ignore", "pipe", "pipe"],
      ...(workingDirectory === undefined ? {} : { cwd: workingDirectory }),
    });
    let output = "";
    const collect = (chunk: Buffer) => {
      if (output.length < 65_536) output += chunk.toString("utf8");
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    const finish = (code: number | undefined) => {
      clearTimeout(timer);
      done({ code, output });
    };
    child.once("error", () => finish(undefined));
    child.once("close", (code, signal) => finish(signal ? undefined : (code ?? undefined)));
  });
}

export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Environment;
}

/** How a child ended: its exit code, or the signal that killed it. */
export type ChildEnd = { readonly code: number } | { readonly signal: NodeJS.Signals };

/** A shell's exit code for it: 128 and the number of the signal. */
export function exitCodeOf(end: ChildEnd): number {
  return "code" in end ? end.code : 128 + (osConstants.signals[end.signal] ?? 0);
}

/** The terminal sends these to the whole foreground group, so the child has them already. */
const fromTerminal: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT", "SIGWINCH"];
const forwarded: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGCONT", "SIGUSR1", "SIGUSR2"];

/**
 * Runs a command on our standard streams until it ends, and passes signals on. Ctrl-Z stops both, as they share a
 * process group. @throws {Error} with the system's `code` when it cannot be started.
 */
export function runChild({ command, args, environment }: ChildOptions): Promise<ChildEnd> {
  return new Promise((resolveEnd, reject) => {
    const isForeground = process.stdin.isTTY === true;
    const handlers = new Map<NodeJS.Signals, () => void>();
    const release = () => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
    };
    // Before the child is there: a signal that comes right after its start must not end us and leave it alone.
    for (const signal of [...fromTerminal, ...forwarded]) {
      const isDelivered = isForeground && fromTerminal.includes(signal);
      const handler = () => void (isDelivered || child?.kill(signal));
      handlers.set(signal, handler);
      process.on(signal, handler);
    }
    let child: ChildProcess | undefined;
    try {
      child = spawn(command, [...args], { stdio: "inherit", env: { ...environment } });
    } catch (error) {
      release();
      throw error;
    }
    child.once("error", (error) => {
      release();
      reject(error);
    });
    child.once("exit", (code, signal) => {
      release();
      resolveEnd(signal ? { signal } : { code: code ?? 1 });
    });
  });
}

export interface DetachedOptions {
  readonly args: readonly string[];
  readonly environment: Environment;
  /** Written to the child's standard input, which is then closed: the way for what must not be in argv or environ. */
  readonly input: string;
  /** Descriptor that receives what it prints. */
  readonly output: number;
}

export interface DetachedChild {
  readonly pid: number;
  /** Set once the child has ended. */
  readonly end: () => ChildEnd | undefined;
  /** Lets this process end while the child goes on. */
  leave(): void;
}

/** Starts this program again in a session of its own. */
export async function startDetached({ args, environment, input, output }: DetachedOptions): Promise<DetachedChild> {
  const [command, ...before] = ownCommand();
  const child = spawn(command, [...before, ...args], {
    detached: true,
    env: { ...environment },
    stdio: ["pipe", output, output],
  });
  let end: ChildEnd | undefined;
  child.once("exit", (code, signal) => {
    end = signal ? { signal } : { code: code ?? 1 };
  });
  await new Promise<void>((started, failed) => {
    child.once("spawn", started);
    child.once("error", failed);
  });
  // A child that died at once closes its pipe; its exit code tells the story better than EPIPE.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  return { pid: child.pid ?? 0, end: () => end, leave: () => child.unref() };
}

/** Resolves after `ms`. */
export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** Where the system keeps its root certificates, most common first; the first that exists is used. */
export const systemRootFiles: readonly string[] = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
  join("/", "opt", "homebrew", "etc", "ca-certificates", "cert.pem"),
];
