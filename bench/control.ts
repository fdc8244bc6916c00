/**
 * `npm run bench:control`: the control plane under many vaults and services. The API over a real socket and an SQLite
 * file, as the server puts it together; writes its table into bench/README.md. Takes about a minute; `--quick` writes
 * nothing.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ApiServer, openScratchDatabase } from "../test/support/api-server.ts";
import { describeMachine } from "./machine.ts";

const { values: flags } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
const vaults = flags.quick ? 50 : 1_000;
const servicesPerVault = 100;
const manyServices = 1_000;
const requests = flags.quick ? 50 : 500;
const rounds = flags.quick ? 1 : 5;

interface Measured {
  readonly what: string;
  readonly p50: number;
  readonly p99: number;
  readonly goalMs?: number;
}

await using database = await openScratchDatabase();
await using api = await ApiServer.start(database);
const token = await api.registerOwner();
await fill();
const measured = [
  await measure(`List ${vaults} vaults of ${servicesPerVault} services each`, "GET", () => "/v1/vaults", {
    goalMs: 50,
  }),
  await measure("The same, 100 at a time", "GET", () => "/v1/vaults?limit=100"),
  await measure(`List the ${manyServices} services of a vault`, "GET", () => "/v1/vaults/large/services"),
  await measure(`Change one of ${manyServices} services`, "POST", () => "/v1/vaults/large/services", {
    goalMs: 10,
    body: (index) => ({ services: [service((index * 37) % manyServices)] }),
  }),
  await measure(
    `Switch one of ${manyServices} services`,
    "PATCH",
    (index) => `/v1/vaults/large/services/${service((index * 37) % manyServices).name}`,
    {
      goalMs: 10,
      body: (index) => ({ enabled: index % 2 === 0 }),
    },
  ),
  await measure("List 200 rows of a log of 10,000", "GET", () => "/v1/vaults/large/logs?limit=200"),
  await measure("The same, with a filter that matches none", "GET", () => "/v1/vaults/large/logs?method=NONE"),
];
const table = render(measured);
console.log(table);
if (!flags.quick) await update(join(import.meta.dirname, "README.md"), table);

function service(index: number) {
  return {
    name: `service-${index}`,
    host: `api-${index}.example.com/v1/*`,
    auth: { type: "bearer", token: "API_TOKEN" },
  };
}

/** Written down directly: through the API it would take longer than the measuring. */
async function fill(): Promise<void> {
  const now = new Date().toISOString();
  const owner = await database.db.selectFrom("users").select("id").executeTakeFirstOrThrow();
  const names = [...Array.from({ length: vaults }, (_, index) => `vault-${String(index).padStart(4, "0")}`), "large"];
  const rows = names.map((name) => ({ name, id: crypto.randomUUID() }));
  await database.insertRows(
    "vaults",
    ["id", "name", "version", "created_at", "updated_at"],
    rows.map(({ id, name }) => [id, name, 1, now, now]),
  );
  await database.insertRows(
    "vault_grants",
    ["id", "vault_id", "user_id", "agent_id", "role", "created_at"],
    rows.map(({ id }) => [crypto.randomUUID(), id, owner.id, null, "admin", now]),
  );
  for (const { id, name } of rows) {
    const services = Array.from({ length: name === "large" ? manyServices : servicesPerVault }, (_, at) => service(at));
    await database.insertRows(
      "services",
      ["id", "vault_id", "name", "position", "definition", "created_at", "updated_at"],
      services.map((one, at) => [crypto.randomUUID(), id, one.name, at, JSON.stringify(one), now, now]),
    );
  }
  const large = rows.at(-1)?.id ?? "";
  const { journalEntry } = await import("../test/support/journal-entry.ts");
  for (let index = 0; index < 10_000; index++)
    api.domain.journal.record(journalEntry({ vaultId: large, path: `/${index}` }));
  await api.domain.journal.flush();
}

/** A busy moment of the machine hits one round; the one whose p99 is the median counts. */
async function measure(
  what: string,
  method: string,
  path: (index: number) => string,
  options: { readonly goalMs?: number; readonly body?: (index: number) => unknown } = {},
): Promise<Measured> {
  const taken: Measured[] = [];
  for (let round = 0; round < rounds; round++) taken.push(await measureOnce(what, method, path, options));
  taken.sort((one, other) => one.p99 - other.p99);
  const middle = taken[Math.floor(taken.length / 2)];
  if (middle === undefined) throw new Error("No round was measured");
  return middle;
}

/** One request after the other, over one connection; the first tenth warms up and does not count. */
async function measureOnce(
  what: string,
  method: string,
  path: (index: number) => string,
  options: { readonly goalMs?: number; readonly body?: (index: number) => unknown },
): Promise<Measured> {
  const times: number[] = [];
  for (let index = 0; index < requests * 1.1; index++) {
    const body = options.body?.(index);
    const began = performance.now();
    const answer = await api.call(method, path(index), { token, ...(body !== undefined && { body }) });
    const took = performance.now() - began;
    if (answer.status !== 200) throw new Error(`${method} ${path(index)}: ${answer.status} ${answer.text}`);
    if (index >= requests * 0.1) times.push(took);
  }
  times.sort((one, other) => one - other);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  return { what, p50: at(0.5), p99: at(0.99), ...(options.goalMs !== undefined && { goalMs: options.goalMs }) };
}

function render(rows: readonly Measured[]): string {
  const lines = rows.map(({ what, p50, p99, goalMs }) => {
    const verdict = goalMs === undefined ? "" : p99 < goalMs ? "reached" : "**missed**";
    return [what, p50.toFixed(2), p99.toFixed(2), goalMs === undefined ? "" : `p99 < ${goalMs} ms`, verdict];
  });
  const table = [["", "p50, ms", "p99, ms", "goal", ""], ["---", "---:", "---:", "---", "---"], ...lines];
  const taken = `Taken ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC on ${describeMachine()}; ${requests} requests each, the round of ${rounds} whose p99 is the median.`;
  return `${taken}\n\n${table.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}\n`;
}

async function update(path: string, text: string): Promise<void> {
  const page = await readFile(path, "utf8");
  const [begin, end] = ["<!-- control:start -->", "<!-- control:end -->"];
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`The page has no ${begin} before ${end}`);
  await writeFile(path, `${page.slice(0, from)}${begin}\n\n${text}\n${page.slice(to)}`);
}
