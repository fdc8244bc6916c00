/** The person at the terminal: is there one, ask, ask without echo. Questions go to standard error, data to standard output. */
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { InvalidInput } from "../errors.ts";

export interface Terminal {
  /** Standard input is a terminal, so a question would be seen and answered. */
  readonly isInteractive: boolean;
  /** Standard output is a terminal: colours and bold headings make sense. */
  readonly hasColor: boolean;
  /** Standard output is a terminal, coloured or not. */
  readonly showsOutput?: boolean;
  /** Standard error is a terminal that shows colours. */
  readonly hasErrorColor?: boolean;
  /** Columns to lay text out in. */
  readonly width: number;
  out(text: string): void;
  /** A bare value: as it is for a pipe or a file, as a line of its own on a terminal. */
  outValue(text: string): void;
  err(text: string): void;
  /** As `out`, for output without bound: resolves when the reader of standard output has taken it. */
  outSlowly(text: string): Promise<void>;
  /**
   * Asks for a line.
   * @throws {InvalidInput} `no_terminal` naming `instead`, what would do the same without asking.
   * @throws {Interrupted} at Ctrl-C.
   */
  ask(question: string, instead: string): Promise<string>;
  /**
   * As `ask`, and without a terminal reads the answer from standard input: `echo y | agent-vault …`.
   * @throws {InvalidInput} `no_terminal` when no line comes from there.
   */
  askOrRead(question: string, instead: string): Promise<string>;
  /** As `ask`, without echo. Ctrl-C ends the process by SIGINT. */
  askHidden(question: string, instead: string): Promise<string>;
  /** The first lines of standard input, without their ends; fewer when it ends before. Does not wait for more. */
  readLines(count: number): Promise<readonly string[]>;
  /** All of standard input as text, without changing its line ends. */
  readAll(): Promise<string>;
}

/** The process's own streams. */
export function openTerminal(environment: Readonly<Record<string, string | undefined>>): Terminal {
  const isInteractive = process.stdin.isTTY === true;
  const isPlain = Boolean(environment.NO_COLOR) || environment.TERM === "dumb";
  return {
    isInteractive,
    hasColor: process.stdout.isTTY === true && !isPlain,
    showsOutput: process.stdout.isTTY === true,
    hasErrorColor: process.stderr.isTTY === true && !isPlain,
    width: process.stdout.columns ?? 100,
    out: (text) => void process.stdout.write(text),
    outValue: (text) => void process.stdout.write(process.stdout.isTTY === true ? `${text}\n` : text),
    err: (text) => void process.stderr.write(text),
    outSlowly: (text) => new Promise((resolve) => process.stdout.write(text, () => resolve())),
    ask: (question, instead) => {
      if (!isInteractive) throw noTerminal(question, instead);
      return askLine(question);
    },
    askOrRead: async (question, instead) => {
      if (isInteractive) return askLine(question);
      process.stderr.write(question);
      const line = await readAnswer();
      // Not repeated: what is piped in by accident may be a secret.
      process.stderr.write("\n");
      if (line === undefined) throw noTerminal(question, instead);
      return line;
    },
    askHidden: (question, instead) => {
      if (!isInteractive) throw noTerminal(question, instead);
      return askWithoutEcho(question);
    },
    readLines: readInputLines,
    readAll: readStandardInput,
  };
}

/** Somebody pressed Ctrl-C at a question. Whoever has no better answer ends by SIGINT, as programs do. */
export class Interrupted extends Error {
  constructor() {
    super("Interrupted");
    this.name = "Interrupted";
  }
}

export function noTerminal(question: string, instead: string): InvalidInput {
  const asked = question
    .trim()
    .replaceAll("\n", " ")
    .replace(/:+$/, "")
    .replace(/ \[.*\]$/, "");
  return new InvalidInput("no_terminal", `Cannot ask without a terminal: ${asked}`, { hint: instead });
}

/** What an arrow or another special key sends: ESC, and usually `[`, digits and a letter. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is the very character to look for
const escapeSequence = /\u{1b}\[?[0-9;]*[A-Za-z~]?/gu;

function askLine(question: string): Promise<string> {
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  return new Promise((resolve, reject) => {
    let answered = false;
    reader.on("SIGINT", () => {
      answered = true;
      reader.close();
      process.stderr.write("\n");
      reject(new Interrupted());
    });
    reader.on("close", () => {
      if (!answered) reject(new InvalidInput("no_answer", "The input ended before the question was answered"));
    });
    reader.question(question, (line) => {
      answered = true;
      reader.close();
      resolve(line);
    });
  });
}

/** Raw mode hands over each key as it is pressed and echoes none. */
function askWithoutEcho(question: string): Promise<string> {
  const { stdin } = process;
  // Silence first: whoever answers the moment the question appears must not see the answer.
  stdin.setRawMode(true);
  process.stderr.write(question);
  stdin.resume();
  stdin.setEncoding("utf8");
  return new Promise((resolve, reject) => {
    let typed = "";
    const finish = (end: () => void) => {
      stdin.off("data", onKeys);
      stdin.setRawMode(false);
      stdin.pause();
      process.stderr.write("\n");
      end();
    };
    const onKeys = (keys: string | Buffer) => {
      // Arrows and other sequences start with ESC and are no part of a password.
      for (const key of String(keys).replace(escapeSequence, "")) {
        if (key === "\r" || key === "\n") return finish(() => resolve(typed));
        if (key === "\u0003") return finish(() => process.kill(process.pid, "SIGINT"));
        if (key === "\u0004")
          return finish(() =>
            reject(new InvalidInput("no_answer", "The input ended before the question was answered")),
          );
        if (key === "\u007f" || key === "\b") typed = Array.from(typed).slice(0, -1).join("");
        else if (key === "\u0015") typed = "";
        else if (key >= " ") typed += key;
      }
    };
    stdin.on("data", onKeys);
  });
}

/** An input that stays open and silent is nobody's answer, and a program that waits for one would hang for ever. */
const answerLimitMs = 5_000;

/** The first line of standard input; undefined when it ends before, or nothing comes. */
async function readAnswer(): Promise<string | undefined> {
  const answered = new AbortController();
  const silence = setTimeout(answerLimitMs, undefined, { signal: answered.signal }).catch(() => undefined);
  const line = await Promise.race([readInputLines(1).then(([first]) => first), silence]);
  answered.abort();
  process.stdin.destroy();
  return line;
}

async function readStandardInput(): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function readInputLines(count: number): Promise<readonly string[]> {
  let bytes: Buffer = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, Buffer.from(chunk)]);
    if (bytes.filter((byte) => byte === 0x0a).length >= count) break;
  }
  const lines = bytes.toString("utf8").split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  return lines.slice(0, count);
}
