import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { ensurePackages, isOnPath } from "../scripts/machine.mjs";

/** Installs what the benchmark measures with and against. */
export function ensureBenchPackages(): void {
  ensurePackages({
    gcc: () => isOnPath("gcc"),
    "libc6-dev": () => spawnSync("gcc", ["-E", "-include", "stdio.h", "-x", "c", "/dev/null"]).status === 0,
    "libssl-dev": () => spawnSync("gcc", ["-E", "-include", "openssl/ssl.h", "-x", "c", "/dev/null"]).status === 0,
    mitmproxy: () => isOnPath("mitmdump"),
    nginx: () => isOnPath("nginx"),
    strace: () => isOnPath("strace"),
  });
}

/** Compiles the load generator into `folder` and returns its path. */
export function compileLoad(folder: string): string {
  const binary = join(folder, "load");
  const warnings = ["-Wall", "-Wextra", "-Wno-implicit-fallthrough"];
  execFileSync("gcc", ["-O2", ...warnings, "-o", binary, join(import.meta.dirname, "load.c"), "-lssl", "-lcrypto"]);
  return binary;
}

/** Processor time that a process used so far, user and system, all its threads, in milliseconds (steps of 10). */
export function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The second field is a name in parentheses, which may hold spaces; times are fields 14 and 15, in ticks of 10 ms.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Resident memory now and its highest value since `forgetPeak`, in KiB. */
export function memoryKib(pid: number): { readonly now: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
  return { now: field("VmRSS"), peak: field("VmHWM") };
}

export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

export function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").filter(Boolean).map(Number);
}

/** What the figures were taken on, for the report. */
export function describeMachine(): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 1024 ** 3);
  return `${cpus().length} × ${cpu?.model.trim() ?? "unknown processor"}, ${memory} GiB, Linux ${release()}`;
}
