import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunResult, runProgram } from "../support/binary.ts";
import { type BrokeredUpstream, startBrokeredUpstream } from "../support/brokered-upstream.ts";

const top = join(import.meta.dirname, "..", "..");
const secret = "sk_live_4c1d9e7b22a85f30";
// The pinned Node 24, Bun and Deno, not the machine's.
const path = [join(top, "node_modules", ".bin"), process.env.PATH].join(delimiter);

/** The one that runs npm: often an older release than the pinned one, down to Node 20. */
const machinesNode = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((folder) => !folder.includes("node_modules"))
  .map((folder) => join(folder, "node"))
  .find((file) => existsSync(file));

const runtimes = [
  { name: "machine", command: (file: string) => [machinesNode ?? "no node on the machine", file] },
  { name: "node", command: (file: string) => ["node", file] },
  { name: "bun", command: (file: string) => ["bun", file] },
  { name: "deno", command: (file: string) => ["deno", "run", "-A", "--no-lock", file] },
] as const;

/** Ways in which programs find the declarations of a package. */
const resolutions = [
  { module: "NodeNext", moduleResolution: "NodeNext" },
  { module: "ESNext", moduleResolution: "Bundler" },
] as const;

describe("the package", () => {
  let folder: string;
  let project: string;
  let brokered: BrokeredUpstream;
  let token: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "agent-vault-sdk-"));
    project = join(folder, "project");
    await must(["bun", join(top, "scripts", "build-sdk.ts"), "--out", join(folder, "sdk")], top);
    await must(["npm", "pack", "--silent", "--pack-destination", folder], join(folder, "sdk"));
    const tarball = (await readdir(folder)).find((file) => file.endsWith(".tgz")) ?? "";
    await cp(join(top, "test", "fixtures", "sdk-consumer"), project, { recursive: true });
    await writeFile(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
    const install = ["npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", join(folder, tarball)];
    await must(install, project);
    brokered = await startBrokeredUpstream({
      answer: (_, response) => void response.writeHead(200, { "content-type": "text/plain" }).end("hello agent\n"),
    });
    const login = await readFile(join(brokered.server.home, ".agent-vault", "session.json"), "utf8");
    token = (JSON.parse(login) as { token: string }).token;
    await compile(resolutions[0], { emits: true });
  }, 120_000);

  afterAll(async () => {
    await brokered?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  it("brings nothing but itself", async () => {
    const modules = await readdir(join(project, "node_modules"));
    expect(modules.filter((name) => !name.startsWith("."))).toEqual(["agent-vault-sdk"]);
    const installed = join(project, "node_modules", "agent-vault-sdk");
    expect((await readdir(installed)).sort()).toEqual(["LICENSE", "README.md", "lib", "package.json"]);
    const files = await readdir(join(installed, "lib"), { recursive: true });
    const imports = await Promise.all(
      files
        .filter((file) => /\.(js|ts)$/.test(file))
        .map(async (file) => {
          const text = await readFile(join(installed, "lib", file), "utf8");
          return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, target]) => target ?? "");
        }),
    );
    expect(imports.flat().length).toBeGreaterThan(20);
    expect(imports.flat().filter((target) => !/^\.{1,2}\/.*\.js$/.test(target))).toEqual([]);
  });

  it.each(resolutions)("has types for programs that resolve as $moduleResolution", async (resolution) => {
    await compile(resolution, { emits: false });
  });

  it("has types that refuse what the server would refuse", async () => {
    const wrong = [
      'import { AgentVault, buildProxyEnv } from "agent-vault-sdk";',
      'const vault = new AgentVault({ token: "t" }).vault("v");',
      'await vault.services.set([{ host: "h", auth: { type: "bearer", key: "A" } }]);',
      'await vault.sessions.create({ vaultRole: "root" });',
      "const session = await vault.sessions.create();",
      'buildProxyEnv(session.containerConfig, "/ca.pem");',
    ];
    await writeFile(join(project, "wrong.ts"), wrong.join("\n"));
    const { code, stdout } = await compileFiles(["wrong.ts"], resolutions[0], false);
    expect(code).not.toBe(0);
    expect([...stdout.matchAll(/wrong\.ts\((\d+),/g)].map(([, line]) => line)).toEqual(["3", "4", "6"]);
  });

  it("needs no permission of Deno but the one to reach the server", async () => {
    const args = ["run", "--no-prompt", "--no-lock", "--allow-net", join(project, "unprivileged.js")];
    const { stdout, stderr } = await runProgram("deno", args, { cwd: project, env: { PATH: path, HOME: folder } });
    expect(stdout, stderr).toBe("unnamed function\n");
  });

  it.each(runtimes)("drives a server from $name, and leads programs through its proxy", async ({ name, command }) => {
    const { server, upstream, host } = brokered;
    upstream.forget();
    const vault = `sdk-${name}`;
    const [program, ...args] = [...command(join(project, "consumer.js")), vault, host(), secret, folder];
    const { stdout, stderr, code } = await runProgram(program ?? "", args, {
      cwd: project,
      env: { PATH: path, HOME: folder, AGENT_VAULT_TOKEN: token, AGENT_VAULT_ADDR: `${server.apiUrl}/` },
      timeoutMs: 60_000,
    });
    expect(code, stdout + stderr).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      created: { name: vault, isRecent: true },
      listed: true,
      set: { set: ["UNUSED", "UPSTREAM_TOKEN"] },
      versions: [
        { version: 2, current: true },
        { version: 1, current: false },
      ],
      value: "old",
      keys: ["UNUSED", "UPSTREAM_TOKEN"],
      deleted: { deleted: ["UNUSED"] },
      upserted: { vault, upserted: ["upstream", "other"], servicesCount: 2 },
      usage: { services: [{ name: "upstream", host: `${host()}/sdk/*` }] },
      disabled: false,
      removed: { vault, removed: "other", removedHost: "other.example.com", servicesCount: 1 },
      services: [["upstream", `${host()}/sdk/*`, "bearer"]],
      agent: true,
      agents: [[`${vault}-agent`, "proxy"]],
      approvalUrl: true,
      pending: "pending",
      forReview: [[1, ["MORE"]]],
      approved: "applied",
      waited: "applied",
      rejected: "rejected",
      own: [
        [2, "rejected"],
        [1, "applied"],
      ],
      curl: "hello agent\n",
      node: "hello agent\n\n",
      expires: true,
      inside: ["MORE", "UPSTREAM_TOKEN"],
      discovered: ["MORE", "UPSTREAM_TOKEN"],
      unnamed: [null, null, null],
      sessions: [["sandbox", "proxy"]],
      afterRevocation: { status: 401, code: expect.any(String), type: "application/json" },
      missing: { status: 404, code: "vault_not_found", type: "application/json" },
      refused: { status: 403, code: expect.any(String), type: "application/json" },
      unreachable: { code: "server_unreachable" },
      catalog: true,
      gone: { name: vault, deleted: true },
    });
    expect(upstream.requests.map((request) => [request.url, request.values("authorization")])).toEqual([
      [`/sdk/${vault}/curl`, [`Bearer ${secret}`]],
      [`/sdk/${vault}/node`, [`Bearer ${secret}`]],
    ]);
    expect(stdout + stderr).not.toContain(secret);
  });

  async function compile(resolution: (typeof resolutions)[number], { emits }: { readonly emits: boolean }) {
    const { code, stdout } = await compileFiles(["consumer.ts", "existing.ts", "unprivileged.ts"], resolution, emits);
    expect(code, stdout).toBe(0);
  }

  async function compileFiles(
    files: readonly string[],
    resolution: (typeof resolutions)[number],
    emits: boolean,
  ): Promise<RunResult> {
    const compilerOptions = {
      ...resolution,
      target: "ES2022",
      lib: ["ES2022", "DOM"],
      types: ["node"],
      typeRoots: [join(top, "node_modules", "@types")],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noEmit: !emits,
    };
    await writeFile(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
    return await runProgram("tsc", ["-p", project], { cwd: project, env: { PATH: path }, timeoutMs: 60_000 });
  }
});

async function must([program = "", ...args]: readonly string[], cwd: string): Promise<void> {
  const { code, stdout, stderr } = await runProgram(program, args, { cwd, env: { PATH: path }, timeoutMs: 60_000 });
  if (code !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
}
