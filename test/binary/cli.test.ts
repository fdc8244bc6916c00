import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, binaryPath, freePorts, runBinary, startBinaryServer } from "../support/binary.ts";

const password = "a-good-password";

describe("the command line of the binary", () => {
  let server: BinaryServer;
  let folder: string;

  beforeAll(async () => {
    server = await startBinaryServer();
    folder = await mkdtemp(join(tmpdir(), "agent-vault-cwd-"));
    await server.cli(["auth", "register", "--email", "owner@example.com", "--password-stdin"], {
      stdin: `${password}\n`,
    });
  });
  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("keeps the login readable for its owner alone", async () => {
    expect((await stat(join(server.home, ".agent-vault"))).mode & 0o777).toBe(0o700);
    expect((await stat(join(server.home, ".agent-vault", "session.json"))).mode & 0o777).toBe(0o600);
    expect(await server.cli(["account", "whoami"])).toContain("owner@example.com");
  });

  it("takes the values of credentials from standard input, files and env files, and from argv with a warning", async () => {
    await server.cli(["vault", "credential", "set", "FROM_STDIN", "--stdin"], { stdin: "one\n" });
    await writeFile(join(folder, "key.pem"), "-----BEGIN\nx\n-----END\n");
    await writeFile(join(folder, ".env"), "# mine\nexport FROM_ENV='three'\n");
    await server.cli(["creds", "set", "FROM_FILE=@key.pem", "--env-file", ".env"], { cwd: folder });
    const visible = await server.run(["vault", "credential", "set", "FROM_ARGV=two=2"]);
    expect(visible.stderr).toContain("visible");

    expect(await server.cli(["vault", "credential", "get", "FROM_STDIN"])).toBe("one");
    expect(await server.cli(["vault", "credential", "get", "FROM_FILE"])).toBe("-----BEGIN\nx\n-----END\n");
    expect(await server.cli(["vault", "credential", "get", "FROM_ENV"])).toBe("three");
    expect(await server.cli(["vault", "credential", "get", "FROM_ARGV"])).toBe("two=2");
  });

  it("prints a bare value as it is into a pipe, and as a line on a terminal", async () => {
    const command = ["vault", "credential", "get", "FROM_STDIN"];
    expect(await server.cli(command)).toBe("one");
    const inTerminal = "import pty, sys; pty.spawn(sys.argv[1:])";
    const child = spawn("/usr/bin/python3", ["-c", inTerminal, binaryPath, ...command], {
      env: { PATH: process.env.PATH ?? "", ...server.env() },
      stdio: ["ignore", "pipe", "inherit"],
    });
    expect(await text(child.stdout)).toBe("one\r\n");
  });

  it("does not ask where nobody can answer, and names the flag", async () => {
    const asked = await server.run(["vault", "credential", "set", "LONELY"]);
    expect(asked).toMatchObject({ code: 1 });
    expect(asked.stderr).toContain("--stdin");
    const removed = await server.run(["vault", "service", "clear"]);
    expect(removed).toMatchObject({ code: 1 });
    expect(removed.stderr).toContain("--yes");
  });

  it("sets services from what it lists, and changes nothing when the file is wrong", async () => {
    const add = ["vault", "service", "add", "--name", "github", "--host", "api.github.com"];
    await server.cli([...add, "--auth-type", "bearer", "--token-key", "FROM_STDIN"]);
    const listed = await server.cli(["vault", "service", "list"]);
    expect(listed).toContain("host: api.github.com");
    expect((await server.run(["vault", "service", "set", "-f", "-"], { stdin: "" })).code).toBe(1);
    expect(
      (await server.run(["vault", "service", "set", "-f", "-"], { stdin: listed.replace("host", "hots") })).code,
    ).toBe(1);
    await server.cli(["service", "set", "-f", "-"], { stdin: listed });
    expect(await server.cli(["vault", "service", "list"])).toBe(listed);
  });

  it("shows the settings of a vault and changes the ones that are named", async () => {
    expect(await server.cli(["vault", "settings", "get"])).toMatch(/passthrough\nscrub: redact/);
    await server.cli(["vault", "settings", "set", "--scrub", "block"]);
    await server.cli(["vault", "settings", "set", "--unmatched-host-policy", "deny"]);
    const settings = JSON.parse(await server.cli(["vault", "settings", "get", "--json"])) as object;
    expect(settings).toMatchObject({ scrub: "block", unmatched_host_policy: "deny" });
    await server.cli(["vault", "settings", "set", "--scrub", "redact", "--unmatched-host-policy", "passthrough"]);
    const nothing = await server.run(["vault", "settings", "set"]);
    expect(nothing).toMatchObject({ code: 2 });
    expect(nothing.stderr).toContain("No setting is named");
  });

  it("stores what a service does with credentials in answers, and lists it", async () => {
    const service = ["--name", "scrubbed", "--host", "s.example.com", "--auth-type", "bearer", "--token-key", "K"];
    await server.cli(["vault", "service", "add", ...service, "--scrub", "block"]);
    expect(await server.cli(["vault", "service", "list"])).toContain("scrub: block");
    await server.cli(["vault", "service", "remove", "scrubbed", "--yes"]);
  });

  it("finds the vault by flag, variable, project file and choice, in this order", async () => {
    for (const name of ["by-flag", "by-variable", "by-project", "by-choice"])
      await server.cli(["vault", "create", name]);
    const current = (args: string[] = [], env: Record<string, string> = {}, cwd = folder) =>
      server.cli(["vault", "current", ...args], { env, cwd }).then((text) => text.trim());
    expect(await current()).toBe("default");
    await server.cli(["vault", "use", "by-choice"]);
    expect(await current()).toBe("by-choice");
    await mkdir(join(folder, "deep"), { recursive: true });
    await server.cli(["vault", "init", "--vault", "by-project"], { cwd: folder });
    expect(await current([], {}, join(folder, "deep"))).toBe("by-project");
    expect(await current([], { AGENT_VAULT_VAULT: "by-variable" })).toBe("by-variable");
    expect(await current(["--vault", "by-flag"], { AGENT_VAULT_VAULT: "by-variable" })).toBe("by-flag");
    await server.cli(["vault", "delete", "by-choice", "--yes"]);
    expect(await current([], {}, tmpdir())).toBe("default");
  });

  it("compares the server that a project names, and never follows it", async () => {
    const project = await mkdtemp(join(tmpdir(), "agent-vault-project-"));
    await writeFile(join(project, "agent-vault.json"), '{"vault":"default","address":"https://evil.example.com"}');
    const { code, stderr } = await server.run(["vault", "service", "list"], { cwd: project });
    expect(code).toBe(0);
    expect(stderr).toContain("is about the server https://evil.example.com");
    await writeFile(
      join(project, "agent-vault.json"),
      JSON.stringify({ vault: "default", address: `${server.apiUrl}/` }),
    );
    expect((await server.run(["vault", "service", "list"], { cwd: project })).stderr).toBe("");
    await rm(project, { recursive: true, force: true });
  });

  it("tells a command that is not there from one that cannot be executed", async () => {
    expect(await server.run(["run", "--", "no-such-command"])).toMatchObject({ code: 127 });
    const result = await server.run(["run", "--", "/etc/passwd"]);
    expect(result).toMatchObject({ code: 126 });
    expect(result.stderr).toContain("cannot be executed");
    expect(JSON.parse(await server.cli(["vault", "token", "list", "--json"]))).toMatchObject({ sessions: [] });
  });

  it("names what there is when a service is not found", async () => {
    const { stderr } = await server.run(["vault", "service", "enable", "nope"]);
    expect(stderr).toMatch(/try: +one of github/);
  });

  it("says how to find the vaults when the one that is named is not there", async () => {
    for (const command of [
      ["vault", "service", "list"],
      ["run", "--", "true"],
    ]) {
      const result = await server.run([...command.slice(0, 1), "--vault", "nope", ...command.slice(1)]);
      expect(result).toMatchObject({ code: 1 });
      expect(result.stderr).toContain("agent-vault vault list");
    }
  });

  it("gives a command its token and takes it back when the command ends", async () => {
    const said = await server.run([
      "run",
      "-q",
      "--vault",
      "default",
      "--",
      "sh",
      "-c",
      'echo "$AGENT_VAULT_TOKEN"; exit 7',
    ]);
    expect(said.code).toBe(7);
    const token = said.stdout.trim();
    expect(token).toMatch(/^av_sess_/);
    const after = await fetch(`${server.apiUrl}/discover`, { headers: { authorization: `Bearer ${token}` } });
    expect(after.status).toBe(401);
  });

  it("passes a signal on to the command, and its end back as 128 and its number", async () => {
    const child = spawn(binaryPath, ["run", "-q", "--vault", "default", "--", "sh", "-c", "echo up; sleep 30"], {
      env: { PATH: process.env.PATH ?? "", ...server.env() },
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((ready) => child.stdout.once("data", ready));
    child.kill("SIGTERM");
    expect(await new Promise((end) => child.once("exit", end))).toBe(143);
  });

  it("mints nothing for a command that is not there", async () => {
    const missing = await server.run(["run", "--vault", "default", "--", "no-such-command"]);
    expect(missing.code).toBe(127);
    const { sessions } = JSON.parse(await server.cli(["vault", "token", "list", "--vault", "default", "--json"]));
    expect(sessions).toEqual([]);
  });

  it("runs as the agent whose token is in the environment, without a login", async () => {
    const token = await server.cli(["agent", "create", "bot", "--vault", "default", "--token-only"]);
    const home = await mkdtemp(join(tmpdir(), "agent-vault-agent-"));
    const env = { HOME: home, AGENT_VAULT_ADDR: server.apiUrl, AGENT_VAULT_TOKEN: token, AGENT_VAULT_VAULT: "default" };
    expect(await runBinary(["run", "-q", "--", "echo", "hi"], { env })).toMatchObject({ code: 0, stdout: "hi\n" });
    expect((await runBinary(["vault", "discover"], { env })).stdout).toContain("FROM_STDIN");
    expect((await runBinary(["run", "--ttl", "600", "--", "true"], { env })).code).toBe(2);
    expect((await runBinary(["run", "--", "true"], { env: { ...env, AGENT_VAULT_VAULT: "" } })).stderr).toContain(
      "--vault",
    );
    expect((await runBinary(["run", "--", "true"], { env: { ...env, AGENT_VAULT_TOKEN: "wrong" } })).stderr).toContain(
      "AGENT_VAULT_TOKEN",
    );
    expect((await readdir(join(home, ".agent-vault"))).some((file) => file === "session.json")).toBe(false);
    await rm(home, { recursive: true });
  });

  it("keeps the answers of the API under --json", async () => {
    expect(JSON.parse(await server.cli(["vault", "list", "--json"]))).toHaveProperty("vaults");
    expect(JSON.parse(await server.cli(["catalog", "--json"])).services.length).toBeGreaterThan(50);
    const one = JSON.parse(await server.cli(["vault", "credential", "get", "FROM_STDIN", "--json"]));
    expect(one).toMatchObject({ key: "FROM_STDIN", type: "static", value: "one" });
    const root = JSON.parse(await server.cli(["ca", "fetch", "--json"]));
    expect(root).toEqual({ certificate: await server.cli(["ca", "fetch"]), mitm_port: server.proxyPort });
  });

  it("says what a token for one vault cannot do, and what would work", async () => {
    const token = await server.cli(["vault", "token", "--vault", "default"]);
    const env = { AGENT_VAULT_TOKEN: token };
    // Beside a login it is the login that lists.
    expect(await server.cli(["vault", "list"], { env })).toContain("default");
    const refused = await server.run(["vault", "list"], { env: { ...env, HOME: folder } });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("This token is for one vault and cannot list vaults");
    expect(refused.stderr).toContain("agent-vault vault discover");
    expect(refused.stdout + refused.stderr).not.toContain(token);
    const other = await server.run(["agent", "list"], { env });
    expect(other.code === 0 ? "" : other.stderr).not.toContain(token);
  });

  it("prints the proxy's root, and writes it for everybody to read", async () => {
    expect(await server.cli(["ca", "fetch"])).toContain("BEGIN CERTIFICATE");
    await server.cli(["ca", "fetch", "-o", "ca.pem"], { cwd: folder });
    expect((await stat(join(folder, "ca.pem"))).mode & 0o777).toBe(0o644);
  });

  it("ends a login on the server as well", async () => {
    await server.cli(["auth", "login", "--email", "owner@example.com", "--password-stdin"], { stdin: `${password}\n` });
    const { token } = JSON.parse(await readFile(join(server.home, ".agent-vault", "session.json"), "utf8"));
    await server.cli(["auth", "logout"]);
    expect((await server.run(["account", "whoami"])).stderr).toContain("agent-vault auth login");
    expect((await fetch(`${server.apiUrl}/v1/auth/me`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(
      401,
    );
    const wrong = await server.run(["auth", "login", "--email", "owner@example.com", "--password-stdin"], {
      stdin: "wrong\n",
    });
    expect(wrong).toMatchObject({ code: 1 });
    expect(wrong.stderr).toContain("Invalid e-mail or password");
  });
});

describe("mistakes on the command line", () => {
  it.each([
    { args: ["vautl"], code: 2, because: "an unknown command" },
    { args: ["auth", "frobnicate"], code: 2, because: "an unknown word after a group" },
    { args: ["help", "nothing"], code: 2, because: "help on what there is not" },
    { args: ["completion", "csh"], code: 2, because: "an unknown shell" },
    { args: ["server", "stpo"], code: 2, because: "this used to start a server" },
    { args: ["server", "--port", "70000"], code: 2, because: "a port that there is not" },
    { args: ["server", "--log-level", "loud"], code: 2, because: "a level that there is not" },
    { args: ["version", "--jsno"], code: 2, because: "an unknown flag" },
    { args: ["account", "whoami"], code: 1, because: "nobody is logged in" },
    { args: ["server", "stop"], code: 1, because: "no server runs" },
  ])("$args end with $code and one error: $because", async ({ args, code }) => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-none-"));
    const result = await runBinary(args, { env: { HOME: home } });
    expect(result.code).toBe(code);
    expect(result.stdout).toBe("");
    expect(result.stderr.match(/^error: /gm)).toHaveLength(1);
    expect(result.stderr.trim().split("\n").length).toBeLessThanOrEqual(2);
    await rm(home, { recursive: true });
  });

  it("are not made by asking for help or the version", async () => {
    for (const args of [[], ["--help"], ["vault"], ["help", "vault", "list"], ["owner", "user", "--help"]]) {
      expect(await runBinary(args)).toMatchObject({ code: 0, stderr: "" });
    }
    expect((await runBinary(["-v"])).stdout).toMatch(/^agent-vault version \d+\.\d+\.\d+\n$/);
  });
});

describe("a detached server", () => {
  it("starts with the password from a pipe, refuses a second one, reports and stops", async () => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-detached-"));
    const [port, proxyPort] = await freePorts();
    const ports = ["--port", String(port), "--mitm-port", String(proxyPort)];
    const env = { HOME: home };
    const started = await runBinary(["server", "-d", "--password-stdin", ...ports], {
      env,
      stdin: "master-secret-1\n",
    });
    try {
      expect(started).toMatchObject({ code: 0 });
      const pid = (await readFile(join(home, ".agent-vault", "agent-vault.pid"), "utf8")).trim();
      for (const file of ["cmdline", "environ"]) {
        expect(await readFile(`/proc/${pid}/${file}`, "utf8")).not.toContain("master-secret-1");
      }
      expect(JSON.parse((await runBinary(["server", "status", "--json"], { env })).stdout)).toEqual({
        running: true,
        pid: Number(pid),
        address: `http://127.0.0.1:${port}`,
        healthy: true,
        root_expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      });
      expect((await runBinary(["server", "-d", ...ports], { env })).stderr).toContain(`PID ${pid}`);
      expect((await runBinary(["master-password", "remove"], { env })).stderr).toContain("is running");
    } finally {
      expect((await runBinary(["server", "stop"], { env })).code).toBe(0);
    }
    const wrong = await runBinary(["server", "-d", "--password-stdin", ...ports], { env, stdin: "wrong\n" });
    expect(wrong).toMatchObject({ code: 1 });
    expect(wrong.stderr).toContain("master password is wrong");
    const changed = await runBinary(["master-password", "change", "--password-stdin"], {
      env,
      stdin: "master-secret-1\nmaster-secret-2\n",
    });
    expect(changed.code).toBe(0);
    const again = await runBinary(["server", "-d", ...ports], {
      env: { ...env, AGENT_VAULT_MASTER_PASSWORD: "master-secret-2" },
    });
    expect(again.code).toBe(0);
    expect((await runBinary(["server", "stop"], { env })).code).toBe(0);
    expect(await readdir(join(home, ".agent-vault"))).not.toContain("agent-vault.address");
    await rm(home, { recursive: true });
  });

  it("says on the terminal that a master password is ignored", async () => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-ignored-"));
    const [port, proxyPort] = await freePorts();
    const start = ["server", "-d", "--port", String(port), "--mitm-port", String(proxyPort)];
    expect((await runBinary(start, { env: { HOME: home } })).code).toBe(0);
    expect((await runBinary(["server", "stop"], { env: { HOME: home } })).code).toBe(0);
    const again = await runBinary(start, { env: { HOME: home, AGENT_VAULT_MASTER_PASSWORD: "not-needed-1" } });
    expect((await runBinary(["server", "stop"], { env: { HOME: home } })).code).toBe(0);
    expect(again).toMatchObject({ code: 0 });
    expect(again.stderr).toContain("MASTER PASSWORD IGNORED");
    await rm(home, { recursive: true });
  });

  it("is not mistaken for what already answers on its port", async () => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-taken-"));
    const [, proxyPort] = await freePorts();
    const other = createServer((_, response) => response.end('{"status":"ok"}'));
    await new Promise<void>((ready) => other.listen(0, "127.0.0.1", ready));
    const address = other.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const result = await runBinary(["server", "-d", "--port", String(port), "--mitm-port", String(proxyPort)], {
      env: { HOME: home },
    });
    other.close();
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("already in use");
    expect(await readdir(join(home, ".agent-vault")), "a start that failed leaves nothing half-made").toEqual([]);
    await rm(home, { recursive: true });
  });

  it("is not stopped when its pid belongs to another program by now", async () => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-stale-"));
    await mkdir(join(home, ".agent-vault"), { mode: 0o700 });
    const stranger = spawn("sleep", ["30"]);
    await writeFile(join(home, ".agent-vault", "agent-vault.pid"), `${stranger.pid}\n`);
    const result = await runBinary(["server", "stop"], { env: { HOME: home } });
    expect(result.code).toBe(1);
    expect(stranger.exitCode).toBeNull();
    stranger.kill();
    await rm(home, { recursive: true });
  });

  it("says which directory it cannot write", async () => {
    // Not even root can make a folder there, and tests run as root in containers.
    const result = await runBinary(["server"], { env: { HOME: "/dev/null" } });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("/dev/null/.agent-vault");
  });
});
