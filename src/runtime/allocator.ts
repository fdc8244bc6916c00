import { ownCommand } from "./process.ts";

/** The option of the allocator that Bun is built with (mimalloc): milliseconds before freed memory goes back. */
export const purgeDelayName = "MIMALLOC_PURGE_DELAY";
const purgeDelayMs = 10_000;

/**
 * Starts this process again, in place and with the same process id, with an allocator that keeps freed memory for ten
 * seconds. By default it gives memory back after a few milliseconds, and a busy proxy takes it again in the next: page
 * faults and `madvise` for nothing, a twelfth of the processor time of a request. The allocator reads its options before
 * any of our code runs, so that this is the only way to set one.
 *
 * Does nothing where the option is set already, on other runtimes, and where a process cannot be replaced (Windows).
 * Call it before anything was opened or read.
 */
export function keepFreedMemory(words: readonly string[]): void {
  const { execve } = process as { execve?: (file: string, args: readonly string[], env: NodeJS.ProcessEnv) => never };
  const isOurs = "Bun" in globalThis && process.platform !== "win32" && process.env[purgeDelayName] === undefined;
  if (!isOurs || execve === undefined) return;
  const [file, ...script] = ownCommand();
  try {
    // The binary would take the words of BUN_OPTIONS, which are inherited anyway, for its own.
    const options = script.length > 0 ? process.execArgv : [];
    execve(file, [file, ...options, ...script, ...words], {
      ...process.env,
      [purgeDelayName]: String(purgeDelayMs),
    });
  } catch {
    // A sandbox may forbid it: then the server only needs a little more of the processor.
  }
}
