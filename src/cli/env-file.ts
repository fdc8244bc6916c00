import { InvalidInput } from "../errors.ts";

/**
 * `KEY=VALUE` lines, as shells and dotenv have them: blank lines and `#` comments, `export`, single quotes (as is) and
 * double quotes (with \n, \r, \t, \" and \\; may span lines). An unquoted value ends before ` #`.
 * @throws {InvalidInput} naming the line, never its content.
 */
export function parseEnvFile(text: string, name: string): readonly (readonly [key: string, value: string])[] {
  const entries: [string, string][] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    if (/^\s*(#|$)/.test(line)) continue;
    const begin = at;
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(.*)$/.exec(line);
    if (!match) throw malformed(name, begin, "it should be KEY=VALUE");
    const [, key = "", start = ""] = match;
    const quote = start[0];
    if (quote !== '"' && quote !== "'") {
      entries.push([key, start.replace(/(^|\s+)#.*$/, "").trimEnd()]);
      continue;
    }
    let raw = start;
    const closed = quote === '"' ? /^"((?:[^"\\]|\\[\s\S])*)"\s*(#.*)?$/ : /^'([^']*)'\s*(#.*)?$/;
    while (!closed.test(raw) && at + 1 < lines.length) raw += `\n${lines[++at]}`;
    const value = closed.exec(raw)?.[1];
    if (value === undefined) throw malformed(name, begin, `the ${quote} of its value is not closed`);
    entries.push([key, quote === '"' ? withEscapes(value) : value]);
  }
  if (entries.length === 0) throw new InvalidInput("env_file_empty", `${name} holds no KEY=VALUE line`);
  return entries;
}

function withEscapes(value: string): string {
  const known: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };
  return value.replace(/\\([\s\S])/g, (_, character: string) => known[character] ?? character);
}

function malformed(name: string, line: number, why: string): InvalidInput {
  return new InvalidInput("env_file_malformed", `Line ${line + 1} of ${name} cannot be read: ${why}`);
}
