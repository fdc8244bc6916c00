import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Declaration, KnownLeakDeclaration } from "./declaration.ts";

/** The folders of the gallery, and what those in them have in common. */
export const families: Readonly<Record<string, string>> = {
  framing: "Framing and smuggling, from the agent",
  upstream: "A hostile upstream",
  authority: "Authority and SNI confusion",
  "path-scope": "Leaving the paths and methods of a service",
  addresses: "Addresses inside",
  reflection: "Credentials in answers",
  headers: "Headers of the agent against those of the broker",
  downgrade: "Downgrade",
  tenants: "Tokens and vaults of others",
  revocation: "Outliving a revocation",
  exhaustion: "Using up what is shared",
  browsers: "Pages of other sites, in a person's browser",
  guessing: "Guessing",
  traces: "Credentials in what the broker writes",
};

export type GalleryEntry = { readonly file: string; readonly family: string } & (
  | ({ readonly outcome: "defended" } & Declaration)
  | ({ readonly outcome: "known leak" } & KnownLeakDeclaration)
);

const gallery = join(import.meta.dirname, "..");

/** Every attack, in the order of the families, then of the files. @throws {Error} where one is not declared. */
export function readGallery(): readonly GalleryEntry[] {
  const files = readdirSync(gallery, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => path.endsWith(".test.ts"))
    .sort();
  const entries = files.map((file) => readEntry(file, readFileSync(join(gallery, file), "utf8")));
  const order = Object.keys(families);
  return entries.sort((a, b) => order.indexOf(a.family) - order.indexOf(b.family));
}

/** @throws {Error} naming what is missing, and how it should look. */
export function readEntry(file: string, source: string): GalleryEntry {
  const [family = "", name] = file.split("/");
  if (name === undefined || families[family] === undefined) {
    throw new Error(`${file}: an attack belongs into the folder of its family, one of ${Object.keys(families)}`);
  }
  const [, kind, literal = ""] = /^(?:const \w+ = )?(defended|knownLeak)\(\{([\s\S]*?)\}\);$/m.exec(source) ?? [];
  const { wants, consequence } = fieldsOf(literal);
  if (wants === undefined || (kind === "knownLeak") !== (consequence !== undefined)) {
    throw new Error(
      `${file}: declare the attack at the top, with defended({ wants }) or knownLeak({ wants, consequence })`,
    );
  }
  if ((kind === "knownLeak") !== /\.stillLeaks\(/.test(source)) {
    throw new Error(`${file}: a known leak has tests that show it, and a defended attack has none`);
  }
  return consequence === undefined
    ? { file, family, outcome: "defended", wants }
    : { file, family, outcome: "known leak", wants, consequence };
}

/** `docs/leak-ledger.md`, whole. */
export function renderLedger(entries: readonly GalleryEntry[]): string {
  const leaks = entries.filter((entry) => entry.outcome === "known leak");
  const blocks = [
    "# Leak ledger",
    "<!-- Made by `npm run ledger` from the files of test/attacks. Do not edit. -->",
    "What attackers of the broker were made to try, and what came of it. Each line is a file of `test/attacks/` that plays the attack against the built binary over raw sockets, on every run of `npm test`. A defended attack gets nothing. A known leak works, and its tests say so: on the day on which one no longer works they fail, so that this page cannot go out of date in either direction. [Security model](security-model.md) has the reasons behind it, and gaps that are not attacks on the broker's traffic.",
    `## Known leaks`,
    table(
      ["Attack", "The attacker wants", "What that means"],
      leaks.map((leak) => [link(leak), leak.wants, leak.consequence]),
    ),
    ...Object.entries(families).flatMap(([family, title]) => [
      `## ${title}`,
      table(
        ["Attack", "The attacker wants", "Outcome"],
        entries.filter((entry) => entry.family === family).map((entry) => [link(entry), entry.wants, entry.outcome]),
      ),
    ]),
  ];
  return `${blocks.join("\n\n")}\n`;
}

function fieldsOf(literal: string): Partial<Record<string, string>> {
  const fields = [...literal.matchAll(/(\w+):\s*("(?:[^"\\]|\\.)*")/g)];
  return Object.fromEntries(fields.map(([, name, text]) => [name ?? "", JSON.parse(text ?? '""') as string]));
}

function link({ file }: GalleryEntry): string {
  const name = file.replace(/^.*\/|\.test\.ts$/g, "").replaceAll("-", " ");
  return `[${name}](../test/attacks/${file})`;
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(heads), line(heads.map(() => "---")), ...rows.map(line)].join("\n");
}
