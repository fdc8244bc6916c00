// What the scripts need from the machine, in plain Node (20 or newer) without dependencies: this runs before
// anything is installed. Each function does nothing when there is nothing to do.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = join(root, "node_modules", ".bin");
const isWindows = process.platform === "win32";

/** Names under which tests and benchmarks reach upstreams on this machine: RFC 6761 keeps `.test` for this. */
const testNames = ["api.upstream.test", "git.upstream.test", "other.upstream.test"];

/** Debian packages that the tests use, each with a check for whether it is there. */
const testPackages = {
  "ca-certificates": () => existsSync("/etc/ssl/certs/ca-certificates.crt"),
  bubblewrap: () => isOnPath("bwrap"),
  chromium: () => isOnPath("chromium"),
  curl: () => isOnPath("curl"),
  git: () => isOnPath("git"),
  microsocks: () => isOnPath("microsocks"),
  nginx: () => existsSync("/usr/sbin/nginx"),
  "nghttp2-client": () => isOnPath("h2load"),
  openssl: () => isOnPath("openssl"),
  postgresql: () => listFolder("/usr/lib/postgresql").some((v) => existsSync(`/usr/lib/postgresql/${v}/bin/initdb`)),
  procps: () => isOnPath("ps"),
  python3: () => existsSync("/usr/bin/python3"),
  "python3-aiohttp": () => hasPythonModule("aiohttp"),
  "python3-h2": () => hasPythonModule("h2"),
  "python3-httpx": () => hasPythonModule("httpx"),
  "python3-requests": () => hasPythonModule("requests"),
  fish: () => isOnPath("fish"),
  socat: () => isOnPath("socat"),
  tinyproxy: () => isOnPath("tinyproxy"),
  wget: () => isOnPath("wget"),
  zsh: () => isOnPath("zsh"),
};

/** What `npm run demo` needs of them. */
export const demoPackages = { curl: testPackages.curl };

/** The environment of a child that should find our pinned runtimes (bun, deno, node 24) before the machine's. */
export function pinnedEnvironment(extra = {}) {
  return { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ""}`, ...extra };
}

/** Runs a program with our terminal. Returns its exit code; a program that cannot be started counts as 127. */
export function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (error) {
    console.error(`Cannot run ${command}: ${error.message}`);
    return 127;
  }
  return status ?? (signal ? 1 : 0);
}

/** Ends this script when a step failed, saying which one. */
export function must(what, code) {
  if (code === 0) return;
  console.error(`${what} failed with exit code ${code}`);
  process.exit(code);
}

/** The path of a runtime from node_modules: `bun`, `deno` or `node`. */
export function runtime(name) {
  return join(bin, isWindows ? `${name}.cmd` : name);
}

/** Installs the packages of package-lock.json unless exactly these are installed. */
export function ensureDependencies() {
  if (!dependenciesAreCurrent()) {
    console.error("Installing dependencies (npm ci)");
    // npm is not to find the runtimes that it is about to delete.
    const path = (process.env.PATH ?? "")
      .split(delimiter)
      .filter((folder) => folder !== bin)
      .join(delimiter);
    const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
    must("npm ci", run("npm", args, { env: { ...process.env, PATH: path }, shell: isWindows }));
  }
  for (const name of ["bun", "node", "deno"]) ensureRuntime(name);
}

function dependenciesAreCurrent() {
  const wanted = readLock(join(root, "package-lock.json"));
  const installed = readLock(join(root, "node_modules", ".package-lock.json"));
  if (!wanted || !installed) return false;
  return Object.entries(wanted.packages).every(
    ([path, { version, optional }]) => path === "" || optional || installed.packages[path]?.version === version,
  );
}

function readLock(path) {
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}

/** The runtimes are fetched by install scripts, which a careful npm configuration does not run. */
function ensureRuntime(name) {
  const works = () => spawnSync(runtime(name), ["--version"], { stdio: "ignore", shell: isWindows }).status === 0;
  if (works()) return;
  const folder = join(root, "node_modules", name);
  const { scripts = {} } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const script = scripts.postinstall ?? scripts.preinstall;
  if (script) run(script, [], { cwd: folder, shell: true, env: pinnedEnvironment() });
  if (!works()) {
    console.error(`The ${name} runtime of node_modules does not start: delete node_modules and try again`);
    process.exit(1);
  }
}

/**
 * Installs the Debian packages that are missing, as root or with sudo. Elsewhere it only says what is missing.
 *
 * @param {Readonly<Record<string, () => boolean>>} packages names, each with a check for whether it is there
 */
export function ensurePackages(packages = testPackages) {
  const missing = Object.entries(packages)
    .filter(([, isThere]) => !isThere())
    .map(([name]) => name);
  if (missing.length === 0) return;
  if (!isOnPath("apt-get")) {
    console.error(`Missing on this machine: ${missing.join(", ")} (names of the Debian packages)`);
    return;
  }
  console.error(`Installing Debian packages: ${missing.join(" ")}`);
  const options = { stdio: ["ignore", 2, 2], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  privileged("apt-get", ["-qq", "update"], options);
  const install = ["-qq", "install", "-y", "--no-install-recommends", ...missing];
  must("apt-get install", privileged("apt-get", install, options));
}

/**
 * Makes the names of the test upstreams lead to this machine.
 * A broker resolves names with the system's resolver, and clients skip a proxy for `localhost`: so the names have
 * to be real to the machine. One line of /etc/hosts is the way that works in containers, too.
 */
export function ensureTestNames() {
  const path = "/etc/hosts";
  if (isWindows || !existsSync(path)) return;
  const known = new Set(readFileSync(path, "utf8").replaceAll(/#.*/g, "").split(/\s+/));
  const missing = testNames.filter((name) => !known.has(name));
  if (missing.length === 0) return;
  const line = `127.0.0.1 ${missing.join(" ")} # agent-vault tests\n`;
  if (isRoot()) writeFileSync(path, line, { flag: "a" });
  else privileged("tee", ["-a", path], { input: line, stdio: ["pipe", "ignore", "inherit"] });
}

function privileged(command, args, options) {
  if (isRoot()) return run(command, args, options);
  if (!isOnPath("sudo")) {
    console.error(`Not root and no sudo: cannot run ${command} ${args.join(" ")}`);
    return 1;
  }
  // Without a terminal nobody can type a password: fail at once instead of waiting.
  const ask = process.stdin.isTTY ? [] : ["-n"];
  const keep = options.env?.DEBIAN_FRONTEND ? ["DEBIAN_FRONTEND=noninteractive"] : [];
  return run("sudo", [...ask, ...keep, command, ...args], options);
}

/** Builds dist/agent-vault unless it is newer than everything it is made of. */
export function ensureBinary() {
  if (binaryIsCurrent()) return;
  must(
    "The build of the binary",
    run(runtime("bun"), ["scripts/build-binaries.ts", "--host"], { env: pinnedEnvironment() }),
  );
}

export const binary = join(root, "dist", isWindows ? "agent-vault.exe" : "agent-vault");

function binaryIsCurrent() {
  if (!existsSync(binary)) return false;
  const built = statSync(binary).mtimeMs;
  const sources = ["src", "catalog", "skills", "plugins", "web/dist", "scripts/build-binaries.ts", "package-lock.json"];
  return sources.every((path) => newestChange(join(root, path)) <= built);
}

function newestChange(path) {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newestChange(join(path, name))));
}

export function isOnPath(name) {
  const suffixes = isWindows ? [".exe", ".cmd"] : [""];
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => suffixes.some((suffix) => existsSync(join(folder, name + suffix))));
}

function hasPythonModule(name) {
  return spawnSync("/usr/bin/python3", ["-c", `import ${name}`], { stdio: "ignore" }).status === 0;
}

function isRoot() {
  return process.getuid?.() === 0;
}

function listFolder(path) {
  return existsSync(path) ? readdirSync(path) : [];
}
