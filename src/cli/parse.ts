/**
 * The strict reading of a command line. Whatever is not declared is refused: a mistyped `--valut` must not act on
 * another vault than the one that was meant.
 */
import { UsageError } from "../errors.ts";
import type { Args, Command, Flag, Positional } from "./command.ts";
import { suggest } from "./suggest.ts";

/** One flag as typed, with the flag it is. */
interface GivenFlag {
  readonly name: string;
  readonly flag: Flag;
  readonly value: string;
  /** As typed, for messages. */
  readonly spelling: string;
}

export interface Parsed {
  /** From the root to the chosen command. */
  readonly path: readonly Command[];
  readonly command: Command;
  readonly wantsHelp: boolean;
  readonly wantsVersion: boolean;
  /** False when the chosen command only groups others: its help is the answer. */
  readonly isRunnable: boolean;
  /** The checked values. @throws {UsageError} for what is missing or too much. */
  values(): { args: Record<string, unknown>; given: ReadonlySet<string>; rest: readonly string[] };
}

const helpFlag: Flag = { type: "boolean", alias: "h", description: "Show this help" };
const versionFlag: Flag = { type: "boolean", alias: "v", description: "Show the version" };

/** @throws {UsageError} `unknown_command`, `unknown_flag`, `bad_flag_value`, … */
export async function parseCommandLine(root: Command, words: readonly string[]): Promise<Parsed> {
  const path: Command[] = [root];
  const flags: GivenFlag[] = [];
  const plain: string[] = [];
  let rest: readonly string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    const current = path[path.length - 1] ?? root;
    if (word === "--") {
      rest = words.slice(at + 1);
      break;
    }
    if (word.startsWith("-") && word !== "-") {
      const read = readFlags(word, words[at + 1], path);
      flags.push(...read.flags);
      at += read.tookNext ? 1 : 0;
      continue;
    }
    const child = plain.length === 0 ? await findChild(current, word) : undefined;
    if (child) {
      path.push(child);
      continue;
    }
    if (!current.run || (current.subCommands && !hasPositionals(current))) throw unknownCommand(path, word);
    plain.push(word);
  }
  const command = path[path.length - 1] ?? root;
  const known = knownFlags(path);
  for (const given of flags) if (!(given.name in known)) throw unknownFlag(given.spelling, path);
  const isOn = (name: string) => flags.some((given) => given.name === name && given.value === "true");
  return {
    path,
    command,
    wantsHelp: isOn("help"),
    wantsVersion: path.length === 1 && isOn("version"),
    isRunnable: command.run !== undefined,
    values: () => collect({ path, flags, plain, rest }),
  };
}

/** Finds a command below this one by name or alias. */
export async function findChild(parent: Command, word: string): Promise<Command | undefined> {
  const children = parent.subCommands ?? {};
  const direct = Object.hasOwn(children, word) ? children[word] : undefined;
  return direct ? await direct() : undefined;
}

/** Flags that the last command of a path takes, its own and inherited ones. */
export function knownFlags(path: readonly Command[]): Readonly<Record<string, Flag>> {
  const known: Record<string, Flag> = { help: helpFlag };
  if (path.length === 1) known.version = versionFlag;
  for (const command of path) Object.assign(known, command.inherited);
  for (const [name, arg] of Object.entries(path[path.length - 1]?.args ?? {})) {
    if (arg.type !== "positional") known[name] = arg;
  }
  return known;
}

export function positionalsOf(command: Command): readonly (readonly [string, Positional])[] {
  return Object.entries(command.args ?? {}).filter(
    (entry): entry is [string, Positional] => entry[1].type === "positional",
  );
}

function hasPositionals(command: Command): boolean {
  return positionalsOf(command).length > 0 || command.takesCommand === true;
}

function readFlags(word: string, next: string | undefined, path: readonly Command[]) {
  const known = knownFlags(path);
  if (word.startsWith("--")) {
    const split = word.indexOf("=");
    const name = split < 0 ? word.slice(2) : word.slice(2, split);
    const flag = Object.hasOwn(known, name) ? known[name] : undefined;
    if (!flag) throw unknownFlag(split < 0 ? word : word.slice(0, split), path);
    return readOne({ name, flag, spelling: `--${name}`, joined: split < 0 ? undefined : word.slice(split + 1) }, next);
  }
  // Short flags may be bundled (`-dp 80`); the last of them may take a value, joined or apart.
  const flags: GivenFlag[] = [];
  for (let at = 1; at < word.length; at++) {
    const letter = word[at] ?? "";
    const found = Object.entries(known).find(([, flag]) => flag.alias === letter);
    if (!found) throw unknownFlag(word.length === 2 ? word : `-${letter}`, path);
    const [name, flag] = found;
    const after = word.slice(at + 1);
    const spelling = `-${letter}`;
    if (flag.type === "boolean" && !after.startsWith("=")) {
      flags.push({ name, flag, value: "true", spelling });
      continue;
    }
    const joined = after === "" ? undefined : after.replace(/^=/, "");
    const read = readOne({ name, flag, spelling, joined }, next);
    return { flags: [...flags, ...read.flags], tookNext: read.tookNext };
  }
  return { flags, tookNext: false };
}

function readOne(
  { name, flag, spelling, joined }: { name: string; flag: Flag; spelling: string; joined: string | undefined },
  next: string | undefined,
): { flags: GivenFlag[]; tookNext: boolean } {
  if (flag.type === "boolean") {
    return { flags: [{ name, flag, spelling, value: readSwitch(spelling, joined ?? "true") }], tookNext: false };
  }
  const value = joined ?? next;
  if (value === undefined) {
    throw new UsageError("missing_flag_value", `${spelling} needs a value`, {
      hint: `${spelling} ${hintOf(flag.valueHint)}`,
    });
  }
  return { flags: [{ name, flag, spelling, value }], tookNext: joined === undefined };
}

function readSwitch(spelling: string, value: string): string {
  const word = value.toLowerCase();
  if (["true", "1", "t"].includes(word)) return "true";
  if (["false", "0", "f"].includes(word)) return "false";
  throw badValue(spelling, value, "true or false");
}

function collect({
  path,
  flags,
  plain,
  rest,
}: {
  path: readonly Command[];
  flags: readonly GivenFlag[];
  plain: readonly string[];
  rest: readonly string[];
}) {
  const command = path[path.length - 1];
  const args: Record<string, unknown> = {};
  for (const given of flags) checkValue(given);
  const givenNames = new Set(flags.map((given) => given.name));
  for (const [name, flag] of Object.entries(knownFlags(path))) {
    const values = flags.filter((given) => given.name === name).map((given) => given.value);
    if (flag.type === "boolean") args[name] = values.length > 0 ? values.at(-1) === "true" : (flag.default ?? false);
    else args[name] = flag.repeatable ? values : (values.at(-1) ?? flag.default);
  }
  // Before `--` a word that begins with `-` is a flag of ours, so a command with flags of its own needs the `--`.
  if (command?.takesCommand) return { args, given: givenNames, rest: [...plain, ...rest] };
  const words = [...plain, ...rest];
  for (const [name, positional] of command ? positionalsOf(command) : []) {
    if (positional.repeatable) args[name] = words.splice(0);
    else args[name] = words.shift();
    const isMissing = positional.repeatable ? (args[name] as string[]).length === 0 : args[name] === undefined;
    if (isMissing && positional.required !== false) {
      throw new UsageError("missing_argument", `${nameOf(path)} needs <${name}>`, { hint: `${nameOf(path)} --help` });
    }
  }
  if (words.length > 0) {
    throw new UsageError("unexpected_argument", `${nameOf(path)} does not take "${words[0]}"`, {
      hint: `${nameOf(path)} --help`,
    });
  }
  return { args: args as Record<keyof Args, unknown>, given: givenNames, rest };
}

/** Not checked before the command runs: `--role x --help` asks which roles there are. */
function checkValue({ flag, spelling, value }: GivenFlag): void {
  if (flag.type === "boolean") return;
  if (flag.valueHint === "int" && !/^-?\d+$/.test(value)) throw badValue(spelling, value, "a whole number");
  if (flag.options && !flag.options.includes(value))
    throw badValue(spelling, value, `one of ${flag.options.join(", ")}`);
}

/** `agent-vault vault list`. */
export function nameOf(path: readonly Command[]): string {
  return path.map((command) => command.meta.name).join(" ");
}

function hintOf(valueHint: string | undefined): string {
  return `<${valueHint ?? "value"}>`;
}

function badValue(spelling: string, value: string, expected: string): UsageError {
  const shown = value.length > 60 ? `${value.slice(0, 60)}…` : value;
  return new UsageError("bad_flag_value", `${spelling} cannot be "${shown}"`, { hint: `give ${spelling} ${expected}` });
}

function unknownFlag(spelling: string, path: readonly Command[]): UsageError {
  const takesCommand = path[path.length - 1]?.takesCommand === true;
  const near = suggest(spelling.replace(/^-+/, ""), Object.keys(knownFlags(path)));
  const forCommand = takesCommand ? `; words of the command come after --: ${nameOf(path)} -- <command>` : "";
  return new UsageError("unknown_flag", `${nameOf(path)} has no flag ${spelling}${forCommand}`, {
    hint:
      near.length > 0 && spelling.length > 2 ? near.map((name) => `--${name}`).join(" or ") : `${nameOf(path)} --help`,
  });
}

function unknownCommand(path: readonly Command[], word: string): UsageError {
  const parent = path[path.length - 1];
  const near = suggest(word, Object.keys(parent?.subCommands ?? {}));
  const hint = near.length > 0 ? near.map((name) => `${nameOf(path)} ${name}`).join(" or ") : `${nameOf(path)} --help`;
  return new UsageError("unknown_command", `${nameOf(path)} has no command "${word}"`, { hint });
}
