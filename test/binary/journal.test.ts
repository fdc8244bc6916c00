import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";
import { registerOwner } from "../support/brokered-upstream.ts";

let home = "";
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "agent-vault-home-"));
});
afterEach(() => rm(home, { recursive: true, force: true }));

/** A request that the proxy refuses, because the address is our own; the log has a row for it all the same. */
function ask(server: BinaryServer, token: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const authorization = `Basic ${Buffer.from(`${token}:default`).toString("base64")}`;
    const headers = { "proxy-authorization": authorization, host: "127.0.0.1:1" };
    const options = { host: "127.0.0.1", port: server.proxyPort, path: `http://127.0.0.1:1${path}`, headers };
    request(options, (answer) => {
      answer.resume();
      answer.once("end", () => resolve(answer.statusCode ?? 0));
    })
      .once("error", reject)
      .end();
  });
}

async function loggedPaths(server: BinaryServer): Promise<readonly string[]> {
  const { logs } = (await server.api("GET", "/v1/vaults/default/logs?limit=200")) as { logs: { path: string }[] };
  return logs.map(({ path }) => path).reverse();
}

const numbered = (count: number) => Array.from({ length: count }, (_, index) => `/${index}`);

async function spillFile(): Promise<{ readonly size: number; readonly mode: number }> {
  const folder = join(home, ".agent-vault");
  const [name = ""] = (await readdir(folder)).filter((file) => file.startsWith("journal-spill-"));
  const { size, mode } = await stat(join(folder, name));
  return { size, mode: mode & 0o777 };
}

describe("the request log of a server", () => {
  it("is complete after a stop while the database took nothing", async () => {
    const first = await startBinaryServer({ home });
    await registerOwner(first);
    const token = (await first.cli(["vault", "token"])).trim();
    await ask(first, token, "/0");
    await expect.poll(() => loggedPaths(first)).toEqual(["/0"]);
    const other = new DatabaseSync(join(home, ".agent-vault", "agent-vault.db"));
    other.exec("begin immediate");
    for (const path of numbered(30).slice(1)) await ask(first, token, path);
    await first.stop();
    other.exec("rollback");
    other.close();
    expect(await spillFile()).toMatchObject({ mode: 0o600 });
    expect((await spillFile()).size).toBeGreaterThan(1_000);

    const second = await startBinaryServer({ home });
    try {
      await expect.poll(() => loggedPaths(second)).toEqual(numbered(30));
      await expect.poll(async () => (await spillFile()).size).toBe(17);
    } finally {
      await second.stop();
    }
  });

  it("has what was spilled when the server is killed, once", async () => {
    const first = await startBinaryServer({ home });
    await registerOwner(first);
    const token = (await first.cli(["vault", "token"])).trim();
    const other = new DatabaseSync(join(home, ".agent-vault", "agent-vault.db"));
    other.exec("begin immediate");
    for (const path of numbered(20)) await ask(first, token, path);
    // The bound: a second after the last request, everything is on the disk.
    await expect.poll(async () => (await spillFile()).size, { timeout: 5_000 }).toBeGreaterThan(1_000);
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    process.kill(first.pid, "SIGKILL");
    await first.stop();
    other.exec("rollback");
    other.close();

    const second = await startBinaryServer({ home });
    try {
      await expect.poll(() => loggedPaths(second)).toEqual(numbered(20));
    } finally {
      await second.stop();
    }
  });

  it("is shown and followed by the command line", async () => {
    const server = await startBinaryServer({ home });
    try {
      await registerOwner(server);
      const token = (await server.cli(["vault", "token"])).trim();
      await ask(server, token, "/a");
      await expect.poll(() => server.cli(["logs"])).toContain("/a");
      expect(await server.cli(["vault", "logs", "--status", "2xx"])).toContain("No requests");
      expect(await server.cli(["logs", "--export", "csv"])).toMatch(/^id,time,.*\r\n1,.*,\/a,502,/);
      const abroad = await server.run(["logs", "--vault", "nowhere"]);
      expect(abroad).toMatchObject({ code: 1 });
      expect(abroad.stderr).toContain('Vault "nowhere" not found');
    } finally {
      await server.stop();
    }
  });
});
