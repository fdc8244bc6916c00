/**
 * `bun bench/journal.ts`: what the journal costs. Processor time per row, as the proxy records them (in handfuls, with
 * the event loop free in between), and the longest pause of the event loop that writing causes.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../src/domain/clock.ts";
import { Journal } from "../src/domain/journal.ts";
import type { JournalEntry } from "../src/domain/journal-entry.ts";
import { silentLogger } from "../src/log.ts";
import { openDatabase } from "../src/storage/database.ts";

const rows = Number(process.argv[2] ?? 100_000);
const rounds = 5;

const folder = await mkdtemp(join(tmpdir(), "agent-vault-bench-"));
try {
  const url = process.env.DATABASE_URL;
  const database = await openDatabase(url ? { url } : { path: join(folder, "vault.db") }, silentLogger);
  const journal = new Journal({ clock: systemClock, database, log: silentLogger });
  const costs: number[] = [];
  const pauses: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const cost = await writeAll(journal);
    // The first is the compiler's.
    if (round > 0) costs.push(cost);
  }
  // What the machine itself takes away: the longest pause of a loop that does nothing.
  const idle = longestOf(await pausesOf(() => new Promise((resolve) => setTimeout(resolve, 2_000))));
  for (let round = 0; round < rounds; round++) pauses.push(...(await pausesOf(() => writeAll(journal))));
  costs.sort((a, b) => a - b);
  pauses.sort((a, b) => a - b);
  const at = (share: number) => pauses[Math.min(pauses.length - 1, Math.floor(pauses.length * share))]?.toFixed(2);
  console.log(`${database.engine}: ${costs.map((cost) => cost.toFixed(2)).join(" ")} µs of processor time per row`);
  console.log(`pauses of the event loop, ms: p50 ${at(0.5)} p99 ${at(0.99)} p99.9 ${at(0.999)} longest ${at(1)}`);
  console.log(`longest pause of an idle event loop, ms: ${idle.toFixed(2)}`);
  await journal.close();
  await database.close();
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** @returns microseconds of processor time per row, all threads of this process. */
async function writeAll(journal: Journal): Promise<number> {
  const before = process.cpuUsage();
  for (let index = 0; index < rows; index++) {
    journal.record(entry(index));
    if (index % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await journal.flush();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / rows;
}

async function pausesOf(work: () => Promise<unknown>): Promise<readonly number[]> {
  const gaps: number[] = [];
  let isRunning = true;
  const watching = (async () => {
    let last = performance.now();
    while (isRunning) {
      await new Promise((resolve) => setImmediate(resolve));
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }
  })();
  await work();
  isRunning = false;
  await watching;
  return gaps;
}

function longestOf(pauses: readonly number[]): number {
  return pauses.reduce((longest, pause) => Math.max(longest, pause), 0);
}

function entry(index: number): JournalEntry {
  return {
    requestId: `0199b8a7-${String(index).padStart(8, "0")}-7def`,
    vaultId: "00000000-0000-0000-0000-000000000000",
    actorType: "agent",
    actorId: "0199b8a7-2f3c-7abc-8def-0123456789ab",
    sessionId: "0123456789abcdef0123",
    method: "GET",
    scheme: "https",
    host: "api.github.com:443",
    path: `/repos/acme/tool/issues/${index}`,
    matchedService: "github",
    credentialKeys: ["GITHUB_TOKEN"],
    status: 200,
    errorCode: "",
    authScheme: "bearer",
    authHeader: "Authorization",
    clientIp: "127.0.0.1",
    bytesIn: 512,
    bytesOut: 1024,
    startedAtMs: Date.now(),
    latencyMs: 12.4,
    upstreamMs: 9.6,
  };
}
