import { buildInfo } from "../../runtime/build-info.ts";
import { command, jsonFlag } from "../command.ts";
import { printFacts, printJson } from "../output.ts";

export const versionCommand = command({
  meta: { name: "version", group: "Server", description: "Show version, commit, build time, runtime and platform" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const { version, commit, date } = buildInfo;
    const runtime = describeRuntime();
    const platform = `${process.platform}/${process.arch}`;
    if (args.json) return printJson(context.terminal, { version, commit, built_at: date, runtime, platform });
    context.terminal.out(`agent-vault version ${version}\n`);
    printFacts(context.terminal, [
      ["commit", commit],
      ["built", date || "from source"],
      ["runtime", runtime],
      ["platform", platform],
    ]);
  },
});

export const helpCommand = command({
  meta: { name: "help", group: "Server", description: "Show the help of a command", usage: "[command]" },
  args: { command: { type: "positional", required: false, repeatable: true, description: "Command to explain" } },
  async run() {
    // `runCommandLine` answers it: only there the whole tree is at hand.
  },
});

function describeRuntime(): string {
  const { bun, deno, node } = process.versions;
  return bun ? `bun ${bun}` : deno ? `deno ${deno}` : `node ${node}`;
}
