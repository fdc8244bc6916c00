import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { runBinary, runProgram, startBinaryServer } from "../support/binary.ts";
import { registerOwner } from "../support/brokered-upstream.ts";

const top = join(import.meta.dirname, "..", "..");
const bun = join(top, "node_modules", ".bin", "bun");

describe("the build", () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "agent-vault-build-"));
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("gives the same bytes twice, stamped with the time it was given", async () => {
    const [first, second] = [await build("first"), await build("second")];
    expect(second).toBe(first);
    const { stdout } = await runProgram(join(folder, "first", "agent-vault"), ["version", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ version: packageJson.version, built_at: "2023-11-14T22:13:20.000Z" });
  }, 240_000);

  it("answers --version with one line", async () => {
    const { code, stdout } = await runBinary(["--version"]);
    expect(code).toBe(0);
    expect(stdout).toBe(`agent-vault version ${packageJson.version}\n`);
  });

  it("embeds the catalog, which a server offers far from the checkout", async () => {
    await using server = await startBinaryServer({ cwd: folder });
    await registerOwner(server);
    const templates = (await readdir(join(top, "catalog"))).filter(
      (file) => /\.json$/.test(file) && file !== "schema.json",
    );
    expect(templates.length).toBeGreaterThan(0);
    const offered = JSON.stringify(await (await fetch(`${server.apiUrl}/v1/service-catalog`)).json());
    expect(templates.filter((file) => !offered.includes(`"${file.replace(/\.json$/, "")}"`))).toEqual([]);
  });

  /** Builds into a folder of its own and returns the SHA-256 of the binary. */
  async function build(name: string): Promise<string> {
    const out = join(folder, name);
    const result = await runProgram(bun, ["scripts/build-binaries.ts", "--host", "--out", out], {
      cwd: top,
      env: { SOURCE_DATE_EPOCH: "1700000000", HOME: process.env.HOME ?? folder },
      timeoutMs: 120_000,
    });
    if (result.code !== 0) throw new Error(result.stdout + result.stderr);
    return createHash("sha256")
      .update(await readFile(join(out, "agent-vault")))
      .digest("hex");
  }
});
