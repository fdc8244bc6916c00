/** Programs driven through a real terminal: a pseudo-terminal of python3, with what to wait for and what to type. */
import { spawn } from "node:child_process";
import { tmpdir } from "node:os";
import { json } from "node:stream/consumers";
import { binaryPath } from "./binary.ts";

/** Wait until this text appears (after the last match), then type the answer as it is: end a line with `\r`. */
export type Step = readonly [expected: string, typed: string];

export interface TerminalRun {
  /** 128 and the number of the signal that ended it. */
  readonly code: number;
  /** Everything that appeared on the screen, line ends as `\n`. */
  readonly screen: string;
}

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly steps?: readonly Step[];
  /** Another program than the built binary. */
  readonly program?: string;
}

const driver = `
import fcntl, json, os, pty, select, struct, sys, termios, time
job = json.loads(sys.argv[1])
pid, fd = pty.fork()
if pid == 0:
    os.chdir(job["cwd"])
    os.execvpe(job["argv"][0], job["argv"], job["env"])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
screen, seen, steps, end = b"", 0, list(job["steps"]), time.time() + 25
while time.time() < end:
    if steps:
        at = screen.find(steps[0][0].encode(), seen)
        if at >= 0:
            seen = at + len(steps[0][0].encode())
            os.write(fd, steps.pop(0)[1].encode())
            continue
    ready, _, _ = select.select([fd], [], [], 0.2)
    if ready:
        try:
            chunk = os.read(fd, 65536)
        except OSError:
            chunk = b""
        if not chunk:
            break
        screen += chunk
else:
    os.kill(pid, 9)
_, status = os.waitpid(pid, 0)
code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
print(json.dumps({"code": code, "screen": screen.decode(errors="replace"), "left": [step[0] for step in steps]}))
`;

/** Runs the built binary on a terminal of 100 columns. @throws {Error} when it ends before all steps were seen. */
export async function runInTerminal(args: readonly string[], options: TerminalOptions = {}): Promise<TerminalRun> {
  const job = {
    argv: [options.program ?? binaryPath, ...args],
    cwd: options.cwd ?? tmpdir(),
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LANG: "C.UTF-8", TERM: "xterm", HOME: tmpdir(), ...options.env },
    steps: options.steps ?? [],
  };
  const child = spawn("/usr/bin/python3", ["-c", driver, JSON.stringify(job)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const answer = (await json(child.stdout)) as { code: number; screen: string; left: readonly string[] };
  const screen = answer.screen.replaceAll("\r\n", "\n");
  if (answer.left.length > 0) {
    throw new Error(`"${answer.left[0]}" did not appear; the program ended with ${answer.code}:\n${screen}`);
  }
  return { code: answer.code, screen };
}
