import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, binaryPath, runBinary, startBinaryServer } from "../support/binary.ts";
import { runInTerminal, type Step } from "../support/terminal.ts";

describe("completion", () => {
  let server: BinaryServer;
  let folder: string;

  beforeAll(async () => {
    server = await startBinaryServer();
    folder = await mkdtemp(join(tmpdir(), "agent-vault-shell-"));
    const register = ["auth", "register", "--email", "owner@example.com", "--password-stdin"];
    await server.cli(register, { stdin: "a-good-password\n" });
    for (const name of ["billing", "reports"]) await server.cli(["vault", "create", name]);
    const add = ["vault", "service", "add", "--vault", "billing", "--name", "stripe", "--host", "api.stripe.com"];
    await server.cli([...add, "--auth-type", "passthrough"]);
  });
  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function wordsFor(line: string, env: Record<string, string> = {}): Promise<readonly string[]> {
    const { stdout, stderr } = await server.run(["completion", "words", "--", ...line.split(" ")], { env });
    expect(stderr).toBe("");
    return stdout
      .split("\n")
      .filter((word) => word !== "")
      .map((word) => word.split("\t")[0] ?? "");
  }

  it.each([
    { line: "vau", gives: ["vault"], because: "commands" },
    { line: "vault cred", gives: ["credential", "credential-store"], because: "subcommands, without other spellings" },
    { line: "agent cr", gives: ["create"], because: "hidden ones are not advertised" },
    { line: "vault use b", gives: ["billing"], because: "names of vaults" },
    { line: "run --vault re", gives: ["reports"], because: "names as values of flags" },
    { line: "run --vault=re", gives: ["--vault=reports"], because: "joined ones, too" },
    { line: "service remove --vault billing s", gives: ["stripe"], because: "services of the vault that is named" },
    { line: "service remove --vault=billing s", gives: ["stripe"], because: "however it is spelt" },
    { line: "service remove --vault reports s", gives: [], because: "and only of that one" },
    { line: "vault service add --auth-type b", gives: ["bearer", "basic"], because: "values that a flag allows" },
    { line: "vault list --j", gives: ["--json"], because: "flags" },
    { line: "apply -f ", gives: [":file"], because: "the shell knows its files" },
    { line: "run -- ", gives: [":command"], because: "and its commands" },
    { line: "run -- curl ", gives: [":file"], because: "what follows belongs to another program" },
    { line: "vault nonsense ", gives: [], because: "nothing is offered for what is wrong" },
  ])("offers $gives after '$line': $because", async ({ line, gives }) => {
    const offered = await wordsFor(line);
    if (gives.length === 0) expect(offered.filter((word) => !word.startsWith("-"))).toEqual([]);
    else expect(offered).toEqual(gives);
  });

  it("is silent and empty where nobody is logged in or there is no server", async () => {
    expect(await wordsFor("vault use ", { HOME: folder })).not.toContain("default");
    const away = { AGENT_VAULT_TOKEN: "av_agt_x", AGENT_VAULT_ADDR: "http://127.0.0.1:9" };
    expect(await wordsFor("vault use b", away)).toEqual([]);
  });

  it("offers nothing of a hostile server that a shell would run or a terminal obey", async () => {
    const names = ["good", "$(touch pwned)", "`id`", "a b", ";id", "-\u001b[2J", "x\ty", "x\n:command", "'q"];
    const hostile = createServer((_, answer) => {
      answer.setHeader("content-type", "application/json");
      answer.end(JSON.stringify({ vaults: names.map((name) => ({ id: "1", name })) }));
    });
    await new Promise<void>((done) => void hostile.listen(0, "127.0.0.1", done));
    const address = `http://127.0.0.1:${(hostile.address() as AddressInfo).port}`;
    const away = { AGENT_VAULT_TOKEN: "av_agt_x", AGENT_VAULT_ADDR: address };
    expect(await wordsFor("vault use ", away)).toEqual(["good"]);
    await new Promise((done) => hostile.close(done));
  });

  const env = () => ({
    ...server.env(),
    PATH: `${dirname(binaryPath)}:${process.env.PATH}`,
    PS1: "ready> ",
    TERM: "dumb",
  });
  const finish: Step = ["", "\u0015exit\r"];

  it("works in bash, also where bash splits words", async () => {
    const { screen } = await runInTerminal(["--norc", "--noprofile", "-i"], {
      program: "bash",
      env: env(),
      cwd: folder,
      steps: [
        ["ready> ", "source <(agent-vault completion bash); echo on\r"],
        ["\non", "agent-vault vault use bil\t"],
        ["use billing", "\u0015agent-vault run --vault=rep\t"],
        ["--vault=reports", "\u0015agent-vault agent create x --vault bil\t"],
        ["--vault billing", "\u0015agent-vault vault serv\t"],
        ["vault service", "\u0015agent-vault auth login --addr\t"],
        ["--address", finish[1]],
      ],
    });
    expect(screen).toContain("agent-vault vault use billing");
  });

  it("works in zsh", async () => {
    const { screen } = await runInTerminal(["-f", "-i"], {
      program: "zsh",
      env: { ...env(), TERM: "xterm" },
      cwd: folder,
      steps: [
        ["ready> ", "autoload -U compinit; compinit -u -D; source <(agent-vault completion zsh); echo o''n\r"],
        ["on", "agent-vault vault use bil\t"],
        ["ling", "\u0015agent-vault run --vault=rep\t"],
        ["orts", "\u0015agent-vault vault serv\t"],
        ["ice", "\u0015agent-vault auth se\t"],
        ["ssions", finish[1]],
      ],
    });
    expect(screen).toContain("ling");
  });

  it("works in fish, with descriptions", () => {
    const ask = (line: string) => {
      const script = `agent-vault completion fish | source; complete -C ${JSON.stringify(line)}`;
      const { stdout, stderr } = spawnSync("fish", ["--no-config", "-c", script], { env: env(), encoding: "utf8" });
      expect(stderr).toBe("");
      return stdout.trim().split("\n");
    };
    expect(ask("agent-vault vault use bil")).toEqual(["billing"]);
    expect(ask("agent-vault run --vault=rep")).toEqual(["--vault=reports"]);
    expect(ask("agent-vault vault servi")).toEqual(["service\tThe services that a vault brokers"]);
  });

  it.each(["bash", "zsh", "fish"])("prints a script that %s can read", async (shell) => {
    const { stdout } = await runBinary(["completion", shell]);
    const { status, stderr } = spawnSync(shell, ["-n", "/dev/stdin"], { input: stdout, encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
  });

  it("refuses a shell that there is no script for", async () => {
    expect(await runBinary(["completion", "csh"])).toMatchObject({ code: 2 });
  });
});
