import { command } from "../command.ts";
import { findChild, knownFlags } from "../parse.ts";

const descriptions = {
  "no-descriptions": {
    type: "boolean",
    description: "Accepted for compatibility; words are offered without descriptions",
  },
} as const;

/** Every script asks this program what may come next, so that completion never lags behind the commands. */
const scripts = {
  bash: `# bash completion for agent-vault: source <(agent-vault completion bash)
_agent_vault() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(agent-vault completion words -- "\${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _agent_vault agent-vault
`,
  zsh: `#compdef agent-vault
# zsh completion for agent-vault: source <(agent-vault completion zsh)
_agent_vault() {
  local -a found
  found=("\${(@f)$(agent-vault completion words -- "\${(@)words[2,CURRENT-1]}" 2>/dev/null)}")
  compadd -a found
  (( \${#found} )) || _files
}
compdef _agent_vault agent-vault
`,
  fish: `# fish completion for agent-vault: agent-vault completion fish | source
complete -c agent-vault -a '(agent-vault completion words -- (commandline -opc)[2..-1] 2>/dev/null)'
`,
  powershell: `# PowerShell completion for agent-vault: agent-vault completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName agent-vault -ScriptBlock {
  param($word, $ast)
  $typed = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" } | Where-Object { $_ -ne $word })
  agent-vault completion words '--' @typed 2>$null | Where-Object { $_ -like "$word*" }
}
`,
} as const;

const scriptCommand = (shell: keyof typeof scripts) =>
  command({
    meta: { name: shell, description: `Print the completion script for ${shell}` },
    args: descriptions,
    async run({ context }) {
      context.terminal.out(scripts[shell]);
    },
  });

const words = command({
  meta: { name: "words", hidden: true, description: "Print what may follow the words after --", usage: "-- [word...]" },
  takesCommand: true,
  async run({ rest, context }) {
    const { rootCommand } = await import("../root.ts");
    const path = [rootCommand];
    for (const word of rest.filter((typed) => !typed.startsWith("-"))) {
      const child = await findChild(path[path.length - 1] ?? rootCommand, word);
      if (!child) break;
      path.push(child);
    }
    const last = path[path.length - 1] ?? rootCommand;
    for (const [name, load] of Object.entries(last.subCommands ?? {})) {
      if (!(await load()).meta.hidden) context.terminal.out(`${name}\n`);
    }
    for (const name of Object.keys(knownFlags(path))) context.terminal.out(`--${name}\n`);
  },
});

export const completionCommand = command({
  meta: {
    name: "completion",
    hidden: true,
    description: "Print a script that completes commands in your shell",
    examples: ["source <(agent-vault completion bash)", "agent-vault completion fish | source"],
  },
  subCommands: {
    bash: async () => scriptCommand("bash"),
    zsh: async () => scriptCommand("zsh"),
    fish: async () => scriptCommand("fish"),
    powershell: async () => scriptCommand("powershell"),
    words: async () => words,
  },
});
