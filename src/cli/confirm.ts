/** Questions before something is lost. Each names the flag that answers it where nobody can be asked. */
import { InvalidInput } from "../errors.ts";
import { Interrupted } from "../runtime/terminal.ts";
import type { CliContext } from "./command.ts";
import { printable } from "./output.ts";

/** `[y/N]`. False when the person declines; a notice has then been printed. */
export async function confirm({ terminal }: CliContext, question: string, isSure: boolean): Promise<boolean> {
  if (isSure) return true;
  const answer = await terminal.askOrRead(`${printable(question)} [y/N] `, "--yes");
  const isYes = /^y(es)?$/i.test(answer.trim());
  if (!isYes) terminal.out("Aborted.\n");
  return isYes;
}

/**
 * As `confirm`, for what can be done again: a script that names no `--yes` is not asked, as it never was.
 */
export async function confirmIfAsked(context: CliContext, question: string, isSure: boolean): Promise<boolean> {
  return confirm(context, question, isSure || !context.terminal.isInteractive);
}

/** Asks to type a phrase, for what cannot be undone. */
export async function confirmPhrase(
  { terminal }: CliContext,
  options: { question: string; phrase: string; isSure: boolean },
): Promise<boolean> {
  if (options.isSure) return true;
  const answer = await terminal.askOrRead(
    `${printable(options.question)}\nType "${options.phrase}" to confirm: `,
    "--yes",
  );
  const isYes = answer.trim() === options.phrase;
  if (!isYes) terminal.out("Aborted.\n");
  return isYes;
}

/** For a row of questions of which nothing comes before the last: Ctrl-C is a no. Undefined then, after a notice. */
export async function orAborted<T>({ terminal }: CliContext, questions: () => Promise<T>): Promise<T | undefined> {
  try {
    return await questions();
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    terminal.out("Aborted.\n");
    return undefined;
  }
}

export const minimumPasswordLength = 8;

/** A new password, asked for twice. @throws {InvalidInput} when the two differ or it is too short. */
export async function askNewPassword({ terminal }: CliContext, question = "Password"): Promise<string> {
  const password = await terminal.askHidden(`${question}: `, "--password-stdin");
  checkNewPassword(password);
  const again = await terminal.askHidden(`${question} again: `, "--password-stdin");
  if (again !== password) throw new InvalidInput("passwords_differ", "The two passwords differ");
  return password;
}

/** @throws {InvalidInput} `password_too_short`. */
export function checkNewPassword(password: string): void {
  if (Buffer.byteLength(password) >= minimumPasswordLength) return;
  throw new InvalidInput("password_too_short", `A password needs at least ${minimumPasswordLength} bytes`);
}

/** The first lines of standard input, without their line ends. @throws {InvalidInput} when there are fewer. */
export async function readLines({ terminal }: CliContext, names: readonly string[]): Promise<readonly string[]> {
  const lines = await terminal.readLines(names.length);
  if (lines.length < names.length) {
    throw new InvalidInput("input_too_short", `Standard input should hold ${names.join(", then ")}, one per line`);
  }
  return lines;
}
