import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, startBinaryServer } from "../support/binary.ts";
import { runInTerminal } from "../support/terminal.ts";

describe("apply and export", () => {
  let server: BinaryServer;
  let folder: string;
  const apply = (text: string, ...flags: string[]) => server.run(["apply", "-f", "-", ...flags], { stdin: text });

  beforeAll(async () => {
    server = await startBinaryServer();
    folder = await mkdtemp(join(tmpdir(), "agent-vault-apply-"));
    const register = ["auth", "register", "--email", "owner@example.com", "--password-stdin"];
    await server.cli(register, { stdin: "a-good-password\n" });
    await server.cli(["agent", "create", "reporter"]);
  });
  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const file = `vaults:
  - name: billing
    settings: { unmatched_host_policy: deny }
    services:
      - { name: stripe, host: api.stripe.com, auth: { type: bearer, token: STRIPE_KEY } }
      - { name: extra, host: "API.example.com/v1/*", enabled: false, auth: { type: custom, headers: { X-Key: "{{ EXTRA_KEY }}" } } }
    agents:
      - { name: reporter, role: proxy }
  - name: reports
    services: []
`;

  it("shows what it would do and does nothing with --dry-run", async () => {
    const { code, stdout, stderr } = await apply(file, "--dry-run");
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("+ vault billing");
    expect(stdout).toContain("token: STRIPE_KEY");
    expect(stderr).toContain("EXTRA_KEY, STRIPE_KEY");
    expect(await server.cli(["vault", "list"])).not.toContain("billing");
  });

  it("asks, and where nobody can answer names --yes and does nothing", async () => {
    const refused = await apply(file);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain("--yes");
    const path = join(folder, "vaults.yaml");
    await writeFile(path, file);
    const env = { HOME: server.home };
    const declined = await runInTerminal(["apply", "-f", path], { env, steps: [["changes? [y/N] ", "n\r"]] });
    expect([declined.code, declined.screen.includes("Aborted.")]).toEqual([0, true]);
    expect(await server.cli(["vault", "list"])).not.toContain("billing");
  });

  it("makes it so, once", async () => {
    const first = await apply(file, "--yes");
    expect(first.code, first.stderr).toBe(0);
    expect(await server.cli(["vault", "settings", "get", "--vault", "billing"])).toContain("deny");
    expect(await server.cli(["vault", "agent", "list", "--vault", "billing"])).toContain("reporter");
    const again = await apply(file);
    expect(again).toMatchObject({ code: 0, stdout: "Nothing to change.\n" });
  });

  it("exports what it would apply again without a change, without any value", async () => {
    await server.cli(["vault", "credential", "set", "STRIPE_KEY", "--stdin", "--vault", "billing"], {
      stdin: "sk_live_1",
    });
    const exported = await server.cli(["export", "--all"]);
    expect(exported).not.toContain("sk_live_1");
    expect(exported).toContain("- STRIPE_KEY");
    const applied = await apply(exported, "--prune");
    expect(applied.stdout).toBe("Nothing to change.\n");
    const path = join(folder, "out.yaml");
    await server.cli(["export", "billing", "reports", "-o", path]);
    const text = await readFile(path, "utf8");
    expect(text).toContain("name: reports");
    await using other = await startBinaryServer();
    const register = ["auth", "register", "--email", "owner@example.com", "--password-stdin"];
    await other.cli(register, { stdin: "a-good-password\n" });
    await other.cli(["agent", "create", "reporter"]);
    await other.cli(["apply", "-f", path, "--yes"]);
    expect(await other.cli(["export", "billing", "reports"])).toBe(text);
  });

  it("leaves more than the file alone, until --prune", async () => {
    const less = "vaults:\n  - name: billing\n    services: []\n    agents: []\n";
    const kept = await apply(less, "--yes");
    expect(kept.stdout).toBe("Nothing to change.\n");
    expect(kept.stderr).toContain("service stripe");
    const pruned = await apply(less, "--prune", "--yes");
    expect(pruned.stdout).toContain("- service stripe");
    expect(await server.cli(["vault", "service", "list", "--vault", "billing"])).toContain("no services");
    expect(await server.cli(["vault", "settings", "get", "--vault", "billing"])).toContain("deny");
  });

  it("does nothing at all for a file with a mistake in its last vault", async () => {
    const { code, stderr } = await apply(`${file}  - name: third\n    servces: []\n`, "--yes");
    expect(code).toBe(1);
    expect(stderr).toMatch(/standard input, line 12: .*servces/);
    expect(await server.cli(["vault", "service", "list", "--vault", "billing"])).toContain("no services");
  });

  it("does not let a member change what only an admin may", async () => {
    const token = await server.cli(["vault", "token", "--vault", "billing"]);
    const asAgent = { AGENT_VAULT_TOKEN: token, AGENT_VAULT_VAULT: "billing", HOME: folder };
    expect(await server.run(["apply", "-f", "-", "--yes"], { stdin: file, env: asAgent })).toMatchObject({ code: 1 });
  });
});
