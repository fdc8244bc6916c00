import { command } from "../command.ts";
import { complete } from "../complete.ts";

const descriptions = {
  "no-descriptions": { type: "boolean", description: "Offer words without descriptions" },
} as const;

/**
 * Every script asks this program what may come next. It answers with a candidate and its description on each line,
 * and with `:file`, `:directory` or `:command` where the shell knows better. No shell ever evaluates an answer.
 */
const scripts = {
  // Bash splits words at = and :, so they are joined again, and what it has already is cut off the answers.
  bash: `# bash completion for agent-vault: source <(agent-vault completion bash)
_agent_vault() {
  local word joined=() value _ current cut=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if (( \${#joined[@]} )) && [[ $word == [=:]* || \${joined[-1]} == --*= || \${joined[-1]} == *[!:]: ]]; then
      joined[-1]+=$word
    else
      joined+=("$word")
    fi
  done
  current=\${joined[-1]-}
  [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && cut=\${current%"\${current##*:}"}
  [[ $COMP_WORDBREAKS == *=* && $current == --*=* && -z $cut ]] && cut=\${current%%=*}=
  COMPREPLY=()
  while IFS=$'\\t' read -r value _; do
    case $value in
      :file) compopt -o default ;;
      :directory) compopt -o dirnames ;;
      :command) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
      *) COMPREPLY+=("\${value#"$cut"}") ;;
    esac
  done < <(agent-vault completion words FLAGS-- "\${joined[@]}" 2>/dev/null)
}
complete -F _agent_vault agent-vault
`,
  zsh: `#compdef agent-vault
# zsh completion for agent-vault: source <(agent-vault completion zsh), after compinit
_agent_vault() {
  local line value
  local -a offered
  for line in "\${(@f)$(agent-vault completion words FLAGS-- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      '') ;;
      :file) _files ;;
      :directory) _files -/ ;;
      :command) _command_names -e ;;
      *) value=\${line%%$'\\t'*}
         offered+=("\${value//:/\\\\:}:\${line#*$'\\t'}") ;;
    esac
  done
  (( \${#offered} )) && _describe -V agent-vault offered
}
compdef _agent_vault agent-vault
`,
  fish: `# fish completion for agent-vault: agent-vault completion fish | source
function __agent_vault_words
  set -l typed (commandline -opc)
  set -e typed[1]
  set -l current (commandline -ct)
  for line in (agent-vault completion words FLAGS-- $typed "$current" 2>/dev/null)
    switch $line
      case ':file'
        __fish_complete_path "$current"
      case ':directory'
        __fish_complete_directories "$current"
      case ':command'
        __fish_complete_command
      case '*'
        printf '%s\\n' $line
    end
  end
end
complete -c agent-vault -f -a '(__agent_vault_words)'
`,
  powershell: `# PowerShell completion for agent-vault: agent-vault completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName agent-vault -ScriptBlock {
  param($word, $ast, $position)
  $typed = @($ast.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $position } | ForEach-Object { "$_" })
  agent-vault completion words FLAGS'--' @typed "$word" 2>$null | ForEach-Object {
    $value, $text = $_ -split "\`t", 2
    if ($value -notlike ':*') {
      [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $(if ($text) { $text } else { $value }))
    }
  }
}
`,
} as const;

const scriptCommand = (shell: keyof typeof scripts) =>
  command({
    meta: { name: shell, description: `Print the completion script for ${shell}` },
    args: descriptions,
    async run({ args, context }) {
      context.terminal.out(scripts[shell].replace("FLAGS", args["no-descriptions"] ? "--no-descriptions " : ""));
    },
  });

const words = command({
  meta: { name: "words", hidden: true, description: "Print what may follow the words after --", usage: "-- [word...]" },
  takesCommand: true,
  args: descriptions,
  async run({ args, rest, context }) {
    const { rootCommand } = await import("../root.ts");
    const { candidates, fallback } = await complete(rootCommand, rest, context);
    const lines = candidates.map(({ value, description }) =>
      description && !args["no-descriptions"] ? `${value}\t${description}` : value,
    );
    if (fallback) lines.push(`:${fallback}`);
    context.terminal.out(lines.map((line) => `${line}\n`).join(""));
  },
});

export const completionCommand = command({
  meta: {
    name: "completion",
    hidden: true,
    description: "Print a script that completes commands, flags and names in your shell",
    examples: [
      "source <(agent-vault completion bash)",
      "source <(agent-vault completion zsh)",
      "agent-vault completion fish | source",
    ],
  },
  subCommands: {
    bash: async () => scriptCommand("bash"),
    zsh: async () => scriptCommand("zsh"),
    fish: async () => scriptCommand("fish"),
    powershell: async () => scriptCommand("powershell"),
    words: async () => words,
  },
});
