import { describe, expect, it } from "vitest";
import { command } from "../../src/cli/command.ts";
import { renderHelp } from "../../src/cli/help.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";
import { suggest } from "../../src/cli/suggest.ts";
import { UsageError } from "../../src/errors.ts";

const add = command({
  meta: { name: "add", description: "Add a service" },
  args: {
    name: { type: "positional", description: "Its name" },
    host: { type: "string", alias: "H", description: "Its host" },
    port: { type: "string", valueHint: "int", alias: "p", default: "443", description: "Its port" },
    role: { type: "string", options: ["member", "admin"], description: "A role" },
    header: { type: "string", repeatable: true, description: "A header" },
    quiet: { type: "boolean", alias: "q", description: "Say nothing" },
  },
  async run() {
    // the parser is what is tested
  },
});
const run = command({
  meta: { name: "run", description: "Run a command" },
  args: { quiet: { type: "boolean", alias: "q", description: "Say nothing" } },
  takesCommand: true,
  async run() {
    // the parser is what is tested
  },
});
const invite = command({
  meta: { name: "invite", description: "Invite" },
  args: { email: { type: "positional", description: "Whom" } },
  subCommands: { add: async () => add },
  async run() {
    // the parser is what is tested
  },
});
const vault = command({
  meta: { name: "vault", description: "Vaults" },
  inherited: { vault: { type: "string", description: "Which" } },
  subCommands: { add: async () => add, run: async () => run, invite: async () => invite },
});
const root = command({
  meta: { name: "av", description: "A program" },
  inherited: { telemetry: { type: "boolean", default: true, description: "Nothing" } },
  subCommands: { vault: async () => vault },
});

async function read(line: string) {
  const parsed = await parseCommandLine(root, line === "" ? [] : line.split(" "));
  return { ...parsed.values(), parsed };
}

async function refusal(line: string): Promise<UsageError> {
  try {
    await read(line);
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error(`"${line}" was accepted`);
}

describe("a command line", () => {
  it.each([
    { line: "vault add x --host a", because: "a value apart" },
    { line: "vault add x --host=a", because: "a value joined" },
    { line: "vault add --host a x", because: "flags before the words" },
    { line: "vault --vault v add -H a x", because: "an inherited flag before the command" },
    { line: "vault add -qH a x", because: "short flags bundled, the last with a value" },
    { line: "vault add -Ha -- x", because: "a short flag with its value joined, and a word after --" },
  ])("is understood: $line ($because)", async ({ line }) => {
    const { args } = await read(line);
    expect(args).toMatchObject({ name: "x", host: "a", port: "443", telemetry: true });
  });

  it("collects a flag that may be repeated, and takes the last of one that may not", async () => {
    const { args } = await read("vault add x --header a --header=b --host 1 --host 2");
    expect(args).toMatchObject({ header: ["a", "b"], host: "2" });
  });

  it("reads booleans as switches and with =", async () => {
    expect((await read("vault add x -q --telemetry=false")).args).toMatchObject({ quiet: true, telemetry: false });
    expect((await read("vault add x --quiet=0")).args).toMatchObject({ quiet: false });
  });

  it("tells which flags were given, apart from defaults", async () => {
    expect([...(await read("vault add x --host a")).given]).toEqual(["host"]);
  });

  it("keeps what follows -- for the command, flags included", async () => {
    const { rest, args } = await read("vault run -q -- curl -s --host x");
    expect(rest).toEqual(["curl", "-s", "--host", "x"]);
    expect(args).toMatchObject({ quiet: true });
    expect((await read("vault run echo hi")).rest).toEqual(["echo", "hi"]);
  });

  it("takes a word after a command that also groups others as its argument", async () => {
    expect((await read("vault invite a@b")).args).toMatchObject({ email: "a@b" });
    expect((await read("vault invite add x")).args).toMatchObject({ name: "x" });
  });

  it.each([
    { line: "vualt", says: 'no command "vualt"', tries: "av vault", because: "a mistyped command" },
    {
      line: "vault frobnicate",
      says: 'no command "frobnicate"',
      tries: "av vault --help",
      because: "a group's unknown word",
    },
    { line: "vault add x --hots a", says: "no flag --hots", tries: "--host", because: "a mistyped flag" },
    { line: "vault add x -z", says: "no flag -z", tries: "--help", because: "an unknown short flag" },
    { line: "vault add x y", says: 'does not take "y"', tries: "--help", because: "a word too many" },
    { line: "vault add", says: "needs <name>", tries: "--help", because: "a word too few" },
    { line: "vault add x --host", says: "needs a value", tries: "--host <value>", because: "no value" },
    { line: "vault add x --port a", says: 'cannot be "a"', tries: "whole number", because: "not a number" },
    { line: "vault add x --role boss", says: 'cannot be "boss"', tries: "member, admin", because: "not an option" },
    { line: "vault add x --quiet=maybe", says: 'cannot be "maybe"', tries: "true or false", because: "not a boolean" },
    { line: "vault run curl -s", says: "after --", tries: "--help", because: "a flag of the command without --" },
    {
      line: "vault add x --vault=1 --version",
      says: "no flag --version",
      tries: "--help",
      because: "a flag of the root",
    },
  ])("is refused with exit code 2: $line ($because)", async ({ line, says, tries }) => {
    const error = await refusal(line);
    expect(error.exitCode).toBe(2);
    expect(error.message).toContain(says);
    expect(error.hint).toContain(tries);
  });

  it("asks for help without needing the rest to be there", async () => {
    expect((await parseCommandLine(root, ["vault", "add", "--role", "x", "--help"])).wantsHelp).toBe(true);
    expect((await parseCommandLine(root, ["-h"])).wantsHelp).toBe(true);
    expect((await parseCommandLine(root, ["--version"])).wantsVersion).toBe(true);
  });
});

describe("the help of a command", () => {
  it("names usage, arguments, flags with type and default, and what is inherited", async () => {
    const text = await renderHelp([root, vault, add], 100);
    expect(text).toContain("av vault add <name> [flags]");
    expect(text).toMatch(/^ {2}-p, --port int +Its port \(default 443\)$/m);
    expect(text).toMatch(/^ {6}--role string +A role: member, admin$/m);
    expect(text).toMatch(/Global Flags:\n.*--telemetry .*\(default true\)\n.*--vault string/);
  });

  it("fits into the columns there are", async () => {
    const text = await renderHelp([root, vault, add], 60);
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(60);
  });
});

describe("suggestions", () => {
  it.each([
    { typed: "lsit", known: ["list", "set"], nearest: "list", because: "two letters swapped" },
    { typed: "cred", known: ["credential", "create"], nearest: "credential", because: "the beginning of a word" },
  ])("$typed means $nearest: $because", ({ typed, known, nearest }) => {
    expect(suggest(typed, known)[0]).toBe(nearest);
  });

  it("are not made up", () => {
    expect(suggest("zzzzz", ["list", "set"])).toEqual([]);
  });
});
