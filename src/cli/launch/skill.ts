/** Instructions for agents ("skills"): which agent keeps them where, and how they get there. */
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { messageOf } from "../../errors.ts";
import { readAssetText } from "../../runtime/assets.ts";
import { findText, writeAtomically } from "../../runtime/files.ts";
import { capture, findCommand } from "../../runtime/process.ts";
import type { CliContext } from "../command.ts";
import { note, warn } from "../output.ts";

interface KnownAgent {
  readonly title: string;
  /** Below the home; `skills/` is in it. */
  readonly directory: string;
  readonly commands: readonly string[];
}

/** Agents that read skills, by the name to give to `skill install`. */
export const knownAgents: Readonly<Record<string, KnownAgent>> = {
  claude: { title: "Claude Code", directory: ".claude", commands: ["claude"] },
  cursor: { title: "Cursor", directory: ".cursor", commands: ["cursor", "agent"] },
  codex: { title: "Codex", directory: ".agents", commands: ["codex"] },
  hermes: { title: "Hermes", directory: ".hermes", commands: ["hermes"] },
  opencode: { title: "OpenCode", directory: ".opencode", commands: ["opencode"] },
  openclaw: { title: "OpenClaw", directory: ".openclaw", commands: ["openclaw"] },
  pi: { title: "Pi", directory: join(".pi", "agent"), commands: ["pi"] },
  devin: { title: "Devin", directory: join(".config", "devin"), commands: ["devin"] },
  windsurf: {
    title: "Windsurf",
    directory: join(".codeium", "windsurf"),
    commands: ["windsurf", "devin-desktop"],
  },
  cline: { title: "Cline", directory: ".cline", commands: ["cline"] },
  roo: { title: "Roo Code", directory: ".roo", commands: ["roo"] },
};

/** The instructions, byte for byte as `GET /v1/skills/cli` serves them. */
export function skillText(): string {
  return readAssetText("skills/agent-vault-cli/SKILL.md");
}

/** The agent that a command starts, by its base name. */
export function findAgentOf(command: string): KnownAgent | undefined {
  const name = basename(command).replace(/\.(exe|cmd)$/i, "");
  return Object.values(knownAgents).find(({ commands }) => commands.includes(name));
}

/** Writes the instructions unless they are there as they should be. @throws {InvalidInput} when it cannot. */
export async function installSkill(home: string, agent: KnownAgent): Promise<{ file: string; isChanged: boolean }> {
  const file = join(home, agent.directory, "skills", "agent-vault-cli", "SKILL.md");
  const text = skillText();
  if ((await findText(file)) === text) return { file, isChanged: false };
  // `writeAtomically` says why a directory cannot be used.
  await mkdir(dirname(file), { recursive: true, mode: 0o750 }).catch(() => undefined);
  await writeAtomically(file, text, 0o600);
  return { file, isChanged: true };
}

/** What `run` does for a known agent. Nothing here is worth ending the run for. */
export async function prepareAgent(context: CliContext, word: string): Promise<void> {
  const agent = findAgentOf(word);
  if (!agent) return;
  try {
    const { file, isChanged } = await installSkill(context.home, agent);
    if (isChanged) note(context.terminal, `agent-vault: instructions for ${agent.title} are in ${file}`);
  } catch (error) {
    warn(context.terminal, `the instructions for ${agent.title} were not installed: ${messageOf(error)}`);
  }
  if (agent === knownAgents.openclaw) await configureOpenClaw(context);
}

const openClawSettings = ["proxy.enabled", "tools.web.fetch.useTrustedEnvProxy"] as const;
const openClawLimitMs = 10_000;

/** OpenClaw follows a proxy only when its own configuration says so. It is changed only where it says otherwise. */
async function configureOpenClaw({ environment, terminal }: CliContext): Promise<void> {
  const command = findCommand("openclaw", environment);
  if (!command) return;
  const call = (...args: string[]) =>
    capture({ command, args: ["config", ...args], environment }, { timeoutMs: openClawLimitMs });
  const changed: string[] = [];
  for (const name of openClawSettings) {
    const { code, output } = await call("get", name);
    if (code === 0 && output.trim() === "true") continue;
    if ((await call("set", name, "true")).code === 0) changed.push(name);
    else warn(terminal, `openclaw config set ${name} true did not work; OpenClaw may not use the broker`);
  }
  if (changed.length === 0) return;
  const undo = changed.map((name) => `openclaw config set ${name} false`).join("; ");
  note(terminal, `agent-vault: OpenClaw now uses the proxy of its environment, without agent-vault too. Undo: ${undo}`);
}
