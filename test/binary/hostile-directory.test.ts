import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { runBinary, startBinaryServer } from "../support/binary.ts";

// A repository that somebody cloned is where an agent works; what lies in it must not run inside the broker.
describe("the binary in a hostile directory", () => {
  let folder: string;
  let marker: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "agent-vault-hostile-"));
    marker = join(folder, "it-ran");
    await writeFile(join(folder, "evil.ts"), `require("node:fs").writeFileSync(${JSON.stringify(marker)}, "");`);
    await writeFile(join(folder, "bunfig.toml"), 'preload = ["./evil.ts"]\n');
    await writeFile(join(folder, ".env"), "AGENT_VAULT_LOG_LEVEL=bogus\nDATABASE_URL=mysql://evil\n");
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("does not run a preload from bunfig.toml", async () => {
    const { code, stdout } = await runBinary(["version"], { cwd: folder });
    expect(code).toBe(0);
    expect(stdout).toContain(packageJson.version);
    expect(existsSync(marker)).toBe(false);
  });

  it("does not read .env: the values there would stop a server", async () => {
    await using server = await startBinaryServer({ cwd: folder });
    expect((await fetch(`${server.apiUrl}/health`)).status).toBe(200);
    expect(existsSync(marker)).toBe(false);
  });
});
