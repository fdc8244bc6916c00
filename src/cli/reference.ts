/** The reference of all commands as Markdown, from the command tree: docs/cli-reference.md is this, word for word. */
import type { Command, Flag } from "./command.ts";
import { knownFlags, nameOf, positionalsOf } from "./parse.ts";

const head = `# Commands

Every command with its arguments and flags. This page is made from the command tree by \`npm run reference\`; a test keeps it true. [The command line](cli.md) is about what the commands share.

Every command takes \`--help\` as well, and \`--telemetry\`, which is accepted for compatibility: nothing is ever reported.
`;
/** On every command: said once. */
const everywhere = new Set(["help", "telemetry", "version"]);

export async function renderReference(root: Command): Promise<string> {
  const sections: string[] = [];
  await walk([root], sections);
  return `${head}\n${sections.join("\n")}`;
}

async function walk(path: readonly Command[], sections: string[]): Promise<void> {
  const command = path[path.length - 1];
  if (!command) return;
  if (path.length > 1) sections.push(sectionOf(path));
  for (const [name, load] of Object.entries(command.subCommands ?? {})) {
    const child = await load();
    // Other spellings of a command lead to the same one.
    if (!child.meta.hidden && child.meta.name === name) await walk([...path, child], sections);
  }
}

function sectionOf(path: readonly Command[]): string {
  const command = path[path.length - 1] as Command;
  const { meta } = command;
  const flags = Object.entries(knownFlags(path))
    .filter(([name]) => !everywhere.has(name))
    .sort(([a], [b]) => a.localeCompare(b));
  const positionals = positionalsOf(command);
  const parts = [`## ${nameOf(path)}`, `${meta.description}.`];
  if (meta.details) parts.push(meta.details.replaceAll("\n", " "));
  if (meta.alias)
    parts.push(
      `Also: ${[meta.alias]
        .flat()
        .map((alias) => `\`${alias}\``)
        .join(", ")}.`,
    );
  if (command.run) {
    const words = positionals.map(([name, { required, repeatable }]) => {
      const word = `${name}${repeatable ? "..." : ""}`;
      return required === false ? `[${word}]` : `<${word}>`;
    });
    // Not a block of `sh`: a usage line is no example to run.
    parts.push(["```text", [nameOf(path), meta.usage ?? [...words, "[flags]"].join(" ")].join(" "), "```"].join("\n"));
    const rows = [
      ...positionals.map(([name, { description }]) => `| \`<${name}>\` | ${cell(description)} |`),
      ...flags.map(([name, flag]) => `| ${flagHead(name, flag)} | ${cell(flagText(flag))} |`),
    ];
    if (rows.length > 0) parts.push(["| | |", "| --- | --- |", ...rows].join("\n"));
  }
  const variables = Object.entries(meta.environment ?? {});
  if (variables.length > 0) {
    const rows = variables.map(
      ([name, text]) =>
        `| ${name
          .split(", ")
          .map((one) => `\`${one}\``)
          .join(", ")} | ${cell(text)} |`,
    );
    parts.push(["| Variable | |", "| --- | --- |", ...rows].join("\n"));
  }
  if (meta.examples) parts.push(["```", ...meta.examples, "```"].join("\n"));
  return `${parts.join("\n\n")}\n`;
}

function flagHead(name: string, flag: Flag): string {
  const value = flag.type === "boolean" ? "" : ` ${flag.valueHint ?? "string"}`;
  return `${flag.alias ? `\`-${flag.alias}\`, ` : ""}\`--${name}${value}\``;
}

function flagText(flag: Flag): string {
  const fallback = flag.shownDefault ?? (flag.type === "string" ? flag.default : flag.default ? "true" : undefined);
  const options =
    flag.type === "string" && flag.options ? `: ${flag.options.map((one) => `\`${one}\``).join(", ")}` : "";
  const repeatable = flag.type === "string" && flag.repeatable ? " (may be repeated)" : "";
  return `${flag.description}${options}${repeatable}${fallback ? ` (default ${fallback})` : ""}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;").replaceAll("\n", " ");
}
