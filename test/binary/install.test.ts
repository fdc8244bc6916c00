import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { binaryPath, freePorts, type RunResult, runBinary, runProgram } from "../support/binary.ts";
import { type RecordingUpstream, startRecordingUpstream } from "../support/recording-upstream.ts";
import { TestAuthority } from "../support/test-authority.ts";

const installer = join(import.meta.dirname, "..", "..", "install.sh");
const platform = `linux_${process.arch === "arm64" ? "arm64" : "amd64"}`;

describe("install.sh", () => {
  let folder: string;
  let place: RecordingUpstream;
  /** What the place of releases holds: path → contents. */
  const files = new Map<string, Buffer>();
  let home: string;
  let directory: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "agent-vault-install-"));
    const authority = await TestAuthority.create();
    await writeFile(join(folder, "ca.pem"), authority.pem);
    place = await startRecordingUpstream({
      authority,
      names: ["127.0.0.1"],
      answer: (request, response) => {
        if (request.url === "/latest") return void response.writeHead(302, { location: "/tag/v2.0.0" }).end();
        const found = request.url === "/tag/v2.0.0" ? Buffer.from("a page") : files.get(request.url);
        response.writeHead(found ? 200 : 404).end(found);
      },
    });
    // Small stand-ins where only the installer is in question; the upgrade below uses the real binary.
    await publish("1.0.0", await archiveOf("one", '#!/bin/sh\necho "agent-vault version 1.0.0"\n'));
    await publish("2.0.0", await archiveOf("two", '#!/bin/sh\necho "agent-vault version 2.0.0"\n'));
    const musl = await archiveOf("musl", '#!/bin/sh\necho "agent-vault version 2.0.0 for musl"\n');
    files.set(`/download/v2.0.0/agent-vault_2.0.0_${platform}_musl.tar.gz`, musl);
    appendChecksum("2.0.0", `agent-vault_2.0.0_${platform}_musl.tar.gz`, musl);
  });

  afterAll(async () => {
    await place?.close();
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    home = await mkdtemp(join(folder, "home-"));
    directory = join(home, "bin");
  });

  it("installs the latest release into the chosen directory", async () => {
    const { code, stdout, stderr } = await install();
    expect(code, stderr).toBe(0);
    expect(stdout).toContain(`Installed agent-vault 2.0.0 in ${directory}`);
    expect((await runProgram(join(directory, "agent-vault"), ["version"])).stdout).toBe("agent-vault version 2.0.0\n");
    expect(await readdir(directory)).toEqual(["agent-vault"]);
  });

  it.each(["1.0.0", "v1.0.0"])("installs the version that AGENT_VAULT_VERSION=%s pins", async (pin) => {
    const { code, stdout } = await install({ AGENT_VAULT_VERSION: pin });
    expect(code).toBe(0);
    expect(stdout).toContain("Installed agent-vault 1.0.0");
  });

  it("goes to ~/.local/bin for somebody who is not root", async () => {
    const tools = await fakeTools({ id: "echo 1000" });
    const { code } = await install({ AGENT_VAULT_INSTALL_DIR: "", PATH: `${tools}:/usr/bin:/bin` });
    expect(code).toBe(0);
    expect(existsSync(join(home, ".local", "bin", "agent-vault"))).toBe(true);
  });

  it("takes the musl build where the C library is musl", async () => {
    const tools = await fakeTools({ ldd: 'echo "musl libc (x86_64)" >&2; exit 1' });
    expect((await install({ PATH: `${tools}:/usr/bin:/bin` })).code).toBe(0);
    expect((await runProgram(join(directory, "agent-vault"), ["version"])).stdout).toContain("for musl");
  });

  it.each([
    {
      what: "an archive that was altered",
      tamper: (path: string) => files.set(path, Buffer.concat([files.get(path) ?? Buffer.alloc(0), Buffer.from("x")])),
      says: "checksums.txt says",
    },
    {
      what: "an archive that checksums.txt does not name",
      tamper: () => files.set("/download/v2.0.0/checksums.txt", Buffer.from("")),
      says: "does not name agent-vault_2.0.0",
    },
    {
      what: "a release without checksums.txt",
      tamper: () => files.delete("/download/v2.0.0/checksums.txt"),
      says: "has no checksums.txt",
    },
  ])("installs nothing of $what", async ({ tamper, says }) => {
    const before = new Map(files);
    try {
      tamper(`/download/v2.0.0/agent-vault_2.0.0_${platform}.tar.gz`);
      const { code, stderr } = await install();
      expect(code).toBe(1);
      expect(stderr).toContain(says);
      expect(existsSync(directory)).toBe(false);
    } finally {
      for (const [path, contents] of before) files.set(path, contents);
    }
  });

  it.each([
    {
      what: "another system",
      tools: { uname: '[ "$1" = -s ] && echo SunOS || echo x86_64' },
      says: "no build for SunOS",
    },
    {
      what: "another processor",
      tools: { uname: '[ "$1" = -s ] && echo Linux || echo riscv64' },
      says: "no build for riscv64",
    },
  ])("says so on $what", async ({ tools, says }) => {
    const { code, stderr } = await install({ PATH: `${await fakeTools(tools)}:/usr/bin:/bin` });
    expect(code).toBe(1);
    expect(stderr).toContain(says);
  });

  it("refuses a place that is not https", async () => {
    const { code, stderr } = await install({ AGENT_VAULT_RELEASES_URL: "http://127.0.0.1:1" });
    expect(code).toBe(1);
    expect(stderr).toContain("https://");
  });

  it("stops a running server on upgrade, backs its database up and keeps its data", async () => {
    await publish("3.0.0", await archiveOf("real", await readFile(binaryPath)));
    await mkdir(directory, { recursive: true });
    const installed = join(directory, "agent-vault");
    await runProgram("cp", [binaryPath, installed]);
    const [apiPort, proxyPort] = await freePorts();
    const ports = ["--port", String(apiPort), "--mitm-port", String(proxyPort)];
    await runProgram(installed, ["server", "-d", ...ports], { env: { HOME: home }, cwd: home });
    const pid = Number(await readFile(join(home, ".agent-vault", "agent-vault.pid"), "utf8"));
    try {
      const { code, stdout, stderr } = await install({ AGENT_VAULT_VERSION: "3.0.0" });
      expect(code, stderr).toBe(0);
      expect(stdout).toMatch(/Installed agent-vault 3\.0\.0 in .* \(before: \d+\.\d+\.\d+\)/);
      expect(stdout).toContain("The server was stopped");
      expect(() => process.kill(pid, 0), "the server is gone").toThrow();
      const data = await readdir(join(home, ".agent-vault"));
      expect(data.filter((file) => /^agent-vault\.db\.backup-\d{8}-\d{6}$/.test(file))).toHaveLength(1);
      expect(data).toContain("agent-vault.db");
      expect((await runBinary(["version"])).stdout).toBe((await runProgram(installed, ["version"])).stdout);
    } finally {
      await runProgram(installed, ["server", "stop"], { env: { HOME: home } });
    }
  });

  async function install(env: Readonly<Record<string, string>> = {}): Promise<RunResult> {
    return runProgram("sh", [installer], {
      env: {
        HOME: home,
        PATH: "/usr/bin:/bin",
        CURL_CA_BUNDLE: join(folder, "ca.pem"),
        AGENT_VAULT_RELEASES_URL: `https://127.0.0.1:${place.port}`,
        AGENT_VAULT_INSTALL_DIR: directory,
        ...env,
      },
    });
  }

  async function archiveOf(name: string, contents: string | Buffer): Promise<Buffer> {
    const staging = join(folder, name);
    await mkdir(staging, { recursive: true });
    await writeFile(join(staging, "agent-vault"), contents);
    await chmod(join(staging, "agent-vault"), 0o755);
    await runProgram("tar", ["-C", staging, "-I", "gzip -1", "-cf", join(staging, "archive.tar.gz"), "agent-vault"]);
    return readFile(join(staging, "archive.tar.gz"));
  }

  async function publish(version: string, archive: Buffer): Promise<void> {
    const name = `agent-vault_${version}_${platform}.tar.gz`;
    files.set(`/download/v${version}/${name}`, archive);
    appendChecksum(version, name, archive);
  }

  function appendChecksum(version: string, name: string, archive: Buffer): void {
    const path = `/download/v${version}/checksums.txt`;
    const line = `${createHash("sha256").update(archive).digest("hex")}  ${name}\n`;
    files.set(path, Buffer.concat([files.get(path) ?? Buffer.alloc(0), Buffer.from(line)]));
  }

  /** A folder with small programs that stand before the machine's own. */
  async function fakeTools(tools: Readonly<Record<string, string>>): Promise<string> {
    const tooling = await mkdtemp(join(folder, "tools-"));
    for (const [name, script] of Object.entries(tools)) {
      await writeFile(join(tooling, name), `#!/bin/sh\n${script}\n`);
      await chmod(join(tooling, name), 0o755);
    }
    return tooling;
  }
});
