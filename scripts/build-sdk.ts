/**
 * `npm run build:sdk`: makes dist/sdk, the package `agent-vault-sdk` as npm publishes it.
 *
 *   bun scripts/build-sdk.ts [--out DIR] [--version 1.2.3]
 *
 * The same sources give the same package. A release passes the version of its tag.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import packageJson from "../package.json" with { type: "json" };

const root = join(import.meta.dirname, "..");
const source = join(root, "src", "client", "sdk");
const entry = "./lib/client/sdk/sdk";

const { values } = parseArgs({
  options: {
    out: { type: "string", default: join(root, "dist", "sdk") },
    version: { type: "string", default: packageJson.version },
  },
});
if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(values.version))
  throw new Error("--version must look like 1.2.3 or 1.2.3-beta.1");
build(resolve(values.out), values.version);

function build(out: string, version: string): void {
  const lib = join(out, "lib");
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = [tsc, "-p", source, "--outDir", lib];
  const { status } = spawnSync(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) process.exit(1); // the compiler said why
  for (const file of readdirSync(lib, { recursive: true, encoding: "utf8" })) {
    if (file.endsWith(".d.ts")) edit(join(lib, file), withoutSourceNames);
  }
  edit(join(lib, "client", "sdk", "config.js"), (text) => withVersion(text, version));
  writeFileSync(join(out, "package.json"), `${JSON.stringify(manifest(version), undefined, 2)}\n`);
  copyFileSync(join(source, "README.md"), join(out, "README.md"));
  copyFileSync(join(root, "LICENSE"), join(out, "LICENSE"));
  console.log(out);
}

function manifest(version: string): object {
  return {
    name: "agent-vault-sdk",
    version,
    description: "Manage agent-vault, and lead agents through its proxy, from TypeScript and JavaScript",
    license: packageJson.license,
    keywords: ["agent-vault", "ai-agents", "credentials", "proxy", "secrets"],
    repository: { type: "git", url: "git+https://github.com/agent-vault/agent-vault.git", directory: "src/client/sdk" },
    type: "module",
    // Tools that read no `exports` find the same through the next two.
    main: `${entry}.js`,
    types: `${entry}.d.ts`,
    exports: { ".": { types: `${entry}.d.ts`, default: `${entry}.js` }, "./package.json": "./package.json" },
    files: ["lib"],
    sideEffects: false,
    engines: { node: ">=20" },
    publishConfig: { access: "public", provenance: true },
  };
}

/** The compiler rewrites `./a.ts` in the code but not in the declarations, where no other program would find it. */
function withoutSourceNames(text: string): string {
  return text.replaceAll(/(\b(?:from|import)\s*\(?\s*"\.{1,2}\/[^"\n]+)\.ts"/g, '$1.js"');
}

function withVersion(text: string, version: string): string {
  const pattern = /(sdkVersion = )"[^"]*"/;
  if (!pattern.test(text)) throw new Error("config.js has no sdkVersion");
  return text.replace(pattern, `$1"${version}"`);
}

function edit(path: string, change: (text: string) => string): void {
  writeFileSync(path, change(readFileSync(path, "utf8")));
}
