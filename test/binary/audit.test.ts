import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type BinaryServer, runBinary, startBinaryServer } from "../support/binary.ts";
import { registerOwner } from "../support/brokered-upstream.ts";

describe("the audit log of the binary", () => {
  let server: BinaryServer;
  const here = (name: string) => join(server.home, name);

  beforeAll(async () => {
    server = await startBinaryServer();
    await server.cli(["auth", "register", "--email", "owner@example.com", "--password-stdin"], {
      stdin: "a-good-password\n",
    });
    await server.cli(["vault", "create", "billing"]);
    await server.cli(["vault", "credential", "set", "STRIPE_KEY", "--stdin", "--vault", "billing"], { stdin: "sk_1" });
  });
  afterAll(async () => {
    await server?.stop();
  });

  it("begins with the keys that the first start made", async () => {
    const { entries } = JSON.parse(await server.cli(["audit", "list", "--json"])) as {
      entries: { action: string; actor: { type: string } }[];
    };
    const first = entries.slice(-3).map(({ action, actor }) => `${actor.type} ${action}`);
    expect(first.sort()).toEqual(["server audit_key.create", "server authority.create", "server data_key.create"]);
  });

  it("says who touched a credential, in a table", async () => {
    const table = await server.cli(["audit", "list", "--vault", "billing", "--target", "STRIPE_KEY"]);
    expect(table).toMatch(/owner@example\.com .* 127\.0\.0\.1 .* credential\.set .* STRIPE_KEY .* billing/);
    expect(table).not.toContain("sk_1");
  });

  it("verifies where it is, while the server runs, and anywhere as an export", async () => {
    const key = await server.cli(["audit", "key"]);
    await writeFile(here("key.pem"), key);
    await server.cli(["audit", "export", "-o", "audit.ndjson"], { cwd: server.home });
    expect((await stat(here("audit.ndjson"))).mode & 0o777).toBe(0o600);
    await writeFile(here("checkpoint.ndjson"), await server.cli(["audit", "checkpoint"]));
    const kept = ["--key", here("key.pem"), "--against", here("checkpoint.ndjson")];
    expect(await server.cli(["audit", "verify", ...kept])).toContain("whole");
    // Somebody else's machine: no home, no server, no environment.
    const elsewhere = await runBinary(["audit", "verify", "--file", here("audit.ndjson"), ...kept]);
    expect(elsewhere).toMatchObject({ code: 0, stderr: "" });
  });

  it("keeps checkpoints in a folder, as verify takes them", async () => {
    const folder = await mkdtemp(join(tmpdir(), "agent-vault-artifacts-"));
    const keeper = await startBinaryServer({ env: { AGENT_VAULT_ARTIFACTS_DIR: folder } });
    try {
      await registerOwner(keeper);
      const home = keeper.home;
      const files = await vi.waitFor(async () => {
        const found = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith(".json"));
        expect(found.length).toBeGreaterThan(0);
        return found;
      }, 15_000);
      const kept = join(folder, files.sort().at(-1) ?? "");
      const verified = await runBinary(["audit", "verify", "--against", kept], { env: { HOME: home } });
      expect(verified.code, verified.stderr).toBe(0);
      expect(keeper.log()).not.toContain("TAMPERED");
    } finally {
      await keeper.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });

  it("names the entry that was changed in an export, and ends with 1", async () => {
    const lines = (await readFile(here("audit.ndjson"), "utf8")).split("\n");
    const at = lines.findIndex((line) => line.includes('"credential.set"'));
    const id = (JSON.parse(lines[at] ?? "") as { id: number }).id;
    await writeFile(here("forged.ndjson"), lines.with(at, (lines[at] ?? "").replace("owner@", "other@")).join("\n"));
    const found = await runBinary(["audit", "verify", "--file", here("forged.ndjson")]);
    expect(found).toMatchObject({ code: 1, stdout: "" });
    expect(found.stderr).toContain(`Entry ${id} was altered`);
    const asJson = await runBinary(["audit", "verify", "--file", here("forged.ndjson"), "--json"]);
    expect(asJson.code).toBe(1);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ ok: false, problem: { entry: id, kind: "altered" } });
  });

  it("names the entry that was taken out of the database, and does not prune what is broken", async () => {
    const database = new DatabaseSync(join(server.home, ".agent-vault", "agent-vault.db"));
    database.exec("delete from audit_log where action = 'credential.set'");
    database.close();
    const found = await server.run(["audit", "verify"]);
    expect(found.code).toBe(1);
    expect(found.stderr).toMatch(/Entry \d+ is missing/);
    const pruned = await server.run(["audit", "prune", "--before", "2025-01-01", "--yes"]);
    expect(pruned).toMatchObject({ code: 1 });
    expect(pruned.stderr).toContain("left as it is");
  });
});
