/**
 * Compiles the product into single executables.
 *
 *   bun scripts/build-binaries.ts           dist/agent-vault for this machine
 *   bun scripts/build-binaries.ts --all     dist/agent-vault-<os>-<arch>, release archives and checksums.txt
 *   bun scripts/build-binaries.ts --host --out DIR
 *
 * The same commit gives the same bytes: nothing but the sources, the pinned Bun and the time of the commit
 * (or SOURCE_DATE_EPOCH, seconds) goes in.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import packageJson from "../package.json" with { type: "json" };

interface Target {
  /** What `bun build --target` calls it. */
  readonly bun: string;
  /** End of the name of the binary in dist/. */
  readonly binary: string;
  /** End of the name of the release archive, in the words that installers know. */
  readonly archive: string;
}

const targets: readonly Target[] = [
  { bun: "bun-linux-x64", binary: "linux-x64", archive: "linux_amd64" },
  { bun: "bun-linux-arm64", binary: "linux-arm64", archive: "linux_arm64" },
  { bun: "bun-linux-x64-musl", binary: "linux-x64-musl", archive: "linux_amd64_musl" },
  { bun: "bun-linux-arm64-musl", binary: "linux-arm64-musl", archive: "linux_arm64_musl" },
  { bun: "bun-darwin-x64", binary: "darwin-x64", archive: "darwin_amd64" },
  { bun: "bun-darwin-arm64", binary: "darwin-arm64", archive: "darwin_arm64" },
  { bun: "bun-windows-x64", binary: "windows-x64", archive: "windows_amd64" },
];

/** Folders that are readable inside the binary through `src/runtime/assets.ts`; one that is not there is left out. */
const assetFolders = ["catalog", "skills", "web/dist"];

const root = join(import.meta.dirname, "..");

interface Stamp {
  readonly commit: string;
  /** RFC 3339, UTC. */
  readonly date: string;
  readonly epochSeconds: number;
}

function main(args: readonly string[]): void {
  const { values } = parseArgs({
    args: [...args],
    options: {
      host: { type: "boolean" },
      all: { type: "boolean" },
      out: { type: "string", default: join(root, "dist") },
    },
  });
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const stamp = readStamp();
  if (!values.all) {
    compile({ outfile: join(out, `agent-vault${process.platform === "win32" ? ".exe" : ""}`), stamp });
    return;
  }
  const archives = targets.map((target) => {
    const suffix = target.bun.includes("windows") ? ".exe" : "";
    const outfile = join(out, `agent-vault-${target.binary}${suffix}`);
    compile({ outfile, stamp, target: target.bun });
    return pack({ target, binary: outfile, name: `agent-vault${suffix}`, stamp, out });
  });
  copyFileSync(join(root, "install.sh"), join(out, "install.sh"));
  writeChecksums(out, [...archives, join(out, "install.sh")]);
}

/** Commit and time of the sources. Where git cannot tell, only SOURCE_DATE_EPOCH can say when they were made. */
function readStamp(): Stamp {
  const [commit = "unknown", committed = "0"] = readCommit();
  const epochSeconds = Number(process.env.SOURCE_DATE_EPOCH ?? committed);
  if (!Number.isSafeInteger(epochSeconds)) throw new Error("SOURCE_DATE_EPOCH must be a whole number of seconds");
  return { commit, date: new Date(epochSeconds * 1000).toISOString(), epochSeconds };
}

/** Short hash and time of the commit; nothing for sources from an archive, or on a machine without git. */
function readCommit(): readonly string[] {
  if (!existsSync(join(root, ".git"))) return [];
  const args = ["-c", "safe.directory=*", "log", "-1", "--format=%h %ct", "--abbrev=12"];
  const git = spawnSync("git", args, { cwd: root, encoding: "utf8" });
  return git.status === 0 ? git.stdout.trim().split(" ") : [];
}

/** Compiles for one target, or for this machine when none is named. */
function compile(build: { readonly outfile: string; readonly stamp: Stamp; readonly target?: string }): void {
  const { outfile, target } = build;
  const { commit, date } = build.stamp;
  const assets = assetFolders.filter((folder) => existsSync(join(root, folder)));
  // A binary that is running cannot be written to, but it can be replaced.
  rmSync(outfile, { force: true });
  const args = [
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--format=esm",
    "--splitting",
    // Without these two, files in the folder where someone starts the binary run code inside it.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    // Only Deno, which runs from source, has no Argon2 of its own.
    "--external=hash-wasm",
    `--define=AGENT_VAULT_BUILD=${JSON.stringify({ commit, date })}`,
    ...assets.flatMap((folder) => ["--asset", folder]),
    ...(target === undefined ? [] : [`--target=${target}`]),
    "--outfile",
    outfile,
    "src/main.ts",
  ];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) process.exit(1); // the compiler said why
  console.log(outfile);
}

/** Makes the release archive: binary, licence and readme at top level, with the time of the commit. Returns its path. */
function pack(release: {
  readonly target: Target;
  readonly binary: string;
  /** What the binary is called in the archive. */
  readonly name: string;
  readonly stamp: Stamp;
  readonly out: string;
}): string {
  const staging = mkdtempSync(join(tmpdir(), "agent-vault-pack-"));
  try {
    const papers = ["LICENSE", "README.md"].filter((file) => existsSync(join(root, file)));
    copyFileSync(release.binary, join(staging, release.name));
    for (const file of papers) copyFileSync(join(root, file), join(staging, file));
    const archive = join(release.out, `agent-vault_${packageJson.version}_${release.target.archive}.tar.gz`);
    const nobody = ["--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go-w,a+rX"];
    const time = `--mtime=@${release.stamp.epochSeconds}`;
    const args = ["-C", staging, ...nobody, time, "-I", "gzip -n", "-cf", archive, release.name, ...papers];
    execFileSync("tar", args, { stdio: "inherit" });
    console.log(archive);
    return archive;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/** The format of `sha256sum`, so that `sha256sum -c` reads it. */
function writeChecksums(out: string, files: readonly string[]): void {
  const line = (file: string) =>
    `${createHash("sha256").update(readFileSync(file)).digest("hex")}  ${basename(file)}\n`;
  writeFileSync(join(out, "checksums.txt"), files.map(line).sort().join(""));
}

main(process.argv.slice(2));
