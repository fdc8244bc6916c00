import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, runBinary, startBinaryServer } from "../support/binary.ts";

const password = "a-good-password";
const register = (email: string) => ["auth", "register", "--email", email, "--password-stdin"];

describe("instructions for agents", () => {
  let server: BinaryServer;
  let bin: string;

  beforeAll(async () => {
    server = await startBinaryServer();
    await server.cli(register("owner@example.com"), { stdin: `${password}\n` });
    bin = await mkdtemp(join(tmpdir(), "agent-vault-bin-"));
    for (const name of ["claude", "pi", "plain"]) await script(name, "echo ran");
  });
  afterAll(async () => {
    await server?.stop();
    await rm(bin, { recursive: true, force: true });
  });

  async function script(name: string, body: string): Promise<void> {
    await writeFile(join(bin, name), `#!/bin/sh\n${body}\n`);
    await chmod(join(bin, name), 0o755);
  }
  const path = () => ({ PATH: `${bin}:${process.env.PATH}` });
  const skill = (directory: string) => join(server.home, directory, "skills", "agent-vault-cli", "SKILL.md");

  it("are installed by run for the agent it starts, once, exactly as the server serves them", async () => {
    const first = await server.run(["run", "--vault", "default", "--", "claude"], { env: path() });
    expect(first).toMatchObject({ code: 0, stdout: "ran\n" });
    expect(first.stderr).toContain(skill(".claude"));
    expect(await readFile(skill(".claude"), "utf8")).toBe(await (await fetch(`${server.apiUrl}/v1/skills/cli`)).text());
    expect((await stat(skill(".claude"))).mode & 0o777).toBe(0o600);
    const again = await server.run(["run", "--vault", "default", "--", "claude"], { env: path() });
    expect(again.stderr).not.toContain("SKILL.md");
    await writeFile(skill(".claude"), "something else");
    await server.run(["run", "--vault", "default", "--", "claude"], { env: path() });
    expect(await readFile(skill(".claude"), "utf8")).toContain("agent-vault-cli");
  });

  it("are not installed for other commands, nor with --no-skill", async () => {
    await server.cli(["run", "--vault", "default", "--", "plain"], { env: path() });
    await server.cli(["run", "--vault", "default", "--no-skill", "--", "pi"], { env: path() });
    await expect(stat(skill(".pi/agent"))).rejects.toThrow("ENOENT");
    await server.cli(["run", "--vault", "default", "--", "pi"], { env: path() });
    await stat(skill(".pi/agent"));
  });

  it("never keep a command from running", async () => {
    await writeFile(join(server.home, ".codex-is-a-file"), "");
    await symlink(join(server.home, ".codex-is-a-file"), join(server.home, ".agents"));
    await script("codex", "echo ran");
    const result = await server.run(["run", "--vault", "default", "--", "codex"], { env: path() });
    expect(result).toMatchObject({ code: 0, stdout: "ran\n" });
    expect(result.stderr).toContain("warning: the instructions for Codex were not installed");
  });

  it("change OpenClaw's configuration only where it differs, and say how to take it back", async () => {
    const log = join(bin, "calls");
    await script("openclaw", `echo "$@" >> ${log}; [ "$2 $3" = "get proxy.enabled" ] && echo true; exit 0`);
    const result = await server.run(["run", "--vault", "default", "--", "openclaw"], { env: path() });
    expect(result.stderr).toContain("Undo: openclaw config set tools.web.fetch.useTrustedEnvProxy false");
    const calls = (await readFile(log, "utf8")).trim().split("\n");
    expect(calls).toContain("config set tools.web.fetch.useTrustedEnvProxy true");
    expect(calls).not.toContain("config set proxy.enabled true");
  });

  it("are printed and installed by hand", async () => {
    expect(await server.cli(["skill", "print"])).toContain("name: agent-vault-cli");
    const { installed } = JSON.parse(await server.cli(["skill", "install", "cline", "--json"])) as {
      installed: unknown;
    };
    expect(installed).toEqual([{ agent: "cline", file: skill(".cline"), changed: true }]);
    expect(await server.run(["skill", "install", "frobnicator"])).toMatchObject({ code: 2 });
  });
});

describe("owner reset", () => {
  it("destroys the server of this home, and only with the word typed or --yes", async () => {
    const server = await startBinaryServer();
    await server.cli(register("owner@example.com"), { stdin: `${password}\n` });
    const asked = await server.run(["owner", "reset"]);
    expect(asked).toMatchObject({ code: 1 });
    expect(asked.stderr).toContain("--yes");
    const outside = join(server.home, "precious");
    await writeFile(outside, "stays");
    await symlink(outside, join(server.home, ".agent-vault", "link"));
    const done = await server.run(["owner", "reset", "--yes"]);
    expect(done.code, done.stderr).toBe(0);
    expect(await readdir(server.home)).toEqual(["precious"]);
    expect(await readFile(outside, "utf8")).toBe("stays");
    await server.stop();
  });

  it("refuses a login at another server, whose data it would not touch", async () => {
    await using here = await startBinaryServer();
    await using there = await startBinaryServer();
    await here.cli(register("owner@example.com"), { stdin: `${password}\n` });
    await here.cli([...register("me@example.com"), "--address", there.apiUrl], { stdin: `${password}\n` });
    const result = await here.run(["owner", "reset", "--yes"]);
    expect(result).toMatchObject({ code: 1 });
    expect(result.stderr).toContain(there.apiUrl);
    await stat(join(here.home, ".agent-vault", "agent-vault.db"));
  });

  it("refuses whoever is no owner here, whatever address a login claims", async () => {
    await using here = await startBinaryServer();
    await using there = await startBinaryServer();
    await here.cli(register("owner@example.com"), { stdin: `${password}\n` });
    await here.cli([...register("me@example.com"), "--address", there.apiUrl], { stdin: `${password}\n` });
    const file = join(here.home, ".agent-vault", "session.json");
    const login = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ ...login, address: here.apiUrl }));
    expect(await here.run(["owner", "reset", "--yes"])).toMatchObject({ code: 1 });
    await stat(join(here.home, ".agent-vault", "agent-vault.db"));
  });

  it("refuses without a server here, and with a database elsewhere", async () => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-client-"));
    await mkdir(join(home, ".agent-vault"));
    await writeFile(join(home, ".agent-vault", "context"), "mine");
    const alone = await runBinary(["owner", "reset", "--yes"], { env: { HOME: home } });
    expect(alone.code).toBe(1);
    const shared = await runBinary(["owner", "reset", "--yes"], {
      env: { HOME: home, DATABASE_URL: "postgres://x:secret@h/d" },
    });
    expect(shared.code).toBe(1);
    expect(shared.stderr).not.toContain("secret");
    await stat(join(home, ".agent-vault", "context"));
    await rm(home, { recursive: true, force: true });
  });
});

describe("settings and stores of a vault", () => {
  it("are shown and changed, and a mistake changes nothing", async () => {
    await using server = await startBinaryServer();
    await server.cli(register("owner@example.com"), { stdin: `${password}\n` });
    expect(await server.cli(["vault", "settings", "get"])).toBe("unmatched_host_policy: passthrough\nscrub: redact\n");
    await server.cli(["vault", "settings", "set", "--unmatched-host-policy", "deny"]);
    expect(JSON.parse(await server.cli(["vault", "settings", "get", "--json"]))).toMatchObject({
      unmatched_host_policy: "deny",
    });
    expect(await server.run(["vault", "settings", "set"])).toMatchObject({ code: 2 });
    expect(await server.run(["vault", "settings", "set", "--unmatched-host-policy", "maybe"])).toMatchObject({
      code: 2,
    });
    expect(await server.cli(["vault", "credential-store", "show", "default"])).toMatch(/Kind: +builtin/);
    await server.cli(["vault", "credential-store", "set", "default", "--kind", "builtin", "--yes"]);
    expect(await server.run(["vault", "credential-store", "sync", "default"])).toMatchObject({ code: 1 });
    expect(await server.run(["vault", "credential-store", "set", "default", "--kind", "infisical"])).toMatchObject({
      code: 2,
    });
    expect(await server.run(["vault", "credential-store", "set", "nope", "--kind", "builtin", "--yes"])).toMatchObject({
      code: 1,
    });
  });
});
