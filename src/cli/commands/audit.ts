import { resolve } from "node:path";
import { UsageError } from "../../errors.ts";
import { writeAtomically } from "../../runtime/files.ts";
import { addressFlag, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm } from "../confirm.ts";
import { asPerson } from "../connect.ts";
import { formatTime, note, printJson, printTable } from "../output.ts";

const list = command({
  meta: {
    name: "list",
    description: "Show who changed what, newest first: all for owners, a vault's for its admins",
    examples: [
      "agent-vault audit list --action credential.reveal --since 2026-01-01",
      "agent-vault audit list --vault billing --target STRIPE_KEY",
    ],
  },
  args: {
    vault: { type: "string", description: "Only what happened in this vault" },
    action: { type: "string", description: "An action such as vault.rename, or a noun such as vault" },
    actor: { type: "string", description: "Who did it: an e-mail address, the name of an agent, or an id" },
    target: { type: "string", description: "What it was done to: a name or an id" },
    since: { type: "string", valueHint: "time", description: "From this time on, such as 2026-01-31T12:00:00Z" },
    until: { type: "string", valueHint: "time", description: "Before this time" },
    before: { type: "string", valueHint: "int", description: "Only entries with a smaller number: the next page" },
    limit: { type: "string", valueHint: "int", default: "50", description: "Entries to show; at most 500" },
    address: addressFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const { vault, action, actor, target, since, until, before, limit } = args;
    const filter = { action, actor, target, since, until, before, limit };
    const page = await asPerson(context, args, (client) => client.listAudit(vault, filter));
    if (args.json) return printJson(context.terminal, page);
    printTable(context.terminal, {
      head: ["#", "TIME", "WHO", "FROM", "ACTION", "ON", "VAULT"],
      rows: page.entries.map((entry) => [
        String(entry.id),
        formatTime(entry.created_at),
        entry.actor.name || entry.actor.id || entry.actor.type,
        entry.client_ip || "-",
        entry.action,
        entry.target.name || entry.target.id || "-",
        entry.vault_name ?? entry.vault_id ?? "-",
      ]),
      empty: "There are no entries.",
    });
    if (page.next_cursor !== null) note(context.terminal, `There are older entries: --before ${page.next_cursor}`);
  },
});

const exportAll = command({
  meta: {
    name: "export",
    description: "Print the whole audit log as lines of JSON that can be verified elsewhere",
    examples: ["agent-vault audit export -o audit.ndjson"],
  },
  args: {
    output: { type: "string", alias: "o", description: "File to write instead of standard output" },
    address: addressFlag,
  },
  async run({ args, context }) {
    const lines = await asPerson(context, args, (client) => client.exportAudit());
    if (args.output === undefined) return context.terminal.out(lines);
    const file = resolve(context.workingDirectory, args.output);
    await writeAtomically(file, lines, 0o600);
    note(context.terminal, `The audit log is in ${file}`);
  },
});

const key = command({
  meta: { name: "key", description: "Print the public key that signs the audit log (PEM), to keep elsewhere" },
  args: { address: addressFlag, json: jsonFlag },
  async run({ args, context }) {
    const answer = await asPerson(context, args, (client) => client.auditKey());
    if (args.json) return printJson(context.terminal, answer);
    context.terminal.out(answer.public_key_pem);
  },
});

const checkpoint = command({
  meta: {
    name: "checkpoint",
    description: "Print the newest signed checkpoint, to keep elsewhere",
    details: "A log that was cut back or rewritten does not agree with it: agent-vault audit verify --against FILE.",
  },
  args: { address: addressFlag },
  async run({ args, context }) {
    const { checkpoints } = await asPerson(context, args, (client) => client.listCheckpoints({ limit: "1" }));
    const [newest] = checkpoints;
    if (newest === undefined) return note(context.terminal, "Nothing is signed yet.");
    context.terminal.out(`${JSON.stringify({ type: "checkpoint", ...newest })}\n`);
  },
});

const verify = command({
  meta: {
    name: "verify",
    description: "Check that nothing in the audit log was altered, dropped, put in or reordered",
    details:
      "Checks an export with --file, else the database of the server on this machine, whether or not it runs.\n" +
      "Ends with exit code 1, and names the first entry that is wrong, unless the log is whole.",
    environment: { DATABASE_URL: "PostgreSQL to check instead of the embedded SQLite" },
    examples: [
      "agent-vault audit verify --file audit.ndjson --key audit-key.pem",
      "agent-vault audit verify --against checkpoints.ndjson",
    ],
  },
  args: {
    file: { type: "string", description: "An export" },
    key: { type: "string", description: "File with the public key (PEM), as kept from agent-vault audit key" },
    against: { type: "string", description: "File with checkpoints that were kept, or an earlier export" },
    json: { type: "boolean", description: "Print the result as JSON" },
  },
  async run({ args, context }) {
    for (const name of ["file", "key", "against"] as const) {
      if (args[name] === "") throw new UsageError("empty_flag", `--${name} needs the name of a file`);
    }
    const { verifyAudit } = await import("../serve/verify-audit.ts");
    return verifyAudit(context, args);
  },
});

const prune = command({
  meta: {
    name: "prune",
    description: "Delete the oldest entries from the database of the server on this machine",
    details:
      "Only what a checkpoint covers goes, and an entry says so: what stays can still be verified. Keep an export first.",
    environment: { DATABASE_URL: "PostgreSQL to prune instead of the embedded SQLite" },
    examples: ["agent-vault audit export -o audit.ndjson && agent-vault audit prune --before 2025-01-01"],
  },
  args: {
    before: { type: "string", valueHint: "time", description: "Older than this, such as 2025-01-01 (required)" },
    yes: yesFlag,
  },
  async run({ args, context }) {
    const time = Date.parse(args.before ?? "");
    if (Number.isNaN(time)) {
      throw new UsageError("bad_time", "--before needs a time", { hint: "--before 2025-01-01" });
    }
    if (time > Date.now() - 60_000) {
      throw new UsageError("bad_time", "--before must be in the past", { hint: "--before 2025-01-01" });
    }
    const before = new Date(time).toISOString();
    if (!(await confirm(context, `Delete audit entries older than ${before}?`, args.yes))) return;
    const { pruneLocal } = await import("../serve/verify-audit.ts");
    await pruneLocal(context, before);
  },
});

export const auditCommand = command({
  meta: {
    name: "audit",
    group: "Server",
    description: "Who changed what: list, export, verify and prune the audit log",
  },
  subCommands: {
    list: async () => list,
    export: async () => exportAll,
    verify: async () => verify,
    key: async () => key,
    checkpoint: async () => checkpoint,
    prune: async () => prune,
  },
});
