/**
 * `npm run bench:control`: the control plane of a large instance. Drives the built binary over HTTP, first with SQLite,
 * then with PostgreSQL, and writes the table of bench/README.md. Everything in the instance is made through the API, so
 * its audit log is as long as it would be. Takes about five minutes; `--quick` is a short look that writes nothing,
 * `--sqlite` and `--postgres` measure one of the two and write nothing either.
 */
import { readFile, writeFile } from "node:fs/promises";
import { Agent, request as httpRequest } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureBinary } from "../scripts/machine.mjs";
import { type BinaryServer, startBinaryServer } from "../test/support/binary.ts";
import { registerOwner } from "../test/support/brokered-upstream.ts";
import { createPostgresDatabase } from "../test/support/postgres.ts";
import { describeMachine } from "./machine.ts";

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    sqlite: { type: "boolean", default: false },
    postgres: { type: "boolean", default: false },
  },
});
const vaults = flags.quick ? 50 : 1_000;
const servicesPerVault = 100;
const manyServices = 1_000;
const logRows = flags.quick ? 500 : 10_000;
const requests = flags.quick ? 50 : 500;
const rounds = flags.quick ? 1 : 5;

interface Measured {
  readonly p50: number;
  readonly p99: number;
}

interface Task {
  readonly what: string;
  readonly method: string;
  readonly path: (index: number) => string;
  readonly body?: (index: number) => unknown;
  readonly goalMs?: number;
}

const tasks: readonly Task[] = [
  {
    what: `List ${vaults} vaults of ${servicesPerVault} services each`,
    method: "GET",
    path: () => "/v1/vaults",
    goalMs: 50,
  },
  { what: "The same, 100 at a time", method: "GET", path: () => "/v1/vaults?limit=100" },
  { what: `List the ${manyServices} services of a vault`, method: "GET", path: () => "/v1/vaults/large/services" },
  {
    what: `Change one of ${manyServices} services`,
    method: "POST",
    path: () => "/v1/vaults/large/services",
    // Something is different each time: a change that changes nothing would be cheaper.
    body: (index) => ({ services: [service((index * 37) % manyServices, index)] }),
    goalMs: 10,
  },
  {
    what: `Switch one of ${manyServices} services`,
    method: "PATCH",
    path: (index) => `/v1/vaults/large/services/service-${(index * 37) % manyServices}`,
    body: (index) => ({ enabled: index % 2 === 0 }),
    goalMs: 10,
  },
  { what: `List 200 rows of a log of ${logRows}`, method: "GET", path: () => "/v1/vaults/large/logs?limit=200" },
  {
    what: "The same, with a filter that matches none",
    method: "GET",
    path: () => "/v1/vaults/large/logs?method=NONE",
  },
  { what: "List 50 entries of the audit log", method: "GET", path: () => "/v1/audit" },
];

ensureBinary();
const table: Record<"sqlite" | "postgres", readonly Measured[] | undefined> = {
  sqlite: undefined,
  postgres: undefined,
};
if (!flags.postgres) table.sqlite = await measureServer({});
if (!flags.sqlite) {
  const database = await createPostgresDatabase("empty", "safe");
  table.postgres = await measureServer({ DATABASE_URL: database.url });
}
const text = render();
console.log(text);
if (!flags.quick && !flags.sqlite && !flags.postgres) await update(join(import.meta.dirname, "README.md"), text);

async function measureServer(env: Readonly<Record<string, string>>): Promise<readonly Measured[]> {
  await using server = await startBinaryServer({ env: { AGENT_VAULT_RATELIMIT_PROFILE: "off", ...env } });
  await registerOwner(server);
  const api = new Api(server, await tokenOf(server));
  await fill(api, server);
  const measured: Measured[] = [];
  for (const task of tasks) measured.push(await measure(api, task));
  return measured;
}

function service(index: number, version = 0) {
  return {
    name: `service-${index}`,
    host: `api-${index}.example.com/v${version}/*`,
    auth: { type: "bearer", token: "API_TOKEN" },
  };
}

async function fill(api: Api, server: BinaryServer): Promise<void> {
  const services = (count: number) => Array.from({ length: count }, (_, index) => service(index));
  const names = Array.from({ length: vaults }, (_, index) => `vault-${String(index).padStart(4, "0")}`);
  for (const name of [...names, "large"]) {
    await api.call("POST", "/v1/vaults", { name }, 201);
    const body = { services: services(name === "large" ? manyServices : servicesPerVault) };
    await api.call("POST", `/v1/vaults/${name}/services`, body);
  }
  await api.call("PATCH", "/v1/vaults/large/settings", { unmatched_host_policy: "deny" });
  const minted = (await api.call("POST", "/v1/sessions", { vault: "large" })) as { token: string };
  await fillLog(server.proxyPort, minted.token);
}

/** Requests through the proxy for a host without a service, each refused and written down. */
async function fillLog(proxyPort: number, token: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const headers = {
    host: "unknown.example.com",
    "proxy-authorization": `Basic ${Buffer.from(`${token}:large`).toString("base64")}`,
  };
  for (let index = 0; index < logRows; index++) {
    const path = `http://unknown.example.com/${index}`;
    await new Promise<void>((resolve, reject) => {
      httpRequest({ host: "127.0.0.1", port: proxyPort, agent, path, headers }, (response) => {
        response.resume().on("end", resolve);
      })
        .on("error", reject)
        .end();
    });
  }
  agent.destroy();
}

/** A busy moment of the machine hits one round; the one whose p99 is the median counts. */
async function measure(api: Api, task: Task): Promise<Measured> {
  const taken: Measured[] = [];
  for (let round = 0; round < rounds; round++) taken.push(await measureOnce(api, task, round));
  taken.sort((one, other) => one.p99 - other.p99);
  const middle = taken[Math.floor(taken.length / 2)];
  if (middle === undefined) throw new Error("No round was measured");
  console.log(`${task.what}: p99 ${taken.map(({ p99 }) => p99.toFixed(1)).join(", ")}`);
  return middle;
}

/** One request after the other, over one connection; the first tenth warms up and does not count. */
async function measureOnce(api: Api, { method, path, body }: Task, round: number): Promise<Measured> {
  const times: number[] = [];
  const first = round * requests * 2;
  for (let index = first; index < first + requests * 1.1; index++) {
    const sent = body?.(index);
    const began = performance.now();
    await api.call(method, path(index), sent);
    const took = performance.now() - began;
    if (index >= first + requests * 0.1) times.push(took);
  }
  times.sort((one, other) => one - other);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

function render(): string {
  const lines = tasks.map(({ what, goalMs }, at) => {
    const engines = [table.sqlite?.[at], table.postgres?.[at]];
    const figures = engines.flatMap((one) => [one?.p50.toFixed(2) ?? "", one?.p99.toFixed(2) ?? ""]);
    const isReached = goalMs !== undefined && engines.every((one) => one === undefined || one.p99 < goalMs);
    const verdict = goalMs === undefined ? "" : isReached ? "reached" : "**missed**";
    return [what, ...figures, goalMs === undefined ? "" : `p99 < ${goalMs} ms`, verdict];
  });
  const head = ["", "SQLite p50, ms", "p99, ms", "PostgreSQL p50, ms", "p99, ms", "goal", ""];
  const rows = [head, ["---", "---:", "---:", "---:", "---:", "---", "---"], ...lines];
  const taken = `Taken ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC on ${describeMachine()}; ${requests} requests each, the round of ${rounds} whose p99 is the median.`;
  return `${taken}\n\n${rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}\n`;
}

async function tokenOf(server: BinaryServer): Promise<string> {
  const login = await readFile(join(server.home, ".agent-vault", "session.json"), "utf8");
  return (JSON.parse(login) as { token: string }).token;
}

class Api {
  readonly #server: BinaryServer;
  readonly #token: string;

  constructor(server: BinaryServer, token: string) {
    this.#server = server;
    this.#token = token;
  }

  /** Reads the whole answer. @throws {Error} unless it has that status. */
  async call(method: string, path: string, body?: unknown, status = 200): Promise<unknown> {
    const response = await fetch(`${this.#server.apiUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.status !== status) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 500)}`);
    return JSON.parse(text);
  }
}

async function update(path: string, text: string): Promise<void> {
  const page = await readFile(path, "utf8");
  const [begin, end] = ["<!-- control:start -->", "<!-- control:end -->"];
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`The page has no ${begin} before ${end}`);
  await writeFile(path, `${page.slice(0, from)}${begin}\n\n${text}\n${page.slice(to)}`);
}
