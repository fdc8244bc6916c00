import type { Client } from "../../client/client.ts";
import { InvalidInput, UsageError } from "../../errors.ts";
import { addressFlag, type CliContext, command, jsonFlag, vaultFlag, yesFlag } from "../command.ts";
import { confirm } from "../confirm.ts";
import { asPerson } from "../connect.ts";
import { carryOut } from "../manifest/carry-out.ts";
import { readVault } from "../manifest/current.ts";
import { parseManifest, type VaultManifest } from "../manifest/manifest.ts";
import { type PlanOptions, planVault, type VaultPlan } from "../manifest/plan.ts";
import { loadServiceRules } from "../manifest/service-rules.ts";
import { showPlan } from "../manifest/show.ts";
import { note, printJson, success, warn } from "../output.ts";
import { readTextFile } from "../text-file.ts";

export const applyCommand = command({
  meta: {
    name: "apply",
    group: "Work",
    description: "Make vaults as a file says: services, settings and grants",
    details:
      "Shows what it would change and asks. A section that the file does not have stays as it is; what the server\n" +
      "has beyond the file stays, too, unless --prune is given. Vaults are made when they are missing, never deleted.\n" +
      "The file names credentials and never holds their values: those that are not stored yet are listed.",
    usage: "-f <file> [flags]",
    examples: [
      "agent-vault export billing > billing.yaml",
      "agent-vault apply -f billing.yaml --dry-run",
      "agent-vault apply -f billing.yaml --prune --yes",
    ],
  },
  args: {
    file: { type: "string", alias: "f", completes: "file", description: "The file; - is standard input (required)" },
    "dry-run": { type: "boolean", description: "Only show what would change" },
    prune: { type: "boolean", description: "Remove what is not in the file, in the sections that it has" },
    vault: { ...vaultFlag, description: "Only this vault of the file" },
    yes: yesFlag,
    address: addressFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    if (args.file === undefined)
      throw new UsageError("file_missing", "agent-vault apply needs --file", { hint: "-f vaults.yaml" });
    const text = await readTextFile(context, args.file);
    const source = args.file === "-" ? "standard input" : args.file;
    const rules = await loadServiceRules();
    const wanted = chosen(parseManifest(text, source, rules), args.vault);
    const plans = await asPerson(context, {}, (client) => planAll(client, wanted, { prunes: args.prune, rules }));
    const changes = plans.flatMap((plan) => plan.changes);
    if (!args.json) for (const plan of plans) showPlan(context.terminal, plan);
    const isActing = changes.length > 0 && !args["dry-run"];
    if (isActing && !(await confirm(context, question(plans), args.yes))) return;
    if (isActing) {
      for (const plan of plans) {
        await asPerson(context, {}, (client) => carryOut(client, plan));
        if (!args.json && plan.changes.length > 0)
          success(context.terminal, `Vault "${plan.vault}" is as the file says`);
      }
    }
    if (args.json) return printJson(context.terminal, { applied: isActing, vaults: plans.map(formatPlan) });
    if (changes.length === 0) context.terminal.out("Nothing to change.\n");
    for (const plan of plans) remark(context, plan);
  },
});

function chosen(vaults: readonly VaultManifest[], name: string | undefined): readonly VaultManifest[] {
  if (name === undefined) return vaults;
  const found = vaults.filter((vault) => vault.name === name);
  if (found.length > 0) return found;
  throw new InvalidInput("vault_not_in_file", `The file does not have the vault "${name}"`, {
    hint: `one of ${vaults.map((vault) => vault.name).join(", ")}`,
  });
}

async function planAll(
  client: Client,
  wanted: readonly VaultManifest[],
  options: Omit<PlanOptions, "self">,
): Promise<readonly VaultPlan[]> {
  const [{ vaults }, { email: self }] = await Promise.all([client.listVaults(), client.profile()]);
  const existing = new Set((vaults ?? []).map((vault) => vault.name));
  const plans: VaultPlan[] = [];
  for (const vault of wanted) {
    const current = existing.has(vault.name) ? await readVault(client, vault.name, options.rules) : undefined;
    plans.push(planVault(vault, current, { ...options, self }));
  }
  return plans;
}

function question(plans: readonly VaultPlan[]): string {
  const count = plans.reduce((sum, plan) => sum + plan.changes.length, 0);
  return `Make ${count === 1 ? "this change" : `these ${count} changes`}?`;
}

function remark({ terminal }: CliContext, { vault, kept, missingCredentials }: VaultPlan): void {
  if (kept.length > 0) {
    const names = kept.map(({ section, name }) => `${section} ${name}`).join(", ");
    note(terminal, `Vault "${vault}" has more than the file, left alone: ${names}. --prune removes it.`);
  }
  if (missingCredentials.length > 0) {
    warn(
      terminal,
      `the vault "${vault}" has no value for ${missingCredentials.join(", ")}; store it with agent-vault vault credential set ${missingCredentials[0]} --vault ${vault}`,
    );
  }
}

function formatPlan({ vault, changes, kept, missingCredentials }: VaultPlan): object {
  return { vault, changes, kept, missing_credentials: missingCredentials };
}
