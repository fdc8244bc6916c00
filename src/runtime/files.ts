/** Files that only their owner may read: the data directory, atomic replacement, and the pid file of a server. */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { AppError, Conflict, InvalidInput } from "../errors.ts";
import { isRunning } from "./process.ts";

/** The pid file of a server, in its data directory. One server per home, whatever its port or database. */
export const pidFileName = "agent-vault.pid";

/** Beside it: where this machine reaches the API of that server. */
const addressFileName = "agent-vault.address";

/** The data directory of a home: `~/.agent-vault`. */
export function dataDirectoryOf(home: string): string {
  return join(home, ".agent-vault");
}

/** Creates a directory for its owner alone (0700) and returns its path. @throws {InvalidInput} when it cannot be written. */
export async function openDataDirectory(path: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const { mode } = await stat(path);
    if (process.platform !== "win32" && (mode & 0o077) !== 0) await chmod(path, 0o700);
    return path;
  } catch (cause) {
    throw unusable(path, cause);
  }
}

/** The text of a file, or undefined when there is none. @throws {InvalidInput} when it exists and cannot be read. */
export async function findText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    if (codeOf(cause) === "ENOENT" || codeOf(cause) === "ENOTDIR") return undefined;
    throw new InvalidInput("file_unreadable", `Cannot read ${path}: ${reasonOf(cause)}`, { cause });
  }
}

/**
 * Replaces a file at once: readers see the old content or the new, never a part. The mode holds from the first byte.
 * @throws {InvalidInput} when the directory cannot be written.
 */
export async function writeAtomically(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.chmod(mode);
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw unusable(path, cause);
  }
}

/** Removes a file; false when there was none. */
export async function removeFile(path: string): Promise<boolean> {
  try {
    await rm(path);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return false;
    throw unusable(path, cause);
  }
}

/** What a pid file says. `unreadable`: it is there, and holds no number. */
export type PidFile =
  | { readonly state: "absent" }
  | { readonly state: "unreadable" }
  | { readonly state: "stale"; readonly pid: number }
  | { readonly state: "running"; readonly pid: number };

/** Reads the pid file of a server and looks whether that process lives. */
export async function readPidFile(dataDirectory: string): Promise<PidFile> {
  const text = await findText(join(dataDirectory, pidFileName));
  if (text === undefined) return { state: "absent" };
  const pid = /^\d{1,10}$/.test(text.trim()) ? Number(text.trim()) : 0;
  if (pid <= 0) return { state: "unreadable" };
  return { state: isRunning(pid) ? "running" : "stale", pid };
}

/** Where the server of a data directory says that it is reached; undefined when none has said. */
export async function findServerAddress(dataDirectory: string): Promise<string | undefined> {
  const text = (await findText(join(dataDirectory, addressFileName)))?.trim();
  return text !== undefined && URL.canParse(text) ? text : undefined;
}

/** Holds the pid file of this process; `release` removes it as long as it still names us. */
export interface PidClaim {
  release(): Promise<void>;
}

/**
 * Claims the pid file for this process, once the API port is bound.
 * @param address where this machine reaches the API, for `findServerAddress`
 * @throws {Conflict} `server_running` when another live process holds it.
 */
export async function claimPidFile(dataDirectory: string, address: string, pid = process.pid): Promise<PidClaim> {
  await refuseSecondServer(dataDirectory, pid);
  await openDataDirectory(dataDirectory);
  const path = join(dataDirectory, pidFileName);
  const addressPath = join(dataDirectory, addressFileName);
  await writeAtomically(addressPath, `${address}\n`, 0o600);
  await writeAtomically(path, `${pid}\n`, 0o600);
  return {
    async release() {
      const text = await findText(path);
      if (text?.trim() !== String(pid)) return;
      await removeFile(addressPath);
      await removeFile(path);
    },
  };
}

/** @throws {Conflict} `server_running` when the pid file names a live process other than `self`. */
export async function refuseSecondServer(dataDirectory: string, self = process.pid): Promise<void> {
  const found = await readPidFile(dataDirectory);
  if (found.state !== "running" || found.pid === self) return;
  throw new Conflict("server_running", `A server is already running for this home (PID ${found.pid})`, {
    hint: "agent-vault server stop",
    details: { pid: found.pid },
  });
}

function unusable(path: string, cause: unknown): InvalidInput | AppError {
  if (cause instanceof AppError) return cause;
  return new InvalidInput("file_unwritable", `Cannot write ${path}: ${reasonOf(cause)}`, {
    hint: "check the owner and the permissions of its directory",
    cause,
  });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
  ENOTDIR: "a part of its path is not a directory",
  EISDIR: "it is a directory",
  ENOENT: "no such file or directory",
};

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  return (code && reasons[code]) ?? code ?? "unknown reason";
}
