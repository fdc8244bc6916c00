import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../../errors.ts";
import { addressFlag, type CliContext, command, jsonFlag, vaultFlag } from "../command.ts";
import type { Check, Verdict } from "../doctor/check.ts";
import { paint, printable, printJson, type Style } from "../output.ts";

export const doctorCommand = command({
  meta: {
    name: "doctor",
    group: "Work",
    description: "Find out why something does not work; exit code 1 when something is wrong",
    details:
      "Looks at the server, your login or token, the vault, the proxy and its certificate, and at the programs that\n" +
      "are installed here: each is started as run would start it and asks for a page that only the broker can answer.\n" +
      "Nothing is sent to any service. Each try leaves a line in the vault's journal.",
    environment: {
      AGENT_VAULT_ADDR: "Address of the server, with a token",
      AGENT_VAULT_TOKEN: "Token of an agent: look at things as that agent",
      AGENT_VAULT_VAULT: "Vault to look at",
    },
    examples: ["agent-vault doctor", "agent-vault doctor --client curl --client node", "agent-vault doctor --json"],
  },
  args: {
    client: { type: "string", repeatable: true, description: "Look at this program only" },
    "no-clients": { type: "boolean", description: "Look at no program" },
    vault: vaultFlag,
    address: addressFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const { clientNames } = await import("../doctor/clients.ts");
    const unknown = args.client.find((name) => !clientNames.includes(name));
    if (unknown !== undefined) {
      throw new UsageError("unknown_client", `The doctor does not know "${unknown}"`, {
        hint: `one of ${clientNames.join(", ")}`,
      });
    }
    const folder = await mkdtemp(join(tmpdir(), "agent-vault-doctor-"));
    let checks: readonly Check[];
    try {
      const { examine } = await import("../doctor/examine.ts");
      checks = await examine(context, {
        vault: args.vault,
        clients: args["no-clients"] ? undefined : args.client,
        folder,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    const isWell = checks.every(({ verdict }) => verdict !== "failed");
    if (args.json) printJson(context.terminal, { ok: isWell, checks });
    else report(context, checks);
    return isWell ? 0 : 1;
  },
});

const signs: Readonly<Record<Verdict, readonly [sign: string, style: Style]>> = {
  ok: ["✓", "green"],
  warning: ["!", "yellow"],
  failed: ["✗", "red"],
  skipped: ["-", "gray"],
};
const titles: Readonly<Record<Check["group"], string>> = {
  server: "Server",
  identity: "Identity",
  vault: "Vault",
  proxy: "Proxy",
  clients: "Programs, started as run starts them",
};

function report({ terminal }: CliContext, checks: readonly Check[]): void {
  const say = (line: string) => terminal.out(`${line}\n`);
  for (const [group, title] of Object.entries(titles)) {
    const own = checks.filter((found) => found.group === group);
    if (own.length === 0) continue;
    say(paint(terminal, "bold", title));
    for (const { verdict, message, hint, variables } of own) {
      const [sign, style] = signs[verdict];
      const reads = variables ? paint(terminal, "gray", `  (${variables.map(describeVariable).join(", ")})`) : "";
      say(`  ${paint(terminal, style, sign)} ${printable(message)}${reads}`);
      if (hint && verdict !== "ok") say(`    ${paint(terminal, "gray", `try: ${printable(hint)}`)}`);
    }
  }
  const count = (verdict: Verdict) => checks.filter((found) => found.verdict === verdict).length;
  const [failed, warnings] = [count("failed"), count("warning")];
  say("");
  say(
    failed > 0
      ? `${failed} ${failed === 1 ? "thing is" : "things are"} wrong, ${warnings} to look at.`
      : warnings > 0
        ? `Nothing is wrong, ${warnings} ${warnings === 1 ? "thing is" : "things are"} worth a look.`
        : "All is well.",
  );
}

function describeVariable({ name, is_set_by_run: isSet }: NonNullable<Check["variables"]>[number]): string {
  return isSet ? name : `${name}, not set`;
}
