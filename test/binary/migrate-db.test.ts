import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { freePorts, runBinary, startBinaryServer } from "../support/binary.ts";
import { createPostgresDatabase } from "../support/postgres.ts";

const password = "a-good-password";

describe("migrate-db", () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  /** A home with a stopped server that has an owner, a credential, a service, an agent and a journal. */
  async function livedIn() {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-moving-"));
    cleanups.push(() => rm(home, { recursive: true, force: true }));
    const server = await startBinaryServer({ home });
    await server.cli(["auth", "register", "--email", "owner@example.com", "--password-stdin"], {
      stdin: `${password}\n`,
    });
    await server.cli(["vault", "create", "billing"]);
    await server.cli(["vault", "credential", "set", "KEY", "--stdin", "--vault", "billing"], { stdin: "sk_live_1" });
    const add = ["vault", "service", "add", "--vault", "billing", "--name", "stripe", "--host", "api.stripe.com"];
    await server.cli([...add, "--auth-type", "bearer", "--token-key", "KEY"]);
    const agent = await server.cli(["agent", "create", "reporter", "--vault", "billing", "--token-only"]);
    await server.run(["run", "-q", "--vault", "billing", "--", "curl", "-sS", "https://nothing.invalid/"]);
    const root = await server.cli(["ca", "fetch"]);
    const exported = await server.cli(["export", "--all"]);
    await server.stop();
    return { home, agent, root, exported };
  }

  async function emptyPostgres(): Promise<string> {
    const { url, drop } = await createPostgresDatabase();
    cleanups.push(drop);
    return url;
  }

  it("moves everything: logins, tokens, credentials, root certificate", async () => {
    const { home, agent, root, exported } = await livedIn();
    const url = await emptyPostgres();
    const env = { HOME: home, DATABASE_URL: url };
    const dry = await runBinary(["migrate-db", "--dry-run"], { env });
    expect(dry.code, dry.stderr).toBe(0);
    expect(dry.stdout).toMatch(/credentials +│ 1 /);
    const counted = JSON.parse((await runBinary(["migrate-db", "--dry-run", "--json"], { env })).stdout);
    expect(counted).toMatchObject({ copied: false, total_rows: expect.any(Number) });
    expect(counted.tables).toContainEqual({ name: "credentials", rows: 1 });
    const moved = await runBinary(["migrate-db", "--yes"], { env });
    expect(moved.code, moved.stderr).toBe(0);
    const before = await stat(join(home, ".agent-vault", "agent-vault.db"));
    await rm(join(home, ".agent-vault", "agent-vault.db"));
    expect(before.size).toBeGreaterThan(0);
    // Nothing of the copy stays behind.
    expect((await readdir(join(home, ".agent-vault"))).filter((name) => name.startsWith(".migrate"))).toEqual([]);

    const server = await startBinaryServer({ home, env: { DATABASE_URL: url } });
    cleanups.push(() => server.stop());
    // The login of before names another port.
    const address = ["--address", server.apiUrl];
    expect(await server.cli(["account", "whoami", ...address])).toContain("owner@example.com");
    expect(await server.cli(["vault", "credential", "get", "KEY", "--vault", "billing", ...address])).toBe("sk_live_1");
    expect(await server.cli(["export", "--all", ...address])).toBe(exported);
    expect(await server.cli(["ca", "fetch"])).toBe(root);
    const asAgent = { AGENT_VAULT_TOKEN: agent, AGENT_VAULT_VAULT: "billing" };
    expect(await server.cli(["vault", "discover"], { env: asAgent })).toContain("stripe");
    // Rows that come after the move do not collide with those that came with it.
    await server.run(["run", "-q", "--vault", "billing", "--", "curl", "-sS", "https://nothing.invalid/"], {
      env: asAgent,
    });
    await server.cli(["vault", "create", "later", ...address]);
    expect(server.log()).not.toMatch(/duplicate key|unique/i);
    // The chain of the audit log goes on where it was, and says what happened.
    const verified = await server.run(["audit", "verify"], { env: { DATABASE_URL: url } });
    const { entries } = (await server.api("GET", "/v1/audit?action=database.migrate")) as { entries: object[] };
    expect(entries).toMatchObject([{ actor: { type: "operator" }, after: { engine: "postgres" } }]);
    expect(verified.code, verified.stdout + verified.stderr).toBe(0);
    // Once more would overwrite a database that is in use.
    await server.stop();
    const again = await startBinaryServer({ home });
    await again.stop();
    const refused = await runBinary(["migrate-db", "--yes"], { env });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("in use");
  });

  it("refuses while the server runs, a source that is not there, and a destination that does not answer", async () => {
    const server = await startBinaryServer();
    cleanups.push(() => server.stop());
    const [port] = await freePorts();
    const dead = `postgres://me:hunter2@127.0.0.1:${port}/x`;
    // It answers a moment before it has claimed its pid file.
    await vi.waitFor(() => server.cli(["server", "status"]));
    const running = await server.run(["migrate-db", "--to", dead, "--dry-run"]);
    expect(running).toMatchObject({ code: 1 });
    expect(running.stderr).toContain("agent-vault server stop");
    const { home } = await livedIn();
    const gone = await runBinary(["migrate-db", "--to", dead, "--from", "/nonexistent"], { env: { HOME: home } });
    expect(gone.stderr).toContain("/nonexistent");
    const silent = await runBinary(["migrate-db", "--to", dead, "--dry-run"], { env: { HOME: home } });
    expect(silent).toMatchObject({ code: 1 });
    expect(silent.stderr).toContain("visible to other processes");
    for (const { stdout, stderr } of [running, gone, silent]) expect(stdout + stderr).not.toContain("hunter2");
    expect(await runBinary(["migrate-db", "--to", "mysql://x/y"], { env: { HOME: home } })).toMatchObject({ code: 1 });
    expect(await runBinary(["migrate-db"], { env: { HOME: home } })).toMatchObject({ code: 2 });
  });
});
