/** Moves the server of this home to PostgreSQL. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { parseServerConfig } from "../../config.ts";
import { Conflict, InvalidInput, NotFound, UsageError } from "../../errors.ts";
import { silentLogger } from "../../log.ts";
import { readPidFile } from "../../runtime/files.ts";
import type { CliContext } from "../command.ts";
import { confirm } from "../confirm.ts";
import { note, printJson, printTable, success, warn } from "../output.ts";

export interface MigrateOptions {
  /** URL of the destination; `DATABASE_URL` when absent. */
  readonly to: string | undefined;
  /** The file; that of this home when absent. */
  readonly from: string | undefined;
  readonly isDry: boolean;
  readonly isSure: boolean;
  readonly isJson: boolean;
}

/** @throws {Conflict} `server_running`, `destination_not_empty`. Nothing has been written then. */
export async function migrateToPostgres(context: CliContext, options: MigrateOptions): Promise<void> {
  const { terminal, environment, workingDirectory } = context;
  const url = options.to ?? environment.DATABASE_URL;
  if (!url)
    throw new UsageError("destination_missing", "--to is needed", { hint: "--to postgres://…, or DATABASE_URL" });
  if (options.to !== undefined && URL.canParse(options.to) && new URL(options.to).password !== "") {
    warn(terminal, "a password in --to is visible to other processes and in the shell's history; DATABASE_URL is not");
  }
  const { DATABASE_URL: _, ...others } = environment;
  const config = parseServerConfig({}, others);
  const target = parseServerConfig({ databaseUrl: url }, others).database;
  if (target.kind !== "postgres") throw new UsageError("destination_missing", "--to should be a PostgreSQL URL");
  const found = await readPidFile(config.dataDirectory);
  if (found.state === "running") {
    throw new Conflict("server_running", `The server is running (PID ${found.pid})`, {
      hint: "agent-vault server stop",
    });
  }
  const own = config.database.kind === "sqlite" ? config.database.path : "";
  const source = options.from === undefined ? own : resolve(workingDirectory, options.from);
  if (!existsSync(source))
    throw new NotFound("no_database", `There is no database at ${source}`, { hint: "--from PATH" });

  note(terminal, `From ${source}\nTo   ${describeUrl(url)}`);
  const { checkDestination, openCopySource } = await import("../../storage/copy-database.ts");
  await checkDestination(url, silentLogger);
  await using copy = await openCopySource(source, silentLogger);
  const tables = copy.tables.map(({ name, rows }) => ({ name, rows }));
  const counted = { copied: !options.isDry, tables, total_rows: copy.totalRows };
  if (options.isDry) {
    if (options.isJson) return printJson(terminal, counted);
    const rows = copy.tables.map(({ name, rows: count }) => [name, String(count)]);
    printTable(terminal, { head: ["TABLE", "ROWS"], rows: [...rows, ["total", String(copy.totalRows)]], empty: "" });
    return note(terminal, "Nothing was written. The destination answers and is empty.");
  }
  if (!(await confirm(context, `Copy ${copy.totalRows} rows?`, options.isSure))) return;
  const { recordMigration } = await import("../../domain/audit/migration.ts");
  await copy.copyTo(url, {
    onTable: (name, rows) => note(terminal, `  ${name}: ${rows}`),
    atEnd: (tx) => recordMigration(tx, copy.totalRows),
  });
  if (options.isJson) return printJson(terminal, counted);
  success(terminal, `${copy.totalRows} rows copied; the old database is as it was`);
  note(terminal, "Next: DATABASE_URL=… agent-vault server, with the same master password");
}

/** Without the password. */
function describeUrl(text: string): string {
  if (!URL.canParse(text)) throw new InvalidInput("invalid_database_url", "The destination is not a URL");
  const { protocol, username, host, pathname } = new URL(text);
  return `${protocol}//${username ? `${username}@` : ""}${host}${pathname}`;
}
