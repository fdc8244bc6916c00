/** The clipboard of the person at the terminal: best effort, silent when there is none. */
import { readFileSync } from "node:fs";
import { type Environment, findCommand, pipeInto } from "../runtime/process.ts";
import type { CliContext } from "./command.ts";
import { paint } from "./output.ts";

type Tool = readonly [command: string, ...args: string[]];

/**
 * Copies a token that is shown only once, and says so. Only for a person: a script's clipboard is nobody's.
 * Wayland, X11, macOS, and Windows from inside WSL.
 */
export async function offerCopy({ terminal, environment }: CliContext, what: string, text: string): Promise<void> {
  if (!terminal.isInteractive || !terminal.showsOutput) return;
  for (const [name, ...args] of toolsFor(environment)) {
    const command = findCommand(name, environment);
    if (command && (await pipeInto({ command, args, environment }, text))) {
      terminal.out(`${paint(terminal, "gray", `(${what} is in the clipboard)`)}\n`);
      return;
    }
  }
}

function toolsFor(environment: Environment): readonly Tool[] {
  if (process.platform === "darwin") return [["pbcopy"]];
  if (process.platform === "win32") return [["clip"]];
  return [
    ...(environment.WAYLAND_DISPLAY ? ([["wl-copy"]] as const) : []),
    ...(environment.DISPLAY
      ? ([
          ["xclip", "-selection", "clipboard"],
          ["xsel", "--clipboard", "--input"],
        ] as const)
      : []),
    ...(isWsl() ? ([["clip.exe"]] as const) : []),
  ];
}

function isWsl(): boolean {
  try {
    return /microsoft/i.test(readFileSync("/proc/version", "utf8"));
  } catch {
    return false; // no /proc: not Linux, so not WSL
  }
}
