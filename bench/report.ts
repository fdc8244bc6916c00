import { readFile, writeFile } from "node:fs/promises";
import type { Figures } from "./measure.ts";
import type { SubjectName } from "./subjects.ts";

export interface Results {
  /** RFC 3339. */
  readonly takenAt: string;
  readonly machine: string;
  readonly rounds: number;
  /** By measurement (see `loads` in run.ts, and `idle`), then by subject. */
  readonly figures: Readonly<Record<string, Partial<Record<SubjectName, Figures>>>>;
  readonly systemCalls: Partial<Record<SubjectName, number>>;
}

const start = "<!-- table:start -->";
const end = "<!-- table:end -->";
const order: readonly SubjectName[] = ["agent-vault", "nginx", "mitmproxy", "direct"];
const mebibyte = 1024 ** 2;

interface Row {
  readonly what: string;
  readonly value: (name: SubjectName) => number | undefined;
  readonly digits: number;
  /** What to reach, in words, and whether it was. */
  readonly goal?: { readonly text: string; readonly isReached: () => boolean };
}

/** Puts the table of these results between the two markers of the page. */
export async function updateReadme(path: string, results: Results): Promise<void> {
  const page = await readFile(path, "utf8");
  const [before, rest] = split(page, start);
  const [, after] = split(rest, end);
  await writeFile(path, `${before}${start}\n\n${renderTable(results)}\n${end}${after}`);
}

export function renderTable(results: Results): string {
  const header = ["", ...order, "÷ nginx", "÷ mitmproxy", "goal", ""];
  const lines = rowsOf(results).map((row) => {
    const ours = row.value("agent-vault");
    const ratio = (peer: SubjectName) => format(divide(ours, row.value(peer)), 2);
    const cells = order.map((name) => format(row.value(name), row.digits));
    const verdict = row.goal === undefined ? "" : row.goal.isReached() ? "reached" : "**missed**";
    return [row.what, ...cells, ratio("nginx"), ratio("mitmproxy"), row.goal?.text ?? "", verdict];
  });
  const table = [header, ["---", ...order.map(() => "---:"), "---:", "---:", "---", "---"], ...lines];
  const taken = `Taken ${results.takenAt.slice(0, 16).replace("T", " ")} UTC on ${results.machine}; median of ${results.rounds} rounds.`;
  return `${taken}\n\n${table.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}\n`;
}

function rowsOf({ figures, systemCalls }: Results): readonly Row[] {
  const of = (key: string, name: SubjectName) => figures[key]?.[name];
  const processor = (key: string) => (name: SubjectName) => of(key, name)?.processorMsPerRequest;
  const rate = (key: string) => (name: SubjectName) => of(key, name)?.requestsPerSecond;
  const mebibytes = (key: string, bytes: number) => (name: SubjectName) =>
    divide(bytes / mebibyte, of(key, name)?.seconds);
  const taken = (key: string) => (name: SubjectName) => {
    const one = of(`${key}First`, name);
    return subtract(one?.memoryPeakKib, one?.memoryReadyKib, 1024);
  };
  /** Beyond the highest that the same transfer needed the first time: what grows with the bytes that pass. */
  const grown = (key: string) => (name: SubjectName) =>
    subtract(of(key, name)?.memoryPeakKib, of(`${key}First`, name)?.memoryPeakKib, 1024);
  const added = (key: string, field: "p50Us" | "p99Us") => (name: SubjectName) =>
    name === "direct" ? undefined : subtract(of(key, name)?.[field], of(key, "direct")?.[field], 1000);
  const perTunnel = (name: SubjectName) => {
    const one = of("idle", name);
    const tunnels = name === "mitmproxy" ? 100 : 1000;
    return subtract(one?.memoryReadyKib, one?.memoryBeforeKib, tunnels);
  };
  const fresh = (key: string) => (name: SubjectName) =>
    name === "direct" ? undefined : divide(of(key, name)?.upstreamConnections, of(key, name)?.requests);
  const atMost = (value: (name: SubjectName) => number | undefined, limit: number) => () =>
    (value("agent-vault") ?? Infinity) <= limit;
  const timesNginx = (value: (name: SubjectName) => number | undefined, factor: number) => () =>
    (value("agent-vault") ?? Infinity) <= factor * (value("nginx") ?? 0);

  return [
    {
      what: "Processor time per warm request, 32 tunnels, ms",
      value: processor("warm32"),
      digits: 4,
      goal: { text: "≤ 1.5 × nginx", isReached: timesNginx(processor("warm32"), 1.5) },
    },
    {
      what: "Requests/s, 32 tunnels",
      value: rate("warm32"),
      digits: 0,
      goal: {
        text: "≥ 10 × mitmproxy",
        isReached: () => (rate("warm32")("agent-vault") ?? 0) >= 10 * (rate("warm32")("mitmproxy") ?? Infinity),
      },
    },
    {
      what: "Processor time per warm request with scrubbing, ms",
      value: (name) => processor(name === "agent-vault" ? "warm32Scrubbed" : "warm32")(name),
      digits: 4,
    },
    { what: "Requests/s, 1 tunnel", value: rate("warm1"), digits: 0 },
    {
      what: "p50 added over direct, 1 tunnel, ms",
      value: added("warm1", "p50Us"),
      digits: 3,
      goal: { text: "≤ 0.15 ms", isReached: atMost(added("warm1", "p50Us"), 0.15) },
    },
    { what: "p99 added over direct, 1 tunnel, ms", value: added("warm1", "p99Us"), digits: 3 },
    { what: "p50 added over direct, 32 tunnels, ms", value: added("warm32", "p50Us"), digits: 3 },
    { what: "p99 added over direct, 32 tunnels, ms", value: added("warm32", "p99Us"), digits: 3 },
    {
      what: "System calls per warm request",
      value: (name) => systemCalls[name],
      digits: 2,
      goal: { text: "≤ 6", isReached: () => (systemCalls["agent-vault"] ?? Infinity) <= 6 },
    },
    {
      what: "New upstream connections per request, 32 tunnels",
      value: fresh("warm32"),
      digits: 5,
      goal: { text: "none", isReached: atMost(fresh("warm32"), 0.0005) },
    },
    {
      what: "New upstream connections per request, 256 tunnels",
      value: fresh("warm256"),
      digits: 5,
      goal: { text: "none", isReached: atMost(fresh("warm256"), 0.0005) },
    },
    {
      what: "Processor time per 64 KiB answer, ms",
      value: processor("answer64k"),
      digits: 4,
      goal: { text: "≤ 1.0 × nginx", isReached: timesNginx(processor("answer64k"), 1) },
    },
    {
      what: "Processor time per 64 KiB answer with scrubbing, ms",
      value: (name) => processor(name === "agent-vault" ? "answer64kScrubbed" : "answer64k")(name),
      digits: 4,
    },
    {
      what: "Requests of ≥ 35 ms when head and body come in two writes",
      value: (name) => of("split", name)?.over35ms,
      digits: 0,
      goal: { text: "no plateau", isReached: () => (of("split", "agent-vault")?.p50Us ?? Infinity) < 35_000 },
    },
    { what: "Cold tunnels/s (handshake, one request, close)", value: rate("cold"), digits: 0 },
    {
      what: "Processor time per cold tunnel, ms",
      value: processor("cold"),
      digits: 3,
      goal: { text: "≤ 1 ms", isReached: atMost(processor("cold"), 1) },
    },
    {
      what: "Memory per idle tunnel, KiB",
      value: perTunnel,
      digits: 1,
      goal: { text: "≤ 20 KiB", isReached: atMost(perTunnel, 20) },
    },
    { what: "100 MiB download, MiB/s", value: mebibytes("down100m", 100 * mebibyte), digits: 0 },
    { what: "Memory that the first one takes, MiB", value: taken("down100m"), digits: 1 },
    {
      what: "1 GiB download, MiB/s",
      value: mebibytes("down1g", 1024 * mebibyte),
      digits: 0,
      goal: { text: "as nginx", isReached: asFast(mebibytes("down1g", 1024 * mebibyte)) },
    },
    { what: "Memory that the first one takes, MiB", value: taken("down1g"), digits: 1 },
    {
      what: "Memory that another one takes on top, MiB",
      value: grown("down1g"),
      digits: 1,
      goal: { text: "≤ 16 MiB", isReached: atMost(grown("down1g"), 16) },
    },
    {
      what: "1 GiB upload, MiB/s",
      value: mebibytes("up1g", 1024 * mebibyte),
      digits: 0,
      goal: { text: "as nginx", isReached: asFast(mebibytes("up1g", 1024 * mebibyte)) },
    },
    { what: "Memory that the first one takes, MiB", value: taken("up1g"), digits: 1 },
    {
      what: "Memory that another one takes on top, MiB",
      value: grown("up1g"),
      digits: 1,
      goal: { text: "≤ 16 MiB", isReached: atMost(grown("up1g"), 16) },
    },
  ];
}

/** The rates of two runs on a shared machine differ by a tenth without a reason. */
function asFast(value: (name: SubjectName) => number | undefined): () => boolean {
  return () => (value("agent-vault") ?? 0) >= 0.9 * (value("nginx") ?? Infinity);
}

function divide(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : a / b;
}

function subtract(a: number | undefined, b: number | undefined, unit: number): number | undefined {
  return a === undefined || b === undefined ? undefined : (a - b) / unit;
}

function format(value: number | undefined, digits: number): string {
  return value === undefined ? "" : value.toFixed(digits);
}

function split(text: string, marker: string): [string, string] {
  const at = text.indexOf(marker);
  if (at < 0) throw new Error(`The page has no line ${marker}`);
  return [text.slice(0, at), text.slice(at + marker.length)];
}
