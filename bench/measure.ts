import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { forgetPeak, memoryKib, processorMs } from "./machine.ts";
import type { Subject, Upstream } from "./subjects.ts";

/** What the load generator says at its end. */
interface LoadReport {
  readonly requests: number;
  readonly errors: number;
  readonly seconds: number;
  readonly bytesIn: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly over35ms: number;
}

export interface Load {
  readonly mode: "warm" | "cold" | "idle" | "bulk";
  readonly path: string;
  readonly connections?: number;
  readonly seconds?: number;
  /** Bytes of an upload. */
  readonly body?: number;
  /** Head and body leave in two writes. */
  readonly isSplit?: boolean;
}

export interface Figures extends LoadReport {
  readonly requestsPerSecond: number;
  /** Processor time of the process in the middle, per request. */
  readonly processorMsPerRequest: number | undefined;
  /** Connections that the upstream accepted during the measurement. */
  readonly upstreamConnections: number;
  /** Resident memory of the process in the middle. */
  readonly memoryBeforeKib: number | undefined;
  readonly memoryReadyKib: number | undefined;
  readonly memoryPeakKib: number | undefined;
}

export class Bench {
  readonly #load: string;
  readonly #upstream: Upstream;

  /** `load` is the compiled load generator. */
  constructor(load: string, upstream: Upstream) {
    this.#load = load;
    this.#upstream = upstream;
  }

  /** Runs one load. `during` is called when all connections stand and before the load begins; its end begins it. */
  async measure(subject: Subject, load: Load, during?: () => Promise<void>): Promise<Figures> {
    const { pid } = subject;
    const memoryBeforeKib = pid === undefined ? undefined : memoryKib(pid).now;
    const run = new LoadRun(this.#load, [...subject.route, ...loadArguments(load)]);
    try {
      await run.ready();
      // Idle memory is read when the dust of the handshakes has settled.
      if (load.mode === "idle") await new Promise((resolve) => setTimeout(resolve, 1_500));
      const memoryReadyKib = pid === undefined ? undefined : memoryKib(pid).now;
      await during?.();
      if (pid !== undefined) forgetPeak(pid);
      const accepted = await this.#upstream.accepted();
      const busyBefore = pid === undefined ? 0 : processorMs(pid);
      const report = await run.finish();
      const busyMs = pid === undefined ? undefined : processorMs(pid) - busyBefore;
      return {
        ...report,
        requestsPerSecond: report.requests / report.seconds,
        processorMsPerRequest: busyMs === undefined ? undefined : busyMs / Math.max(1, report.requests),
        // Asking for the number is a connection, too.
        upstreamConnections: (await this.#upstream.accepted()) - accepted - 1,
        memoryBeforeKib,
        memoryReadyKib,
        memoryPeakKib: pid === undefined ? undefined : memoryKib(pid).peak,
      };
    } finally {
      run.kill();
    }
  }

  /** System calls of the process in the middle per warm request, counted by strace. */
  async systemCalls(subject: Subject, load: Load): Promise<number> {
    if (subject.pid === undefined) throw new Error("There is no process to trace");
    const strace = new Strace();
    const figures = await this.measure(subject, load, () => strace.attach(subject.pid ?? 0));
    const { total, busiest } = await strace.detach();
    console.error(`system calls of ${subject.name} for ${figures.requests} requests: ${total} (${busiest})`);
    return total / figures.requests;
  }
}

/** Counts the system calls of a process and its threads from `attach` to `detach`. */
class Strace {
  #output = "";
  #child: ChildProcess | undefined;

  async attach(pid: number): Promise<void> {
    const child = spawn("strace", ["-f", "-c", "-U", "calls,name", "-p", String(pid)], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.stderr.on("data", (part: Buffer) => {
        this.#output += part.toString();
        if (/attached/.test(this.#output)) resolve();
      });
      child.once("exit", () => reject(new Error(`strace: ${this.#output}`)));
    });
  }

  async detach(): Promise<{ readonly total: number; readonly busiest: string }> {
    const ended = new Promise((resolve) => this.#child?.once("close", resolve));
    this.#child?.kill("SIGINT");
    await ended;
    const rows = [...this.#output.matchAll(/^\s*(\d+)\s+(\w+)$/gm)].map(([, calls, name]) => ({
      calls: Number(calls),
      name,
    }));
    const total = rows.find(({ name }) => name === "total")?.calls;
    if (total === undefined) throw new Error(`strace counted nothing: ${this.#output}`);
    const sorted = rows.filter(({ name }) => name !== "total").sort((a, b) => b.calls - a.calls);
    return {
      total,
      busiest: sorted
        .slice(0, 8)
        .map(({ name, calls }) => `${name} ${calls}`)
        .join(", "),
    };
  }
}

/** One run of the load generator: it stops when it is ready, and goes on when it is told to. */
class LoadRun {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(binary: string, args: readonly string[]) {
    const child = spawn(binary, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async ready(): Promise<void> {
    const line = await this.#next();
    if (line !== "ready") throw new Error(`The load generator said ${line}`);
  }

  async finish(): Promise<LoadReport> {
    this.#child.stdin?.write("go\n");
    return JSON.parse(await this.#next()) as LoadReport;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("The load generator ended early; its reason stands above");
    return value;
  }
}

function loadArguments({ mode, path, connections = 1, seconds = 3, body, isSplit }: Load): readonly string[] {
  const size = body === undefined ? [] : ["--body", String(body)];
  const split = isSplit ? ["--split"] : [];
  const amount = ["--connections", String(connections), "--seconds", String(seconds)];
  return ["--mode", mode, "--path", path, ...amount, ...size, ...split];
}
