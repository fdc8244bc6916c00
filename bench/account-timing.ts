/**
 * Does the time of an answer tell whether there is an account? The built binary is asked in turn about an address that has
 * one and about one that has none; the two samples are compared by rank (Mann-Whitney), which does not mind outliers.
 * Reported, never asserted: what the code does alike is what the tests check.
 *
 *     bun bench/account-timing.ts [--requests 400]
 */
import { parseArgs } from "node:util";
import { startBinaryServer } from "../test/support/binary.ts";

const { values } = parseArgs({ options: { requests: { type: "string", default: "400" } } });
const requests = Number(values.requests);
const owner = "owner@example.com";
const password = "correct-pass-1";

// So many that nobody is held up: that answer would be compared instead.
const knobs = ["AUTH_MAX", "AUTHED_BURST", "VERIFY_FAIL_MAX"].map((knob) => [
  `AGENT_VAULT_RATELIMIT_${knob}`,
  "1000000",
]);
const server = await startBinaryServer({ env: Object.fromEntries(knobs) });
try {
  await post("register", { email: owner, password });
  console.log(`${requests} requests about each of the two, in turn; times in ms\n`);
  console.log("| Request | known, median | unknown, median | difference | z |");
  console.log("| --- | ---: | ---: | ---: | ---: |");
  for (const path of ["login", "register", "resend-verification", "forgot-password", "reset-password", "verify"]) {
    const samples = { known: [] as number[], unknown: [] as number[] };
    for (let request = 0; request < requests; request++) {
      // Which of the two comes first changes, so that neither has the better place.
      const order = request % 2 === 0 ? (["known", "unknown"] as const) : (["unknown", "known"] as const);
      for (const who of order) samples[who].push(await time(path, who === "known" ? owner : "never@example.com"));
    }
    const [known, unknown] = [median(samples.known), median(samples.unknown)];
    const figures = [known, unknown, known - unknown].map((ms) => ms.toFixed(3));
    console.log(`| ${path} | ${figures.join(" | ")} | ${rankDifference(samples.known, samples.unknown).toFixed(2)} |`);
  }
} finally {
  await server.stop();
}

async function time(path: string, email: string): Promise<number> {
  const body = { email, password: "wrong-password", code: "000000", new_password: "brand-new-pass" };
  const begun = performance.now();
  await post(path, body);
  return performance.now() - begun;
}

async function post(path: string, body: object): Promise<void> {
  const response = await fetch(`${server.apiUrl}/v1/auth/${path}`, { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  if (response.status === 429) throw new Error(`${path} was held up: ${text}`);
}

function median(sample: readonly number[]): number {
  const sorted = sample.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** How many standard deviations the ranks of two samples are apart: beyond about ±3, somebody could tell them apart. */
function rankDifference(one: readonly number[], other: readonly number[]): number {
  const all = [...one.map((ms) => ({ ms, isOne: true })), ...other.map((ms) => ({ ms, isOne: false }))];
  all.sort((a, b) => a.ms - b.ms);
  const ranks = all.reduce((sum, { isOne }, index) => sum + (isOne ? index + 1 : 0), 0);
  const u = ranks - (one.length * (one.length + 1)) / 2;
  const mean = (one.length * other.length) / 2;
  return (u - mean) / Math.sqrt((one.length * other.length * (one.length + other.length + 1)) / 12);
}
