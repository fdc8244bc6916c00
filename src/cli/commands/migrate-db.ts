import { command, jsonFlag, yesFlag } from "../command.ts";

export const migrateCommand = command({
  meta: {
    name: "migrate-db",
    group: "Server",
    description: "Copy the embedded database into an empty PostgreSQL database",
    details:
      "The server must be stopped. Everything is copied in one transaction: accounts, sessions, vaults, credentials,\n" +
      "the journal, the keys and the root certificate. The same master password keeps working. The old database is\n" +
      "left as it was.",
    environment: { DATABASE_URL: "Destination when --to is absent: unlike a flag, no list of processes shows it" },
    examples: [
      "agent-vault migrate-db --to postgres://user@db.example.com/agent_vault --dry-run",
      "DATABASE_URL=… agent-vault migrate-db",
    ],
  },
  args: {
    to: { type: "string", description: "URL of the destination; DATABASE_URL when absent" },
    from: {
      type: "string",
      completes: "file",
      description: "Database to copy",
      shownDefault: "~/.agent-vault/agent-vault.db",
    },
    "dry-run": { type: "boolean", description: "Only count what would be copied, and look at the destination" },
    yes: yesFlag,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const { migrateToPostgres } = await import("../serve/migrate.ts");
    await migrateToPostgres(context, {
      to: args.to,
      from: args.from,
      isDry: args["dry-run"],
      isSure: args.yes,
      isJson: args.json,
    });
  },
});
