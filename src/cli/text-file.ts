/** Files that are named on the command line; `-` is standard input. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { InvalidInput } from "../errors.ts";
import type { CliContext } from "./command.ts";

/** @throws {InvalidInput} `file_unreadable`. */
export async function readTextFile(context: CliContext, file: string): Promise<string> {
  if (file === "-") return context.terminal.readAll();
  try {
    return await readFile(resolve(context.workingDirectory, file), "utf8");
  } catch (cause) {
    throw new InvalidInput("file_unreadable", `Cannot read ${file}`, {
      hint: "check that it exists and may be read",
      cause,
    });
  }
}
