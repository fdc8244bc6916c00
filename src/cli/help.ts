/** The help of a command: usage, what it does, commands in groups, flags with types and defaults, variables, examples. */
import type { Command, Flag } from "./command.ts";
import { knownFlags, nameOf, positionalsOf } from "./parse.ts";

/** Renders the help of the last command of a path, `width` columns wide. */
export async function renderHelp(path: readonly Command[], width: number): Promise<string> {
  const command = path[path.length - 1];
  if (!command) return "";
  const columns = Math.min(Math.max(width, 60), 110);
  const { meta } = command;
  const sections = [
    wrap(`${meta.description}.`, columns).join("\n"),
    ...(meta.details
      ? [
          meta.details
            .split("\n")
            .flatMap((line) => wrap(line, columns))
            .join("\n"),
        ]
      : []),
    section("Usage", usageLines(path)),
    ...aliasSection(path),
    ...(await commandSections(command, columns)),
    ...argumentSection(command, columns),
    ...flagSections(path, columns),
    ...variableSection(command, columns),
    ...(meta.examples
      ? [
          section(
            "Examples",
            meta.examples.map((example) => `  ${example}`),
          ),
        ]
      : []),
  ];
  if (command.subCommands) sections.push(`Run "${nameOf(path)} <command> --help" for more about a command.`);
  return `${sections.join("\n\n")}\n`;
}

function usageLines(path: readonly Command[]): string[] {
  const command = path[path.length - 1];
  const lines: string[] = [];
  if (command?.run) {
    const words = positionalsOf(command).map(([name, { required, repeatable }]) => {
      const word = `${name}${repeatable ? "..." : ""}`;
      return required === false ? `[${word}]` : `<${word}>`;
    });
    lines.push(`  ${[nameOf(path), command.meta.usage ?? [...words, "[flags]"].join(" ")].join(" ")}`);
  }
  if (command?.subCommands) lines.push(`  ${nameOf(path)} <command> [flags]`);
  return lines;
}

function aliasSection(path: readonly Command[]): string[] {
  const { alias, name } = path[path.length - 1]?.meta ?? {};
  return alias ? [section("Aliases", [`  ${[name, ...[alias].flat()].join(", ")}`])] : [];
}

async function commandSections(command: Command, columns: number): Promise<string[]> {
  const groups = new Map<string, [string, string][]>();
  const seen = new Set<string>();
  for (const load of Object.values(command.subCommands ?? {})) {
    const { meta } = await load();
    if (meta.hidden || seen.has(meta.name)) continue;
    seen.add(meta.name);
    const group = meta.group ?? "Commands";
    groups.set(group, [...(groups.get(group) ?? []), [meta.name, meta.description]]);
  }
  const indent = Math.max(0, ...[...seen].map((name) => name.length)) + 5;
  return [...groups].map(([title, entries]) =>
    section(
      title,
      entries.flatMap((entry) => twoColumns(entry, indent, columns)),
    ),
  );
}

function argumentSection(command: Command, columns: number): string[] {
  const entries = positionalsOf(command).map(([name, { description }]): [string, string] => [`<${name}>`, description]);
  const indent = Math.max(0, ...entries.map(([name]) => name.length)) + 5;
  return entries.length > 0
    ? [
        section(
          "Arguments",
          entries.flatMap((entry) => twoColumns(entry, indent, columns)),
        ),
      ]
    : [];
}

function flagSections(path: readonly Command[], columns: number): string[] {
  const command = path[path.length - 1];
  const own = new Set(Object.keys(command?.args ?? {}));
  const isInherited = (name: string) =>
    path.slice(0, -1).some((parent) => parent.inherited && name in parent.inherited);
  const all = Object.entries(knownFlags(path)).sort(([a], [b]) => a.localeCompare(b));
  const local = all.filter(([name]) => own.has(name) || !isInherited(name));
  const global = all.filter(([name]) => !own.has(name) && isInherited(name));
  const indent = Math.min(Math.max(...all.map((entry) => flagHead(entry).length)) + 5, 40);
  const render = (flags: typeof all) =>
    flags.flatMap((entry) => twoColumns([flagHead(entry), flagText(entry[1])], indent, columns));
  const sections = [section("Flags", render(local))];
  if (global.length > 0) sections.push(section("Global Flags", render(global)));
  return sections;
}

function flagHead([name, flag]: readonly [string, Flag]): string {
  const short = flag.alias ? `-${flag.alias}, ` : "    ";
  const type = flag.type === "boolean" ? "" : ` ${flag.valueHint ?? "string"}`;
  return `${short}--${name}${type}`;
}

function flagText(flag: Flag): string {
  const isOn = flag.type === "boolean" && flag.default === true;
  const shown = flag.shownDefault ?? (flag.type === "string" ? flag.default : isOn ? "true" : undefined);
  const options = flag.type === "string" && flag.options ? `: ${flag.options.join(", ")}` : "";
  const repeatable = flag.type === "string" && flag.repeatable ? " (may be repeated)" : "";
  return `${flag.description}${options}${repeatable}${shown ? ` (default ${shown})` : ""}`;
}

function variableSection(command: Command, columns: number): string[] {
  const entries = Object.entries(command.meta.environment ?? {});
  const indent = Math.min(Math.max(0, ...entries.map(([name]) => name.length)) + 5, 40);
  return entries.length > 0
    ? [
        section(
          "Environment",
          entries.flatMap((entry) => twoColumns(entry, indent, columns)),
        ),
      ]
    : [];
}

function section(title: string, lines: readonly string[]): string {
  return `${title}:\n${lines.join("\n")}`;
}

function twoColumns([left, right]: readonly [string, string], indent: number, columns: number): string[] {
  const lines = wrap(right, columns - indent);
  const head = `  ${left}`;
  const isTooWide = head.length > indent - 2;
  const first = isTooWide
    ? [head, `${" ".repeat(indent)}${lines[0] ?? ""}`]
    : [`${head.padEnd(indent)}${lines[0] ?? ""}`];
  return [...first, ...lines.slice(1).map((line) => `${" ".repeat(indent)}${line}`)];
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
