/**
 * What may come next on a command line, for the shells: read from the command tree, so that it never lags behind the
 * commands, and names from the server where they are quickly had.
 */
import type { Client } from "../client/client.ts";
import type { CliContext, Command, Completion, Flag } from "./command.ts";
import { asSavedPerson, clientOf, findAgent, resolveVault } from "./connect.ts";
import { findChild, knownFlags, positionalsOf } from "./parse.ts";

export interface Candidate {
  readonly value: string;
  readonly description?: string;
}

export interface Completed {
  readonly candidates: readonly Candidate[];
  /** What the shell knows better: files, or the names of commands. */
  readonly fallback?: "file" | "directory" | "command";
}

/** Nobody waits for a shell that thinks. */
const serverLimitMs = 1_500;
/** A shell inserts these as they are, so a name of a hostile server must not hold anything that means something there. */
const harmless = /^[A-Za-z0-9@%+=:,./_-]+$/;

/** @param words all that was typed after the program's name; the last one, perhaps empty, is to be completed. */
export async function complete(root: Command, words: readonly string[], context: CliContext): Promise<Completed> {
  const typed = words.at(-1) ?? "";
  const found = await candidatesFor(await readTyped(root, words.slice(0, -1)), typed, context);
  const candidates = found.candidates.filter(({ value }) => value.startsWith(typed) && harmless.test(value));
  return { ...found, candidates };
}

/** Where the typed words have led. */
interface Position {
  readonly path: readonly Command[];
  readonly positionals: readonly string[];
  /** A flag whose value comes next. */
  readonly awaiting: Flag | undefined;
  /** Words of another command line; undefined while they are ours. */
  readonly foreign: number | undefined;
  readonly flags: ReadonlyMap<string, string>;
}

async function readTyped(root: Command, words: readonly string[]): Promise<Position> {
  const path = [root];
  const positionals: string[] = [];
  const flags = new Map<string, string>();
  let awaiting: readonly [name: string, flag: Flag] | undefined;
  for (const [at, word] of words.entries()) {
    const current = path[path.length - 1] ?? root;
    if (awaiting) {
      flags.set(awaiting[0], word);
      awaiting = undefined;
    } else if (word === "--") {
      const foreign = current.takesCommand ? words.length - at - 1 : undefined;
      return { path, positionals, awaiting: undefined, foreign, flags };
    } else if (word.startsWith("-") && word !== "-") {
      awaiting = readFlag(word, knownFlags(path), flags);
    } else {
      const child = positionals.length === 0 ? await findChild(current, word) : undefined;
      if (child) path.push(child);
      else if (current.takesCommand) return { path, positionals, awaiting, foreign: words.length - at, flags };
      else positionals.push(word);
    }
  }
  return { path, positionals, awaiting: awaiting?.[1], foreign: undefined, flags };
}

function readFlag(word: string, known: Readonly<Record<string, Flag>>, flags: Map<string, string>) {
  const [, name = "", value] = /^--?([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
  const isLong = word.startsWith("--");
  const entry = Object.entries(known).find(([long, flag]) => (isLong ? long === name : flag.alias === name.at(-1)));
  if (!entry || entry[1].type === "boolean") return undefined;
  if (value === undefined) return entry;
  flags.set(entry[0], value);
  return undefined;
}

async function candidatesFor(position: Position, typed: string, context: CliContext): Promise<Completed> {
  const { path, positionals, awaiting, foreign } = position;
  if (foreign !== undefined) return { candidates: [], fallback: foreign === 0 ? "command" : "file" };
  if (awaiting) return valuesOf(awaiting, position, context);
  const command = path[path.length - 1];
  if (!command) return { candidates: [] };
  const joined = /^(--([^=]+)=)/.exec(typed);
  if (joined) {
    const flag = knownFlags(path)[joined[2] ?? ""];
    const values = flag ? await valuesOf(flag, position, context) : { candidates: [] };
    return { candidates: values.candidates.map((each) => ({ ...each, value: `${joined[1]}${each.value}` })) };
  }
  if (typed.startsWith("-")) return { candidates: flagsOf(path) };
  const children = positionals.length === 0 ? await childrenOf(command) : [];
  const words = await positionalValues(command, position, context);
  const fallback = words.fallback ?? (command.takesCommand ? "command" : undefined);
  const candidates = [...children, ...words.candidates];
  const isOver = candidates.length === 0 && fallback === undefined;
  return { candidates: isOver ? flagsOf(path) : candidates, ...(fallback ? { fallback } : {}) };
}

async function childrenOf(command: Command): Promise<readonly Candidate[]> {
  const children: Candidate[] = [];
  for (const [value, load] of Object.entries(command.subCommands ?? {})) {
    const { meta } = await load();
    // Other spellings of a command are accepted, not advertised.
    if (!meta.hidden && meta.name === value) children.push({ value, description: meta.description });
  }
  return children;
}

function flagsOf(path: readonly Command[]): readonly Candidate[] {
  return Object.entries(knownFlags(path)).map(([name, { description }]) => ({ value: `--${name}`, description }));
}

async function positionalValues(command: Command, position: Position, context: CliContext): Promise<Completed> {
  const all = positionalsOf(command);
  const { positionals } = position;
  const last = all.at(-1)?.[1];
  const next = all[positionals.length]?.[1] ?? (last?.repeatable ? last : undefined);
  if (!next?.completes) return { candidates: [] };
  const found = await namesOf(next.completes, position, context);
  return { ...found, candidates: found.candidates.filter(({ value }) => !positionals.includes(value)) };
}

async function valuesOf(flag: Flag, position: Position, context: CliContext): Promise<Completed> {
  if (flag.type === "boolean") return { candidates: [{ value: "true" }, { value: "false" }] };
  if (flag.options) return { candidates: flag.options.map((value) => ({ value })) };
  return flag.completes ? namesOf(flag.completes, position, context) : { candidates: [] };
}

async function namesOf(what: Completion, { flags }: Position, context: CliContext): Promise<Completed> {
  if (what === "file" || what === "directory") return { candidates: [], fallback: what };
  // Nothing may be asked or said while somebody types.
  const terminal = { ...context.terminal, isInteractive: false, out: () => undefined, err: () => undefined };
  const address = flags.get("address");
  const quiet: CliContext = { ...context, terminal, ...(address === undefined ? {} : { address }) };
  try {
    const names = await askServer(quiet, async (client) => {
      const vault = what === "service" || what === "credential" ? await resolveVault(quiet, flags.get("vault")) : "";
      return namesFrom(client, what, vault);
    });
    return { candidates: names.map((value) => ({ value })) };
  } catch {
    return { candidates: [] }; // no server, no login: no names, and no noise on somebody's prompt
  }
}

function askServer<T>(context: CliContext, work: (client: Client) => Promise<T>): Promise<T> {
  const agent = findAgent(context);
  if (agent) return work(clientOf(agent, serverLimitMs));
  return asSavedPerson(context, work, { timeoutMs: serverLimitMs });
}

async function namesFrom(
  client: Client,
  what: Exclude<Completion, "file" | "directory">,
  vault: string,
): Promise<readonly string[]> {
  switch (what) {
    case "vault":
      return ((await client.listVaults()).vaults ?? []).map(({ name }) => name);
    case "service":
      return ((await client.listServices(vault)).services ?? []).map(({ name }) => name);
    case "credential":
      return (await client.listCredentials(vault)).keys ?? [];
    case "agent":
      return ((await client.listAgents()).agents ?? []).map(({ name }) => name);
    case "template":
      return (await client.catalog()).services.map(({ id }) => id);
    case "user":
      return ((await client.listUsers()).users ?? []).map(({ email }) => email);
  }
}
