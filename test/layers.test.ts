import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

/** From the bottom up, as docs/architecture.md draws it: an import may only go to a layer further up in this list. */
const layers: readonly (readonly string[])[] = [
  ["errors", "log"],
  ["runtime"],
  ["net"],
  ["crypto"],
  ["telemetry"],
  ["storage"],
  ["config"],
  ["domain"],
  ["plugin"],
  ["proxy", "http", "client"],
  ["server"],
  ["cli"],
  ["main"],
];

/** What the command line may use besides `client`: it is a program of its own and sees no inside of the server. */
const knownToCli = ["errors", "log", "runtime", "config", "client"];

/** Some commands run on the server's machine, or check what it wrote; they reach inside through these modules, loaded when they are chosen. */
const doorsForLocalCommands = [
  "server.ts",
  "domain/unlock.ts",
  "domain/audit/verify.ts",
  "domain/audit/prune.ts",
  "domain/audit/migration.ts",
  "storage/copy-database.ts",
];

/** Rules that files are held to before a command changes anything on a server. */
const rulesForFiles = ["domain/services/definition.ts", "domain/slug.ts", "domain/credentials/key.ts"];

const src = join(import.meta.dirname, "..", "src");

interface Arrow {
  /** Path below src. */
  readonly from: string;
  /** Path below src, or the name of a package. */
  readonly to: string;
  readonly kind: "static" | "dynamic" | "type";
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((path) => path.replaceAll("\\", "/"))
  .filter((path) => path.endsWith(".ts"));
/** These look at a string and touch no socket, although they live in `node:net`. */
const pureImport = /import \{ (?:isIP(?:v4|v6)?(?:, )?)+ \} from "node:net";/g;
const arrows = files.flatMap((from) => readArrows(from, readFileSync(join(src, from), "utf8")));
const inner = arrows.filter(({ to }) => to.endsWith(".ts"));

describe("the layers of src", () => {
  it("have a place for every file", () => {
    const known = layers.flat();
    expect(files.filter((file) => !known.includes(layerOf(file)))).toEqual([]);
  });

  it("import only downwards, and never from a sibling", () => {
    expect(inner.filter((arrow) => !pointsDown(arrow)).map(describeArrow)).toEqual([]);
  });

  it("keep the inside of the server out of the command line", () => {
    const offending = inner.filter(
      ({ from, to, kind }) =>
        layerOf(from) === "cli" &&
        layerOf(to) !== "cli" &&
        kind !== "type" &&
        !knownToCli.includes(layerOf(to)) &&
        !(kind === "dynamic" && [...doorsForLocalCommands, ...rulesForFiles].includes(to)),
    );
    expect(offending.map(describeArrow)).toEqual([]);
  });

  it("share only types between the client and the domain", () => {
    const offending = inner.filter(
      ({ from, to, kind }) =>
        layerOf(from) === "client" && kind !== "type" && !["client", "errors", "log", "runtime"].includes(layerOf(to)),
    );
    expect(offending.map(describeArrow)).toEqual([]);
  });

  it("keep sockets, files and processes out of the domain", () => {
    const machine = /^node:(net|tls|http|https|http2|dgram|fs|child_process|cluster|worker_threads|process|os)(\/|$)/;
    const offending = arrows.filter(({ from, to }) => layerOf(from) === "domain" && machine.test(to));
    expect(offending.map(describeArrow)).toEqual([]);
  });

  it("name undici by its file: Bun replaces the bare name with a stub that ignores the address policy", () => {
    const importers = arrows.filter(({ to }) => to.startsWith("undici"));
    expect(importers.filter(({ to }) => to !== "undici/index.js").map(describeArrow)).toEqual([]);
    expect(
      importers.map(({ from }) => from).filter((from) => layerOf(from) !== "net"),
      "calls that leave the machine go through net; the command line's own go to its server, past any proxy",
    ).toEqual(["runtime/direct-fetch.ts"]);
  });

  it("use nothing that only Bun has", () => {
    const offending = files.filter((file) =>
      /\bBun\.\w|from "bun(:|")/.test(withoutComments(readFileSync(join(src, file), "utf8"))),
    );
    expect(offending).toEqual([]);
  });

  it("have no barrels", () => {
    expect(files.filter((file) => /(^|\/)index\.ts$/.test(file))).toEqual([]);
  });
});

describe("the reader of imports", () => {
  it.each([
    { code: 'import { a } from "../errors.ts";', kind: "static", to: "errors.ts", because: "the usual form" },
    {
      code: 'import {\n  a,\n  b,\n} from "../errors.ts";',
      kind: "static",
      to: "errors.ts",
      because: "imports span lines",
    },
    { code: 'import type { A } from "../errors.ts";', kind: "type", to: "errors.ts", because: "types vanish" },
    { code: 'import { type A, type B } from "../errors.ts";', kind: "type", to: "errors.ts", because: "types vanish" },
    { code: 'import { type A, b } from "../errors.ts";', kind: "static", to: "errors.ts", because: "b is a value" },
    { code: 'export { a } from "../errors.ts";', kind: "static", to: "errors.ts", because: "a re-export depends, too" },
    { code: 'import "../errors.ts";', kind: "static", to: "errors.ts", because: "an import for its effect" },
    { code: 'await import("../errors.ts")', kind: "dynamic", to: "errors.ts", because: "loaded when chosen" },
    { code: 'let a: import("../errors.ts").A;', kind: "dynamic", to: "errors.ts", because: "when in doubt it counts" },
    { code: 'import { x } from "undici/index.js";', kind: "static", to: "undici/index.js", because: "packages, too" },
  ])("sees $kind in $code: $because", ({ code, kind, to }) => {
    expect(readArrows("net/x.ts", code)).toEqual([{ from: "net/x.ts", to, kind }]);
  });
});

function readArrows(from: string, source: string): Arrow[] {
  const code = withoutComments(source).replaceAll(pureImport, "");
  const statements = [...code.matchAll(/\b(?:import|export)\s+(?:([^"'`;()]*?)\s*\bfrom\s*)?"([^"\n]+)"/g)].map(
    ([, names, to]) => ({ to: to ?? "", kind: names !== undefined && isTypeOnly(names) ? "type" : "static" }) as const,
  );
  const dynamic = [...code.matchAll(/\bimport\(\s*"([^"\n]+)"/g)].map(
    ([, to]) => ({ to: to ?? "", kind: "dynamic" }) as const,
  );
  return [...statements, ...dynamic].map(({ to, kind }) => ({ from, to: resolve(from, to), kind }));
}

function isTypeOnly(names: string): boolean {
  if (/^type\b(?!\s*,)/.test(names.trim())) return true;
  const braces = /^\{([^}]*)\}$/s.exec(names.trim());
  const listed =
    braces?.[1]
      ?.split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "") ?? [];
  return listed.length > 0 && listed.every((name) => name.startsWith("type "));
}

function resolve(from: string, to: string): string {
  return to.startsWith(".") ? relative(src, join(src, dirname(from), to)).replaceAll("\\", "/") : to;
}

function layerOf(path: string): string {
  return (path.split("/")[0] ?? "").replace(/\.ts$/, "");
}

function pointsDown({ from, to }: Arrow): boolean {
  const [above, below] = [layerOf(from), layerOf(to)];
  if (to.startsWith("..")) return false;
  return above === below || rankOf(above) > rankOf(below);
}

function rankOf(layer: string): number {
  return layers.findIndex((names) => names.includes(layer));
}

function describeArrow({ from, to, kind }: Arrow): string {
  return `${from} → ${to}${kind === "static" ? "" : ` (${kind})`}`;
}

function withoutComments(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");
}
