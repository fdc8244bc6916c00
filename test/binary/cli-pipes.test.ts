import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BinaryServer, binaryPath, startBinaryServer } from "../support/binary.ts";

describe("the command line without a terminal", () => {
  let server: BinaryServer;

  beforeAll(async () => {
    server = await startBinaryServer();
    const register = ["auth", "register", "--email", "owner@example.com", "--password-stdin"];
    await server.cli(register, { stdin: "a-good-password\n" });
  });
  afterAll(async () => server?.stop());

  const clear = ["vault", "service", "clear"];
  const services = async () => JSON.parse(await server.cli(["vault", "service", "list", "--json"])).services.length;

  it.each([
    { stdin: "y\n", code: 0, left: 0, because: "scripts answer like that" },
    { stdin: "YES", code: 0, left: 0, because: "the last line may lack its end" },
    { stdin: "n\ny\n", code: 0, left: 1, because: "the first line is the answer" },
    { stdin: "\n", code: 0, left: 1, because: "the default is no" },
    { stdin: "yep\n", code: 0, left: 1, because: "only y and yes are a yes" },
    { stdin: "sk_live_1\n", code: 0, left: 1, because: "what came by accident is no yes, and is not repeated" },
    { stdin: "", code: 1, left: 1, because: "nobody has answered" },
  ])("takes $stdin from a pipe for a question: $because", async ({ stdin, code, left }) => {
    await server.cli(["vault", "service", "add", "--template", "stripe"]);
    const result = await server.run(clear, { stdin });
    expect(result.code, result.stderr).toBe(code);
    expect(await services()).toBe(left);
    expect(result.stderr).not.toContain("sk_live_1");
    if (left === 1 && code === 0) expect(result.stdout).toBe("Aborted.\n");
    if (code === 1) expect(result.stderr).toContain("try:   --yes");
  });

  it("takes the name of what is lost from a pipe, and no other", async () => {
    await server.cli(["vault", "create", "doomed"]);
    expect(await server.run(["vault", "delete", "doomed"], { stdin: "default\n" })).toMatchObject({ code: 0 });
    expect(await server.cli(["vault", "list"])).toContain("doomed");
    await server.cli(["vault", "delete", "doomed"], { stdin: "doomed\n" });
    expect(await server.cli(["vault", "list"])).not.toContain("doomed");
  });

  it("does not wait for ever for an answer of a pipe that is open and silent", async () => {
    const child = spawn(binaryPath, clear, {
      env: { ...server.env(), PATH: process.env.PATH },
      stdio: ["pipe", "ignore", "pipe"],
    });
    const [code] = await once(child, "exit");
    child.stdin.end();
    expect(code).toBe(1);
  });

  it("says which there are where somebody would have to pick", async () => {
    await server.cli(["vault", "create", "other"]);
    const { code, stdout, stderr } = await server.run(["vault", "init"]);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toBe("error: Cannot ask without a terminal: Vault, one of default, other\ntry:   --vault NAME\n");
  });

  it("says once that a variable has an older name", async () => {
    const token = await server.cli(["vault", "token", "--vault", "default"]);
    const older = { AGENT_VAULT_ADDR: server.apiUrl, AGENT_VAULT_SESSION_TOKEN: token, AGENT_VAULT_VAULT: "default" };
    const { code, stderr } = await server.run(["vault", "discover"], { env: older });
    expect([code, stderr]).toEqual([0, "warning: AGENT_VAULT_SESSION_TOKEN is the old name; use AGENT_VAULT_TOKEN\n"]);
  });

  it("lists vaults as the person inside of run, whose token is for one vault, and as an agent with its own", async () => {
    const list = ["vault", "list", "--json"];
    const inside = await server.cli(["run", "-q", "--vault", "default", "--", binaryPath, ...list]);
    expect(JSON.parse(inside)).toEqual(JSON.parse(await server.cli(list)));
    const agent = JSON.parse(await server.cli(["agent", "create", "lister", "--vault", "default", "--json"]));
    const env = { AGENT_VAULT_ADDR: server.apiUrl, AGENT_VAULT_TOKEN: agent.av_agent_token };
    const { vaults } = JSON.parse(await server.cli(list, { env }));
    expect(vaults.map(({ name }: { name: string }) => name)).toEqual(["default"]);
  });

  it("says once that values on the command line can be seen", async () => {
    const propose = ["vault", "proposal", "create", "--credential", "ONE", "--credential", "TWO", "--json"];
    const { id } = JSON.parse(await server.cli(propose));
    const { code, stderr } = await server.run(["vault", "proposal", "approve", String(id), "ONE=1", "TWO=2", "--yes"]);
    expect(code).toBe(0);
    expect(stderr.match(/is visible to other processes/g)).toHaveLength(1);
  });

  it("removes a saved login that cannot be read, so that logging out is possible", async () => {
    await writeFile(join(server.home, ".agent-vault", "session.json"), "{");
    const { code, stderr } = await server.run(["auth", "logout"]);
    expect(code).toBe(0);
    expect(stderr).toContain("cannot be read, so it was removed");
    expect((await server.run(["auth", "logout"])).stderr).toContain("Nobody is logged in");
  });
});
