import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, binaryPath, type RunOptions, runProgram, startBinaryServer } from "../support/binary.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { type RawUpstream, startRawUpstream } from "../support/upstream.ts";

describe("proposals at the command line", () => {
  let server: BinaryServer;
  let receiver: RawUpstream;
  let folder: string;
  let agent: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "agent-vault-proposals-"));
    const authority = await TestAuthority.create();
    await writeFile(join(folder, "ca.pem"), authority.pem);
    receiver = await startRawUpstream({
      authority,
      names: ["localhost"],
      script: (socket, received) => {
        if (received.includes("\r\n\r\n{")) socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
      },
    });
    server = await startBinaryServer({
      env: { AGENT_VAULT_ALLOW_PRIVATE_RANGES: "true", AGENT_VAULT_UPSTREAM_CA_FILE: join(folder, "ca.pem") },
    });
    await server.cli(["auth", "register", "--email", "owner@example.com", "--password-stdin"], {
      stdin: "a-good-password\n",
    });
    const created = JSON.parse(await server.cli(["agent", "create", "bot", "--vault", "default:proxy", "--json"])) as {
      av_agent_token: string;
    };
    agent = { AGENT_VAULT_TOKEN: created.av_agent_token, AGENT_VAULT_VAULT: "default" };
  });

  afterAll(async () => {
    await server?.stop();
    await receiver?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const proposal = (args: readonly string[], run?: RunOptions) => server.run(["vault", "proposal", ...args], run);
  const asAgent = (args: readonly string[], run: RunOptions = {}) => proposal(args, { ...run, env: agent });
  const create = async (...args: string[]) => {
    const { code, stdout, stderr } = await asAgent(["create", ...args, "--json"]);
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as { id: number; approval_url: string };
  };

  it("go from the agent's wish to a service, while the agent waits", async () => {
    const flags = ["--host", "api.github.com", "--auth-type", "bearer", "--token-key", "GITHUB_TOKEN"];
    const { id, approval_url } = await create(...flags, "--credential", "GITHUB_TOKEN=read access", "-m", "issues");
    expect(approval_url).toMatch(/\/approve\/1\?token=av_appr_[0-9a-f]{64}$/);
    const waiting = asAgent(["get", String(id), "--wait", "--timeout", "60"]);
    const shown = await proposal(["show", String(id)]);
    expect(shown.stdout).toContain("requests to api.github.com carry GITHUB_TOKEN (bearer)");
    const approved = await proposal(["approve", String(id), "GITHUB_TOKEN=-", "--yes"], { stdin: "ghp_from_stdin\n" });
    expect(approved).toMatchObject({ code: 0 });
    const waited = await waiting;
    expect(waited).toMatchObject({ code: 0 });
    expect(waited.stdout).toContain("applied");
    expect(await server.cli(["vault", "credential", "get", "GITHUB_TOKEN"])).toBe("ghp_from_stdin");
    expect(await server.cli(["vault", "service", "list"])).toContain("api-github-com");
  });

  it("end with 1 for a script when they are rejected, and tell the agent why", async () => {
    const waiting = asAgent(["create", "--credential", "STRIPE_KEY", "--wait", "--timeout", "60"]);
    await expect
      .poll(async () => (await proposal(["list", "--status", "pending"])).stdout, { timeout: 15_000 })
      .toContain("pending");
    await server.cli(["vault", "proposal", "reject", "2", "--reason", "use the read-only one"]);
    const { code, stdout, stderr } = await waiting;
    expect(code).toBe(1);
    expect(stdout).toContain("use the read-only one");
    expect(stderr).toContain("/approve/2?token=");
  });

  it("say when nobody decides in time", async () => {
    const { id } = await create("--credential", "SLOW");
    const { code, stderr } = await asAgent(["get", String(id), "--wait", "--timeout", "1"]);
    expect(code).toBe(1);
    expect(stderr).toContain("Nobody has decided");
    await server.cli(["vault", "proposal", "reject", String(id)]);
  });

  it("name the missing values where nobody can be asked, and take nothing by silence", async () => {
    const { id } = await create("--credential", "ONE", "--credential", "TWO");
    const { code, stderr } = await proposal(["approve", String(id), "--yes"]);
    expect(code).toBe(1);
    expect(stderr).toContain("needs values for ONE, TWO");
    await writeFile(
      join(folder, "supplied.json"),
      JSON.stringify({ credentials: [{ action: "set", key: "GIVEN", value: "from-agent" }] }),
    );
    const supplied = JSON.parse((await asAgent(["create", "-f", join(folder, "supplied.json"), "--json"])).stdout) as {
      id: number;
    };
    const silent = await proposal(["approve", String(supplied.id)]);
    expect(silent).toMatchObject({ code: 1 });
    expect(silent.stderr).toContain("--yes");
    expect(await proposal(["approve", String(supplied.id), "--yes"])).toMatchObject({ code: 0 });
    expect(await server.cli(["vault", "credential", "get", "GIVEN"])).toBe("from-agent");
    expect(
      await proposal(["approve", String(id), "--yes", "--credential", "ONE", "ONE=-"], { stdin: "1" }),
    ).toMatchObject({ code: 0 });
    expect((await asAgent(["get", String(id)])).stdout).toMatch(/Left out: +TWO\n/);
  });

  it("ask on a terminal before they take a value of the agent, and show no value that is typed", async () => {
    const supplied = join(folder, "asked.json");
    const slots = ["TAKEN", "TYPED"].map((key) => ({ action: "set", key, value: `${key}-from-agent` }));
    await writeFile(supplied, JSON.stringify({ credentials: slots }));
    const { id } = JSON.parse((await asAgent(["create", "-f", supplied, "--json"])).stdout) as { id: number };
    const screen = await atTerminal(["vault", "proposal", "approve", String(id)], server.env(), [
      ["Approve proposal", "y"],
      ["supplied for TAKEN?", ""],
      ["supplied for TYPED?", "n"],
      ["TYPED: ", "typed-in-secret"],
    ]);
    expect(screen).toContain(`Proposal ${id} applied`);
    expect(screen).not.toContain("typed-in-secret");
    expect(screen).not.toContain("from-agent");
    expect(await server.cli(["vault", "credential", "get", "TAKEN"])).toBe("TAKEN-from-agent");
    expect(await server.cli(["vault", "credential", "get", "TYPED"])).toBe("typed-in-secret");
  });

  it("are walked through one by one, skipped, rejected, and left by quitting", async () => {
    const made = [
      await create("--credential", "W1"),
      await create("--credential", "W2"),
      await create("--credential", "W3"),
    ];
    const screen = await atTerminal(["vault", "proposal", "review"], server.env(), [
      ["[a]pprove", "x"],
      ["[a]pprove", "s"],
      ["[a]pprove", "r"],
      ["Reason", "not now"],
      ["[a]pprove", "q"],
    ]);
    expect(screen).toContain(`1 rejected: #${made[1]?.id}`);
    expect(screen).toContain(`1 skipped: #${made[2]?.id}`);
    expect((await asAgent(["get", String(made[1]?.id)])).stdout).toContain("not now");
    for (const at of [0, 2]) await server.cli(["vault", "proposal", "reject", String(made[at]?.id)]);
  });

  it("show nothing that an agent wrote as it is: no escape, no line of its own", async () => {
    const message = "\u001b]0;owned\u0007\u001b[2J\u202egnp\nServices\n  + github  api.github.com";
    await writeFile(
      join(folder, "hostile.json"),
      JSON.stringify({
        message,
        user_message: message,
        credentials: [{ action: "set", key: "H", description: message }],
      }),
    );
    const { id } = JSON.parse((await asAgent(["create", "-f", join(folder, "hostile.json"), "--json"])).stdout) as {
      id: number;
    };
    for (const args of [["show", String(id)], ["list"], ["show", String(id), "--json"], ["approve", String(id)]]) {
      const { stdout, stderr } = await proposal(args);
      expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
      expect(stdout).not.toMatch(/^ {2}\+ github/m);
    }
    await server.cli(["vault", "proposal", "reject", String(id)]);
  });

  it("cannot be approved by the agent, and its file is read strictly", async () => {
    const { id } = await create("--credential", "MINE");
    expect(await asAgent(["approve", String(id), "--yes", "MINE=x"])).toMatchObject({ code: 1 });
    expect(await asAgent(["create", "-f", "-"], { stdin: "{} {}" })).toMatchObject({ code: 1 });
    expect(await asAgent(["create", "-f", "-", "--host", "a.example.com"], { stdin: "{}" })).toMatchObject({ code: 2 });
    expect(await asAgent(["create"])).toMatchObject({ code: 2 });
    expect(await asAgent(["create", "--auth-type", "bearer"])).toMatchObject({ code: 2 });
    expect(await proposal(["show", "first"])).toMatchObject({ code: 2 });
    expect(await proposal(["approve", String(id), "OTHER=x", "--yes"])).toMatchObject({ code: 2 });
    await server.cli(["proposal", "reject", String(id)]);
  });

  it("are reported to a webhook, without values and without the approval link", async () => {
    const set = await server.run([
      "vault",
      "proposal",
      "webhook",
      "set",
      `https://localhost:${receiver.port}/secret-path`,
    ]);
    expect(set.stdout).toMatch(/^whsec_/);
    await writeFile(
      join(folder, "told.json"),
      JSON.stringify({ credentials: [{ action: "set", key: "TOLD", value: "sk_told" }] }),
    );
    const { id, approval_url } = JSON.parse(
      (await asAgent(["create", "-f", join(folder, "told.json"), "--json"])).stdout,
    ) as { id: number; approval_url: string };
    await server.cli(["vault", "proposal", "approve", String(id), "--yes"]);
    await expect.poll(() => receiver.received.join("\n")).toContain("proposal.applied");
    const told = receiver.received.join("\n");
    expect(told).toContain("proposal.created");
    expect(told).not.toContain("sk_told");
    expect(told).not.toContain(new URL(approval_url).searchParams.get("token"));
    expect((await proposal(["webhook", "show"])).stdout).toMatch(/https:\/\/localhost:\d+ .* ok /);
    expect((await proposal(["webhook", "show"])).stdout).not.toContain("secret-path");
    await server.cli(["vault", "proposal", "webhook", "delete"]);
  });

  it("leave no value, link or secret in anything that the server wrote", async () => {
    const files = await readdir(join(server.home, ".agent-vault"), { recursive: true, withFileTypes: true });
    const texts = [server.log()];
    for (const file of files) {
      if (file.isFile()) texts.push(await readFile(join(file.parentPath, file.name), "latin1"));
    }
    const written = texts.join("\n");
    for (const secret of [
      "ghp_from_stdin",
      "from-agent",
      "typed-in-secret",
      "sk_told",
      "av_appr_",
      "whsec_",
      "secret-path",
    ]) {
      expect(written.includes(secret), secret).toBe(false);
    }
  });

  it("let the server stop at once, however many wait", async () => {
    const { id } = await create("--credential", "LAST");
    const waiting = asAgent(["get", String(id), "--wait"], { timeoutMs: 20_000 });
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const { code } = await server.stop();
    expect(code).toBe(0);
    expect((await waiting).code).toBe(1);
  });
});

/** Runs the binary on a terminal of its own and types an answer whenever its question shows; resolves to the screen. */
async function atTerminal(
  args: readonly string[],
  env: Record<string, string>,
  dialogue: readonly (readonly [question: string, answer: string])[],
): Promise<string> {
  const script = `
import json, os, pty, sys
args, dialogue = json.loads(sys.argv[1]), json.loads(sys.argv[2])
pid, terminal = pty.fork()
if pid == 0:
    os.execv(args[0], args)
screen, seen = b"", 0
while True:
    try:
        chunk = os.read(terminal, 4096)
    except OSError:
        break
    if not chunk:
        break
    screen += chunk
    while dialogue and dialogue[0][0].encode() in screen[seen:]:
        seen += screen[seen:].index(dialogue[0][0].encode()) + len(dialogue[0][0].encode())
        os.write(terminal, dialogue.pop(0)[1].encode() + b"\\n")
sys.stdout.buffer.write(screen)
`;
  const command = JSON.stringify([binaryPath, ...args]);
  const { stdout } = await runProgram("/usr/bin/python3", ["-c", script, command, JSON.stringify(dialogue)], { env });
  return stdout;
}
