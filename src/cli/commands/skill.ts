import { UsageError } from "../../errors.ts";
import { command, jsonFlag } from "../command.ts";
import { printJson, success } from "../output.ts";

const print = command({
  meta: { name: "print", description: "Print the instructions (Markdown)" },
  async run({ context }) {
    const { skillText } = await import("../launch/skill.ts");
    context.terminal.out(skillText());
  },
});

const install = command({
  meta: {
    name: "install",
    description: "Write the instructions to where agents look for them",
    details:
      "run does this for the agent that it starts. Without a name, every agent whose command is on the PATH gets them.",
    examples: ["agent-vault skill install", "agent-vault skill install claude codex"],
  },
  args: {
    agent: {
      type: "positional",
      required: false,
      repeatable: true,
      description: "claude, cursor, codex, hermes, opencode, openclaw, pi, devin, windsurf, cline or roo",
    },
    json: jsonFlag,
  },
  async run({ args, context }) {
    const { installSkill, knownAgents } = await import("../launch/skill.ts");
    const { findCommand } = await import("../../runtime/process.ts");
    const unknown = args.agent.find((name) => !Object.hasOwn(knownAgents, name));
    if (unknown !== undefined) {
      throw new UsageError("unknown_agent", `There are no instructions for "${unknown}"`, {
        hint: `one of ${Object.keys(knownAgents).join(", ")}`,
      });
    }
    const isOnPath = (name: string) => findCommand(name, context.environment) !== undefined;
    const chosen = Object.entries(knownAgents).filter(([name, { commands }]) =>
      args.agent.length > 0 ? args.agent.includes(name) : commands.some(isOnPath),
    );
    if (chosen.length === 0) {
      throw new UsageError("no_agents", "No agent's command is on the PATH", {
        hint: "agent-vault skill install claude",
      });
    }
    const installed = [];
    for (const [name, agent] of chosen) {
      const { file, isChanged } = await installSkill(context.home, agent);
      installed.push({ agent: name, file, changed: isChanged });
      if (!args.json) success(context.terminal, `${agent.title}: ${file}${isChanged ? "" : " (unchanged)"}`);
    }
    if (args.json) printJson(context.terminal, { installed });
  },
});

export const skillCommand = command({
  meta: { name: "skill", group: "Work", description: "Instructions that teach agents to work through the broker" },
  subCommands: { install: async () => install, print: async () => print },
});
