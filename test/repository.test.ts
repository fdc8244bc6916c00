import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import packageJson from "../package.json" with { type: "json" };

const root = join(import.meta.dirname, "..");
const files = execFileSync("git", ["-c", "safe.directory=*", "ls-files", "-z"], { cwd: root, encoding: "utf8" })
  .split("\0")
  .filter((path) => path !== "" && existsSync(join(root, path)));

/** Files of src that may be longer than `maxLines`, each with the one deep idea that it is. */
const longFiles: Readonly<Record<string, string>> = {
  "src/client/wire.ts": "the shapes of the API, one after the other; types only",
  "src/proxy/exchange.ts": "one request from its arrival to its line in the journal, in order",
  "src/proxy/http2/session.ts": "the rules of one HTTP/2 connection, frame by frame",
  "src/storage/migrations/0001-first-schema.ts":
    "the first schema as it was, table after table; a migration is never edited",
};
const maxLines = 400;

describe("the repository", () => {
  it("has no addresses in lock files: whose registry it was is nobody's business, and mirrors differ", () => {
    const locks = ["package-lock.json", "bun.lock", "deno.lock", ".npmrc", "bunfig.toml"].filter((path) =>
      files.includes(path),
    );
    expect(locks).toContain("package-lock.json");
    expect(locks.flatMap((path) => matches(path, /https?:\/\/|"resolved"/))).toEqual([]);
  });

  it("pins every package to one version", () => {
    const ranges = Object.entries({ ...packageJson.dependencies, ...packageJson.devDependencies });
    expect(ranges.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it("names no place on the machine where it was written", () => {
    const places = /(^|[^\w])\/(root|work)\/[a-z.]/;
    const texts = files.filter(
      (path) => /\.(ts|mjs|js|json|ya?ml|md|toml|sh|c|py)$|^\.ci\//.test(path) && path !== "test/repository.test.ts",
    );
    expect(texts.flatMap((path) => matches(path, places))).toEqual([]);
  });

  it("skips no test and runs none alone", () => {
    const alone = /\b(it|test|describe|suite|bench)(\.\w+)*\.(skip|skipIf|runIf|todo|only)\b|\bx(it|describe)\(/;
    const tests = files.filter((path) => /^test\/.*\.ts$/.test(path) && path !== "test/repository.test.ts");
    expect(tests.flatMap((path) => matches(path, alone))).toEqual([]);
  });

  it(`keeps source files at ${maxLines} lines, or says why one is longer`, () => {
    const sources = files.filter((path) => /^(src|plugins|scripts|web\/src)\/.*\.(ts|mjs|tsx)$/.test(path));
    const long = sources.filter((path) => linesOf(path).length > maxLines).sort();
    expect(long.filter((path) => longFiles[path] === undefined)).toEqual([]);
  });

  it("pins every action of a workflow to a commit, or an official one to a full version", () => {
    const uses = files
      .filter((path) => path.startsWith(".github/workflows/"))
      .flatMap((path) => linesOf(path).filter((line) => /^\s*(-\s*)?uses:/.test(line)));
    const pinned = /uses:\s*(\.\/|[\w./-]+@[0-9a-f]{40}\b|actions\/[\w-]+@v\d+\.\d+\.\d+\b)/;
    expect(uses.filter((line) => !pinned.test(line))).toEqual([]);
  });
});

function linesOf(path: string): string[] {
  return readFileSync(join(root, path), "utf8").replace(/\n$/, "").split("\n");
}

function matches(path: string, pattern: RegExp): string[] {
  return linesOf(path).flatMap((line, at) =>
    pattern.test(line) ? [`${path}:${at + 1}: ${line.trim().slice(0, 120)}`] : [],
  );
}
