import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, freePorts, runBinary, startBinaryServer } from "../support/binary.ts";

interface Report {
  readonly ok: boolean;
  readonly checks: readonly {
    readonly name: string;
    readonly verdict: string;
    readonly message: string;
    readonly variables?: readonly { readonly name: string; readonly is_set_by_run: boolean }[];
  }[];
}

describe("agent-vault doctor", () => {
  let server: BinaryServer;
  let bin: string;

  beforeAll(async () => {
    server = await startBinaryServer();
    const register = ["auth", "register", "--email", "owner@example.com", "--password-stdin"];
    await server.cli(register, { stdin: "a-good-password\n" });
    bin = await mkdtemp(join(tmpdir(), "agent-vault-bin-"));
  });
  afterAll(async () => {
    await server?.stop();
    await rm(bin, { recursive: true, force: true });
  });

  async function ask(args: readonly string[] = [], env: Record<string, string> = {}) {
    const { code, stdout, stderr } = await server.run(["doctor", "--json", ...args], { env, timeoutMs: 60_000 });
    const report = JSON.parse(stdout) as Report;
    const verdicts = Object.fromEntries(report.checks.map(({ name, verdict }) => [name, verdict]));
    return { code, report, verdicts, everything: stdout + stderr };
  }

  it.each(["curl", "wget", "git", "python"])("sees that %s goes through the broker", async (client) => {
    const { code, report, verdicts } = await ask(["--client", client]);
    expect(verdicts, JSON.stringify(report)).toMatchObject({
      server_reachable: "ok",
      version: "ok",
      login: "ok",
      vault: "ok",
      root_certificate: "ok",
      proxy_port: "ok",
      tunnel: "ok",
      [client]: "ok",
    });
    expect(code).toBe(0);
    const variables = report.checks.find(({ name }) => name === client)?.variables ?? [];
    expect(variables.length).toBeGreaterThan(1);
    expect(variables.every((variable) => variable.is_set_by_run)).toBe(true);
  });

  it("takes the token back that it tried things with", async () => {
    await ask(["--no-clients"]);
    expect(JSON.parse(await server.cli(["vault", "token", "list", "--json"]))).toMatchObject({ sessions: [] });
  });

  it("finds a client that goes around the broker, and shows no token that the client prints", async () => {
    await writeFile(
      join(bin, "curl"),
      '#!/bin/sh\necho "error: $HTTPS_PROXY $AGENT_VAULT_TOKEN" | tee "$HOME/seen"; exit 7\n',
    );
    await chmod(join(bin, "curl"), 0o755);
    const { code, report, verdicts, everything } = await ask(["--client", "curl"], {
      PATH: `${bin}:${process.env.PATH}`,
    });
    expect(code).toBe(1);
    expect(report.ok).toBe(false);
    expect(verdicts.curl).toBe("failed");
    const token = (await readFile(join(server.home, "seen"), "utf8")).trim().split(" ").at(-1) ?? "";
    expect(token.length).toBeGreaterThan(20);
    expect(everything).not.toContain(token);
  });

  it("names a client that was asked for and is not there, and a word that is no client", async () => {
    const { code, verdicts } = await ask(["--client", "curl"], { PATH: bin.replace(/$/, "/nothing") });
    expect([code, verdicts.curl]).toEqual([1, "failed"]);
    expect(await server.run(["doctor", "--client", "frob"])).toMatchObject({ code: 2 });
  });

  it("says that nobody is logged in, without asking", async () => {
    const home = await mkdtemp(join(tmpdir(), "agent-vault-nobody-"));
    const { code, verdicts } = await ask(["--no-clients"], { HOME: home });
    expect([code, verdicts.login, verdicts.proxy_port]).toEqual([1, "failed", "ok"]);
    await rm(home, { recursive: true, force: true });
  });

  it("looks at things as the agent whose token is there", async () => {
    const token = await server.cli(["agent", "create", "looker", "--vault", "default", "--token-only"]);
    await server.cli(["vault", "create", "closed"]);
    const good = await ask(["--no-clients"], { AGENT_VAULT_TOKEN: token, AGENT_VAULT_VAULT: "default" });
    expect([good.code, good.verdicts.token, good.verdicts.tunnel]).toEqual([0, "ok", "ok"]);
    const elsewhere = await ask(["--no-clients"], { AGENT_VAULT_TOKEN: token, AGENT_VAULT_VAULT: "closed" });
    expect([elsewhere.code, elsewhere.verdicts.token]).toEqual([1, "failed"]);
    const wrong = await ask(["--no-clients"], { AGENT_VAULT_TOKEN: `${token}x`, AGENT_VAULT_VAULT: "default" });
    expect([wrong.code, wrong.verdicts.token]).toEqual([1, "failed"]);
    expect(wrong.everything).not.toContain(token);
  });

  it("finds that there is no server, and that a server has no proxy", async () => {
    const [port] = await freePorts();
    const gone = await runBinary(["doctor", "--no-clients", "--address", `http://127.0.0.1:${port}`], {
      env: { HOME: bin },
    });
    expect(gone.code).toBe(1);
    expect(gone.stdout).toContain("cannot be reached");
    await using bare = await startBinaryServer({ args: ["--mitm-port=0"] });
    const off = await runBinary(["doctor", "--no-clients"], {
      env: { HOME: bare.home, AGENT_VAULT_ADDR: bare.apiUrl },
    });
    expect(off.code).toBe(1);
    expect(off.stdout).toContain("without its proxy");
  });

  it("tells the version to nobody without a token", async () => {
    expect((await fetch(`${server.apiUrl}/v1/instance/version`)).status).toBe(401);
  });
});
