/** The command tree, and how one command line is carried out. Each command's file loads when it is chosen. */
import { UsageError } from "../errors.ts";
import { buildInfo } from "../runtime/build-info.ts";
import { type CliContext, type Command, command } from "./command.ts";
import { renderHelp } from "./help.ts";
import { findChild, parseCommandLine } from "./parse.ts";

const vault = () => import("./commands/vault.ts").then((file) => file.vaultCommand);

export const rootCommand: Command = command({
  meta: {
    name: "agent-vault",
    description: "Lets agents use credentials without holding them",
    details: "A server keeps the credentials and attaches them to the requests that pass through its proxy.",
    environment: {
      AGENT_VAULT_ADDR: "Address of the server",
      AGENT_VAULT_TOKEN: "Token of an agent: acts as that agent, without a login",
      AGENT_VAULT_VAULT: "Vault to use",
      AGENT_VAULT_TELEMETRY: "Accepted for compatibility; nothing is ever reported",
      AGENT_VAULT_DEBUG: "1 shows the causes of errors",
      NO_COLOR: "Any value switches colours off",
    },
    examples: [
      "agent-vault server -d",
      "agent-vault auth register",
      "agent-vault vault credential set GITHUB_TOKEN",
      "agent-vault vault service add --name github --host api.github.com --auth-type bearer --token-key GITHUB_TOKEN",
      "agent-vault run -- curl https://api.github.com/user",
      "source <(agent-vault completion bash)",
    ],
  },
  inherited: {
    telemetry: { type: "boolean", default: true, description: "Accepted for compatibility; nothing is ever reported" },
  },
  subCommands: {
    run: () => import("./commands/run.ts").then((file) => file.runCommand),
    vault,
    logs: () => import("./commands/logs.ts").then((file) => file.logsCommand),
    catalog: () => import("./commands/catalog.ts").then((file) => file.catalogCommand),
    skill: () => import("./commands/skill.ts").then((file) => file.skillCommand),
    export: () => import("./commands/export.ts").then((file) => file.exportCommand),
    apply: () => import("./commands/apply.ts").then((file) => file.applyCommand),
    doctor: () => import("./commands/doctor.ts").then((file) => file.doctorCommand),
    ca: () => import("./commands/ca.ts").then((file) => file.caCommand),
    auth: () => import("./commands/auth.ts").then((file) => file.authCommand),
    account: () => import("./commands/account.ts").then((file) => file.accountCommand),
    agent: () => import("./commands/agent.ts").then((file) => file.agentCommand),
    user: () => import("./commands/user.ts").then((file) => file.userCommand),
    owner: () => import("./commands/owner.ts").then((file) => file.ownerCommand),
    server: () => import("./commands/server.ts").then((file) => file.serverCommand),
    audit: () => import("./commands/audit.ts").then((file) => file.auditCommand),
    "master-password": () => import("./commands/master-password.ts").then((file) => file.masterPasswordCommand),
    "migrate-db": () => import("./commands/migrate-db.ts").then((file) => file.migrateCommand),
    version: () => import("./commands/version.ts").then((file) => file.versionCommand),
    help: () => import("./commands/version.ts").then((file) => file.helpCommand),
    completion: () => import("./commands/completion.ts").then((file) => file.completionCommand),
    // Spellings that were documented and never existed.
    service: () => vaultChild("service"),
    credential: () => vaultChild("credential"),
    creds: () => vaultChild("credential"),
    proposal: () => vaultChild("proposal"),
    verify: () => import("./commands/auth.ts").then((file) => hidden(file.verifyCommand)),
    email: () => import("./commands/owner.ts").then((file) => hidden(file.emailCommand)),
  },
});

async function vaultChild(name: string): Promise<Command> {
  const parent = await vault();
  const child = await findChild(parent, name);
  if (!child) throw new UsageError("unknown_command", `agent-vault vault has no command "${name}"`);
  return hidden({ ...child, inherited: { ...parent.inherited, ...child.inherited } });
}

function hidden(shown: Command): Command {
  return { ...shown, meta: { ...shown.meta, hidden: true } };
}

/** Carries out one command line; resolves to its exit code. @throws {AppError} what the caller prints. */
export async function runCommandLine(words: readonly string[], context: CliContext): Promise<number> {
  const parsed = await parseCommandLine(rootCommand, words);
  if (parsed.wantsVersion) {
    context.terminal.out(`agent-vault version ${buildInfo.version}\n`);
    return 0;
  }
  if (words[0] === "help") return showHelpOf(words.slice(1), context);
  if (parsed.wantsHelp || !parsed.isRunnable) {
    context.terminal.out(await renderHelp(parsed.path, widthFor(context)));
    return 0;
  }
  const values = parsed.values();
  const { address } = values.args;
  const invocation = { ...values, context: typeof address === "string" ? { ...context, address } : context };
  const code = await parsed.command.run?.(invocation as Parameters<NonNullable<Command["run"]>>[0]);
  return code ?? 0;
}

/** `help vault list`: as `vault list --help`; an unknown word is an error like anywhere else. */
async function showHelpOf(words: readonly string[], context: CliContext): Promise<number> {
  const names = words.filter((word) => !word.startsWith("-"));
  const parsed = await parseCommandLine(rootCommand, [...names, "--help"]);
  const depth = parsed.path.length - 1;
  if (names.length > depth) {
    throw new UsageError("unknown_command", `There is no command "${names.join(" ")}"`, { hint: "agent-vault --help" });
  }
  context.terminal.out(await renderHelp(parsed.path, widthFor(context)));
  return 0;
}

function widthFor({ terminal, environment }: CliContext): number {
  const columns = Number(environment.COLUMNS);
  return Number.isInteger(columns) && columns > 0 ? columns : terminal.width;
}
