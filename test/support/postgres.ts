/**
 * A real PostgreSQL for the tests: one private cluster per test run, in a temporary directory, on a free port.
 *
 * The first file of a run that asks starts it (0.8 s); the others, in other threads of the same process, find it. A
 * watcher outside stops and removes it when the process has ended, however it ended.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { silentLogger } from "../../src/log.ts";
import { openDatabase } from "../../src/storage/database.ts";

const template = "agent_vault_template";
let databasesMade = 0;

/** `runuser` is in a folder that not every root has on its PATH (`su` keeps the PATH of the user before). */
const env = { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` };

export interface ScratchDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

/** `fast` loses everything with the power, as tests may; `safe` is what people run. The first call of a run decides. */
type Durability = "fast" | "safe";

/** A database of its own, as a first start leaves it, or without any table. */
export async function createPostgresDatabase(
  content: "migrated" | "empty" = "migrated",
  durability: Durability = "fast",
): Promise<ScratchDatabase> {
  const port = await startCluster(durability);
  databasesMade += 1;
  const name = `t_${crypto.randomUUID().slice(0, 8)}_${databasesMade}`;
  await administer(port, `create database ${name} template ${content === "migrated" ? template : "template0"}`);
  return {
    url: urlOf(port, name),
    drop: () => administer(port, `drop database if exists ${name} with (force)`),
  };
}

function urlOf(port: number, name: string): string {
  return `postgres://postgres@127.0.0.1:${port}/${name}`;
}

async function administer(port: number, statement: string): Promise<void> {
  const admin = postgres(urlOf(port, "postgres"), { max: 1 });
  try {
    await admin.unsafe(statement);
  } finally {
    await admin.end();
  }
}

/** The port of this run's cluster, started by whoever makes the directory first. @throws what made its start fail. */
async function startCluster(durability: Durability): Promise<number> {
  const directory = join(tmpdir(), `agent-vault-postgres-${process.pid}`);
  const outcome = join(directory, "outcome");
  try {
    mkdirSync(directory, { mode: 0o755 });
  } catch {
    return waitFor(outcome);
  }
  const tell = (line: string) => {
    writeFileSync(`${outcome}.new`, line);
    renameSync(`${outcome}.new`, outcome);
  };
  try {
    const port = await runCluster(directory, durability);
    tell(`port ${port}`);
    return port;
  } catch (error) {
    tell(`${error}`);
    throw error;
  }
}

async function runCluster(directory: string, durability: Durability): Promise<number> {
  const binaries = findBinaries();
  const port = await freePort();
  const asPostgres = (program: string, ...args: string[]) => {
    const command = [join(binaries, program), ...args];
    // initdb and postgres refuse to run as root.
    if (process.getuid?.() === 0) command.unshift("runuser", "-u", "postgres", "--");
    execFileSync(command[0] ?? "", command.slice(1), { stdio: ["ignore", "ignore", "inherit"], cwd: directory, env });
  };
  if (process.getuid?.() === 0) execFileSync("chown", ["postgres", directory]);
  chmodSync(directory, 0o755);
  const data = join(directory, "data");
  stopWhenThisProcessEnds(directory, data, binaries);
  asPostgres("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8");
  const settings = [
    `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${directory}`,
    "-c max_connections=200",
    ...(durability === "fast" ? ["-c fsync=off -c synchronous_commit=off -c full_page_writes=off"] : []),
  ].join(" ");
  asPostgres("pg_ctl", "-D", data, "-w", "-l", join(directory, "log"), "-o", settings, "start");
  await administer(port, `create database ${template}`);
  await (await openDatabase({ url: urlOf(port, template) }, silentLogger)).close();
  return port;
}

/** Waits for what the starter says. A start that failed is told at once, to every test: nobody waits for it again. */
async function waitFor(outcome: string): Promise<number> {
  for (let waited = 0; waited < 60_000; waited += 50) {
    if (existsSync(outcome)) {
      const said = readFileSync(outcome, "utf8");
      const port = /^port (\d+)$/.exec(said)?.[1];
      if (port !== undefined) return Number(port);
      throw new Error(`PostgreSQL for the tests did not start: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`PostgreSQL for the tests did not start in time; see the file "log" beside ${outcome}`);
}

function stopWhenThisProcessEnds(directory: string, data: string, binaries: string): void {
  const asPostgres = process.getuid?.() === 0 ? "runuser -u postgres -- " : "";
  const script = `
    while kill -0 ${process.pid} 2>/dev/null; do sleep 0.5; done
    ${asPostgres}${join(binaries, "pg_ctl")} -D ${data} -m immediate stop; rm -rf ${directory}`;
  spawn("sh", ["-c", script], { detached: true, stdio: "ignore", cwd: "/", env }).unref();
}

/** A cluster that belongs to one test, which may stop it and start it again. */
export class OwnCluster implements AsyncDisposable {
  readonly url: string;
  readonly #directory: string;
  readonly #settings: string;

  private constructor(directory: string, port: number) {
    this.url = urlOf(port, "postgres");
    this.#directory = directory;
    this.#settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${directory} -c fsync=off`;
  }

  static async start(): Promise<OwnCluster> {
    const directory = mkdtempSync(join(tmpdir(), "agent-vault-cluster-"));
    chmodSync(directory, 0o755);
    if (process.getuid?.() === 0) execFileSync("chown", ["postgres", directory]);
    const cluster = new OwnCluster(directory, await freePort());
    cluster.#run("initdb", "-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8");
    cluster.startAgain();
    return cluster;
  }

  /** Without a goodbye to anybody, as when the machine under it is gone. */
  stop(): void {
    this.#run("pg_ctl", "-m", "immediate", "-w", "stop");
  }

  startAgain(): void {
    this.#run("pg_ctl", "-w", "-l", join(this.#directory, "log"), "-o", this.#settings, "start");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.stop();
    } catch {
      // The test has stopped it.
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #run(program: string, ...args: string[]): void {
    const command = [join(findBinaries(), program), "-D", join(this.#directory, "data"), ...args];
    if (process.getuid?.() === 0) command.unshift("runuser", "-u", "postgres", "--");
    const cwd = this.#directory;
    execFileSync(command[0] ?? "", command.slice(1), { stdio: "ignore", cwd, env });
  }
}

function findBinaries(): string {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((version) => join(debian, version, "bin")), ...(process.env.PATH ?? "").split(":")];
  const found = folders.find((folder) => existsSync(join(folder, "initdb")));
  if (found) return found;
  throw new Error("These tests need PostgreSQL: apt-get install postgresql");
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}
