/** The move to another database, in the log that moved along. */
import type { Transaction } from "kysely";
import type { Schema } from "../../storage/schema.ts";
import { appendEntries, signed } from "./append.ts";
import { operator } from "./author.ts";

/** @param tx of the destination, when everything has arrived. @param rows that were copied. */
export async function recordMigration(tx: Transaction<Schema>, rows: number): Promise<void> {
  const entry = {
    action: "database.migrate",
    target: { type: "database", id: "" },
    before: { engine: "sqlite" },
    after: { engine: "postgres", rows },
  } as const;
  await appendEntries(tx, Date.now(), [signed(operator, entry)]);
}
