/** Runs the command line and sets the exit code. The version is answered without loading the rest. */
import { homedir } from "node:os";
import { keepFreedMemory } from "./runtime/allocator.ts";
import { buildInfo } from "./runtime/build-info.ts";

async function main(words: readonly string[]): Promise<number> {
  if (words.length === 1 && (words[0] === "--version" || words[0] === "-v")) {
    process.stdout.write(`agent-vault version ${buildInfo.version}\n`);
    return 0;
  }
  if (words[0] === "server" && words[1] !== "stop" && words[1] !== "status") keepFreedMemory(words);
  const [{ runCommandLine }, { reportError }, { openTerminal }] = await Promise.all([
    import("./cli/root.ts"),
    import("./cli/output.ts"),
    import("./runtime/terminal.ts"),
  ]);
  const environment = process.env;
  const terminal = openTerminal(environment);
  try {
    return await runCommandLine(words, {
      environment,
      terminal,
      workingDirectory: process.cwd(),
      home: environment.HOME || homedir(),
    });
  } catch (error) {
    return reportError(error, {
      write: terminal.err,
      isDebug: environment.AGENT_VAULT_DEBUG === "1",
      hasErrorColor: terminal.hasErrorColor === true,
    });
  }
}

// A reader that went away (`| head`) is no failure of ours. What promised to end in order on a signal, such as the
// server, goes on without being read.
process.stdout.on("error", () => {
  if (process.listenerCount("SIGTERM") === 0) process.exit();
});
process.stderr.on("error", () => undefined);
process.exitCode = await main(process.argv.slice(2));
