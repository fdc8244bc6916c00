/**
 * `npm run bench`: measures the built binary against nginx and mitmproxy on this machine, with the same load and the
 * same upstream, and writes bench/results.json and the table of bench/README.md. Takes about five minutes.
 * Wants a machine that does nothing else: everything shares its cores.
 *
 *   npm run bench -- --peers-only     without the binary, to check the laboratory itself
 *   npm run bench -- --quick          one short round of everything; writes nothing
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureBinary, ensureTestNames } from "../scripts/machine.mjs";
import { TestAuthority } from "../test/support/test-authority.ts";
import { compileLoad, describeMachine, ensureBenchPackages } from "./machine.ts";
import { Bench, type Figures, type Load } from "./measure.ts";
import { type Results, updateReadme } from "./report.ts";
import {
  direct,
  type Laboratory,
  type Subject,
  type SubjectName,
  startAgentVault,
  startMitmproxy,
  startNginxPeer,
  startUpstream,
} from "./subjects.ts";

const { values: flags } = parseArgs({
  options: { "peers-only": { type: "boolean", default: false }, quick: { type: "boolean", default: false } },
});
const rounds = flags.quick ? 1 : 3;
const seconds = flags.quick ? 1 : 3;
const warmUpSeconds = 15;
const mebibyte = 1024 ** 2;

/** Everybody through the same doors; what is only compared with nginx leaves mitmproxy out to save time. */
const loads: readonly {
  readonly key: string;
  readonly load: Load;
  readonly without?: readonly SubjectName[];
  readonly once?: boolean;
  /** Does it once without counting: connections are made and memory is taken the first time, what counts is the next. */
  readonly rehearsed?: boolean;
}[] = [
  { key: "warm1", load: { mode: "warm", path: "/1k", connections: 1, seconds } },
  { key: "warm32", load: { mode: "warm", path: "/1k", connections: 32, seconds } },
  {
    key: "warm256",
    load: { mode: "warm", path: "/1k", connections: 256, seconds },
    once: true,
    rehearsed: true,
    without: ["mitmproxy"],
  },
  { key: "answer64k", load: { mode: "warm", path: "/64k", connections: 32, seconds }, without: ["mitmproxy"] },
  {
    key: "split",
    load: { mode: "warm", path: "/upload/small", connections: 1, seconds, body: 2048, isSplit: true },
    once: true,
  },
  { key: "cold", load: { mode: "cold", path: "/1b", connections: 8, seconds } },
  { key: "down100m", load: { mode: "bulk", path: "/100m" }, rehearsed: true },
  { key: "down1g", load: { mode: "bulk", path: "/1g" }, without: ["mitmproxy"], rehearsed: true },
  {
    key: "up1g",
    load: { mode: "bulk", path: "/upload/large", body: 1024 * mebibyte },
    without: ["mitmproxy"],
    rehearsed: true,
  },
];

// Until the end is reached: a run that stops half way must not look like a good one.
process.exitCode = 1;
const folder = await mkdtemp(join(tmpdir(), "agent-vault-bench-"));
const open: { stop(): Promise<void> }[] = [];
try {
  ensureBenchPackages();
  ensureTestNames();
  if (!flags["peers-only"]) ensureBinary();
  const results = await runAll(compileLoad(folder));
  console.log(JSON.stringify(results, null, 2));
  if (!flags.quick && !flags["peers-only"]) {
    await writeFile(join(import.meta.dirname, "results.json"), `${JSON.stringify(results, null, 2)}\n`);
    await updateReadme(join(import.meta.dirname, "README.md"), results);
  }
  process.exitCode = 0;
} finally {
  for (const running of open.reverse()) await running.stop();
  await rm(folder, { recursive: true, force: true });
}

async function runAll(loadBinary: string): Promise<Results> {
  const authority = await TestAuthority.create();
  const upstream = await keep(startUpstream(folder, authority));
  const laboratory: Laboratory = { folder, authority, upstream };
  const subjects = [direct(laboratory), await keep(startNginxPeer(laboratory)), await keep(startMitmproxy(laboratory))];
  if (!flags["peers-only"]) subjects.push(await keep(startAgentVault(laboratory)));
  const bench = new Bench(loadBinary, upstream);

  // A just-in-time compiler works through its first tens of thousands of requests; "warm" is what comes after.
  const warmUp: Load = { mode: "warm", path: "/1k", connections: 32, seconds: flags.quick ? 1 : warmUpSeconds };
  for (const subject of subjects) await bench.measure(subject, warmUp);

  const figures: Record<string, Partial<Record<SubjectName, Figures>>> = {};
  // Before anything large has passed: memory that is given back meanwhile would be taken for that of the tunnels.
  const brokers = subjects.filter((subject) => subject.pid !== undefined);
  const idle: Partial<Record<SubjectName, Figures>> = {};
  for (const subject of brokers) {
    const connections = subject.name === "mitmproxy" ? 100 : 1000;
    idle[subject.name] = await bench.measure(subject, { mode: "idle", path: "/1b", connections });
  }
  figures.idle = idle;
  for (const { key, load, without = [], once = false, rehearsed = false } of loads) {
    const taking = subjects.filter((subject) => !without.includes(subject.name));
    const first: Partial<Record<SubjectName, Figures>> = {};
    if (rehearsed) for (const subject of taking) first[subject.name] = await bench.measure(subject, load);
    if (rehearsed) figures[`${key}First`] = first;
    figures[key] = await measureRounds(bench, taking, load, once ? 1 : rounds);
    say(key, figures[key]);
  }
  for (const subject of subjects.filter(({ setScrub }) => setScrub !== undefined)) {
    await subject.setScrub?.("redact");
    for (const { key, load } of loads.filter(({ key }) => key === "warm32" || key === "answer64k")) {
      await bench.measure(subject, load);
      figures[`${key}Scrubbed`] = await measureRounds(bench, [subject], load, rounds);
    }
    await subject.setScrub?.("off");
  }
  const systemCalls: Partial<Record<SubjectName, number>> = {};
  for (const subject of brokers) {
    if (subject.name !== "mitmproxy") {
      systemCalls[subject.name] = await bench.systemCalls(subject, {
        mode: "warm",
        path: "/1k",
        connections: 32,
        seconds,
      });
    }
  }
  return { takenAt: new Date().toISOString(), machine: describeMachine(), rounds, figures, systemCalls };
}

/** In each round everybody has a turn, so that a busy minute of the machine hits all; the median round counts. */
async function measureRounds(
  bench: Bench,
  subjects: readonly Subject[],
  load: Load,
  times: number,
): Promise<Partial<Record<SubjectName, Figures>>> {
  const taken = new Map<SubjectName, Figures[]>(subjects.map(({ name }) => [name, []]));
  for (let round = 0; round < times; round++) {
    for (const subject of subjects) taken.get(subject.name)?.push(await bench.measure(subject, load));
  }
  return Object.fromEntries([...taken].map(([name, figures]) => [name, median(figures)]));
}

/** The round whose processor time per request (or, without a process, whose rate) is in the middle. */
function median(figures: readonly Figures[]): Figures {
  const order = (one: Figures) => one.processorMsPerRequest ?? one.requestsPerSecond;
  const sorted = [...figures].sort((a, b) => order(a) - order(b));
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("No round was measured");
  return middle;
}

async function keep<T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const started = await starting;
  open.push(started);
  return started;
}

function say(key: string, figures: Partial<Record<SubjectName, Figures>>): void {
  const words = Object.entries(figures).map(([name, one]) => {
    const each = one.processorMsPerRequest === undefined ? "" : ` ${one.processorMsPerRequest.toFixed(4)} ms`;
    const errors = one.errors > 0 ? ` ${one.errors} ERRORS` : "";
    return `${name} ${one.requestsPerSecond.toFixed(0)}/s${each} p50 ${one.p50Us} p99 ${one.p99Us} µs${errors}`;
  });
  console.error(`${key.padEnd(10)} ${words.join(" | ")}`);
}
