import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const top = join(import.meta.dirname, "..");
const pages = [
  ...readdirSync(top).filter((file) => file.endsWith(".md")),
  ...readdirSync(join(top, "docs")).map((file) => `docs/${file}`),
  "bench/README.md",
].filter((file) => file.endsWith(".md"));

describe("the documentation", () => {
  it.each(pages)("%s links only to what is there", (page) => {
    const broken = linksOf(read(page)).filter((link) => !leadsSomewhere(page, link));
    expect(broken).toEqual([]);
  });

  it("names every variable that the configuration reads", () => {
    const page = read("docs/configuration.md");
    const sources = ["src/config.ts", ...filesBelow("src/config")].map(read).join("\n");
    const missing = variablesOf(sources).filter((name) => !page.includes(`\`${name}`));
    expect(missing).toEqual([]);
  });

  it("names no variable that nothing reads", () => {
    const sources = filesBelow("src").map((file) => read(file));
    const known = new Set(sources.flatMap((source) => variablesOf(source)));
    const documented = [...read("docs/configuration.md").matchAll(/`((?:AGENT_VAULT|DB|LOG|SSL|NODE)_[A-Z_]+)`/g)];
    expect(documented.map(([, name]) => name ?? "").filter((name) => !known.has(name))).toEqual([]);
  });

  it("names every action of the audit log", () => {
    const rows = read("docs/audit.md").split("\n");
    const isNamed = (action: string) => {
      const [noun, verb] = action.split(".");
      const isRow = (row: string) => row.split("|")[1]?.includes(`\`${noun}\``) === true && row.includes(`\`${verb}\``);
      return rows.some((row) => row.includes(`\`${action}\``) || isRow(row));
    };
    const literal = /\baction(?::|\s=)\s*(?:\w+ \? )?"([a-z_]+\.[a-z_]+)"(?: : "([a-z_]+\.[a-z_]+)")?/g;
    const found = filesBelow("src/domain").flatMap((file) =>
      [...read(file).matchAll(literal)].flatMap(([, one, other]) => [
        one ?? "",
        ...(other === undefined ? [] : [other]),
      ]),
    );
    expect(found.length).toBeGreaterThan(40);
    expect(found.filter((action) => !isNamed(action))).toEqual([]);
  });

  it("draws only files that exist into the map of the architecture", () => {
    const drawn = mapOf(read("docs/architecture.md"));
    expect(drawn.length).toBeGreaterThan(40);
    expect(drawn.filter((path) => !existsSync(join(top, path)))).toEqual([]);
  });

  it("leaves no file of src out of the map", () => {
    const drawn = mapOf(read("docs/architecture.md"));
    const folders = wholeFolders(drawn);
    const isDrawn = (file: string) => drawn.includes(file) || folders.some((folder) => file.startsWith(folder));
    expect(filesBelow("src").filter((file) => !isDrawn(file))).toEqual([]);
  });
});

function read(path: string): string {
  return readFileSync(join(top, path), "utf8");
}

function filesBelow(folder: string): string[] {
  return readdirSync(join(top, folder), { recursive: true, encoding: "utf8" })
    .map((path) => `${folder}/${path.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts"));
}

/** Targets of Markdown links that lead into this repository. */
function linksOf(page: string): string[] {
  const text = page.replaceAll(/```[\s\S]*?```/g, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target ?? "")
    .filter((target) => !/^\w+:/.test(target));
}

function leadsSomewhere(page: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page : relative(top, join(top, dirname(page), path));
  if (!existsSync(join(top, target))) return false;
  return anchor === undefined || headingsOf(read(target)).includes(anchor);
}

/** Anchors of headings, as GitHub makes them. */
function headingsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, text]) =>
    (text ?? "")
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

function variablesOf(source: string): string[] {
  const names = source.matchAll(
    /"((?:AGENT_VAULT|DB|LOG|SSL|NODE)_[A-Z_]+|DATABASE_URL|PORT|NO_COLOR)"|environment\.([A-Z][A-Z_]+)/g,
  );
  return [...names].map(([, quoted, member]) => quoted ?? member ?? "").filter((name) => name !== "HOME");
}

/** The paths in the block that draws src: a tree of two-space steps, a folder per line that ends with a slash. */
function mapOf(page: string): string[] {
  const block = /```text\nsrc\/\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const folders: string[] = ["src/"];
  return block.split("\n").flatMap((line) => {
    const entry = /^((?: {2})+)(\S+)/.exec(line);
    if (entry === null) return [];
    const depth = (entry[1] ?? "").length / 2;
    const name = entry[2] ?? "";
    folders.length = depth;
    const path = folders.join("") + name;
    if (name.endsWith("/")) folders.push(name);
    return [path];
  });
}

/** Folders that stand for all that is in them; one that is spelt out stands for nothing. */
function wholeFolders(drawn: readonly string[]): string[] {
  return drawn.filter((path) => path.endsWith("/") && !drawn.some((other) => other !== path && other.startsWith(path)));
}
