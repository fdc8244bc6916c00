/**
 * What a command is. The tree is citty's: `meta`, `args`, lazily loaded `subCommands` and `run`. Its parser and usage
 * text are not used, as they let unknown flags and words pass; `parse.ts` and `help.ts` are ours.
 */
import { type CommandDef, type CommandMeta, defineCommand } from "citty";
import type { Environment } from "../runtime/process.ts";
import type { Terminal } from "../runtime/terminal.ts";

export interface Positional {
  readonly type: "positional";
  readonly description: string;
  /** `false`: may be left out. */
  readonly required?: boolean;
  /** Takes all the words that are left. */
  readonly repeatable?: true;
  /** What completion offers for it. */
  readonly completes?: Completion;
}

/** Names that completion asks the server for, or files of this machine. */
export type Completion = "vault" | "service" | "credential" | "agent" | "user" | "template" | "file" | "directory";

export interface TextFlag {
  readonly type: "string";
  readonly description: string;
  /** One letter: `-p`. */
  readonly alias?: string;
  /** What the help calls its value; `int` also makes the parser insist on a whole number. */
  readonly valueHint?: string;
  /** Applied when the flag is absent, and shown. */
  readonly default?: string;
  /** Shown as the default, which something further down applies. */
  readonly shownDefault?: string;
  /** The only values there are. */
  readonly options?: readonly string[];
  /** May be given several times. */
  readonly repeatable?: true;
  /** What completion offers as its value. */
  readonly completes?: Completion;
}

export interface SwitchFlag {
  readonly type: "boolean";
  readonly description: string;
  readonly alias?: string;
  readonly default?: boolean;
  readonly shownDefault?: string;
}

export type Flag = TextFlag | SwitchFlag;
export type Args = Readonly<Record<string, Positional | Flag>>;

type Value<A> = A extends { type: "boolean" }
  ? boolean
  : A extends { repeatable: true }
    ? readonly string[]
    : A extends { type: "positional"; required: false }
      ? string | undefined
      : A extends { type: "positional" } | { default: string }
        ? string
        : string | undefined;

export type Values<A extends Args> = { readonly [K in keyof A]: Value<A[K]> };

/** What surrounds a command: handed in, so that a test can stand in for the machine. */
export interface CliContext {
  readonly environment: Environment;
  readonly terminal: Terminal;
  readonly workingDirectory: string;
  /** The user's home; `.agent-vault` is below it. */
  readonly home: string;
  /** `--address`, when it was given. */
  readonly address?: string;
}

export interface Invocation<A extends Args> {
  readonly args: Values<A>;
  /** Names of the flags that were really given, for "flag beats environment" and "only with". */
  readonly given: ReadonlySet<string>;
  /** Words after `--`. */
  readonly rest: readonly string[];
  readonly context: CliContext;
}

export interface Meta extends CommandMeta {
  readonly name: string;
  /** One line, without a full stop. */
  readonly description: string;
  /** Heading under which the parent lists it. */
  readonly group?: string;
  /** More about it, shown below the description. */
  readonly details?: string;
  /** Words after the command's name, when positionals do not tell: `[flags] -- <command> [args...]`. */
  readonly usage?: string;
  readonly examples?: readonly string[];
  /** Variables that it reads or sets, with a word on each. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface CommandDefinition<A extends Args> {
  readonly meta: Meta;
  readonly args?: A;
  /** Also accepted by every command below this one. */
  readonly inherited?: Readonly<Record<string, Flag>>;
  readonly subCommands?: Readonly<Record<string, () => Promise<Command>>>;
  /** Its words, and all that follows `--`, are another program's command line. */
  readonly takesCommand?: true;
  /** Resolves to the exit code; nothing means 0. */
  run?(invocation: Invocation<A>): Promise<number | undefined> | Promise<void>;
}

// The tree holds commands of every argument shape; `parse.ts` makes the values that fit each one.
export type Command = Omit<CommandDefinition<Args>, "run"> & {
  run?(invocation: Invocation<Args>): Promise<number | undefined> | Promise<void>;
};

/** Defines a command with citty; types its values from `args`. */
export function command<const A extends Args>(definition: CommandDefinition<A>): Command {
  const checked = defineCommand(definition as unknown as CommandDef);
  return checked as unknown as Command;
}

/** `--json`, on every command that prints data. */
export const jsonFlag = { type: "boolean", description: "Print JSON with the field names of the API" } as const;
/** `--yes`, on every command that asks before it destroys. */
export const yesFlag = { type: "boolean", alias: "y", description: "Do not ask for confirmation" } as const;
export const addressFlag = {
  type: "string",
  description: "Address of the server, such as https://vault.example.com (default: the login's)",
} as const;
/** `--address` of what needs no login. */
export const publicAddressFlag = {
  type: "string",
  description: "Address of the server, such as https://vault.example.com (default: AGENT_VAULT_ADDR, then the login's)",
} as const;
export const vaultFlag = {
  type: "string",
  completes: "vault",
  description: "Vault to use (default: AGENT_VAULT_VAULT, agent-vault.json, vault use, then default)",
} as const;
