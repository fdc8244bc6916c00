/** The steps that lead from an empty database to `schema.ts`, and how far a database has come. */
import { Conflict } from "../../errors.ts";
import { firstSchema } from "./0001-first-schema.ts";
import { proposalOutcomes } from "./0002-proposals.ts";
import { accounts } from "./0003-accounts.ts";
import { oauth } from "./0004-oauth.ts";
import { audit } from "./0005-audit.ts";
import { journalIndex } from "./0006-journal.ts";
import { journalContexts } from "./0007-journal-contexts.ts";
import { journalProtocol } from "./0008-journal-protocol.ts";
import { pendingPasswords } from "./0011-pending-passwords.ts";
import { authorityRotation } from "./0012-authority-rotation.ts";

/** What one step may differ in between the engines; everything else is written once. */
export interface Words {
  readonly text: string;
  readonly timestamp: string;
  readonly bytes: string;
  readonly integer: string;
  readonly bigint: string;
  /** Type and clauses of a strictly increasing integer primary key. */
  readonly serialKey: string;
  /** After the closing parenthesis of `create table`. */
  readonly tableOptions: string;
  /** Statements that delete the rows of `table` when their vault is deleted, without a foreign key. */
  deleteWithVault(table: string): readonly string[];
  /** Undoes `deleteWithVault`. */
  dropDeleteWithVault(table: string): readonly string[];
}

/** Values of this very database, made once when it is created. Safe to stand in SQL between quotes. */
export interface Seed {
  readonly instanceId: string;
  readonly now: string;
}

export interface Migration {
  readonly name: string;
  statements(words: Words, seed: Seed): readonly string[];
}

/** In order. A step that was released is never changed: the next one corrects it. */
export const migrations: readonly Migration[] = [
  firstSchema,
  proposalOutcomes,
  accounts,
  oauth,
  audit,
  journalIndex,
  journalContexts,
  journalProtocol,
  pendingPasswords,
  authorityRotation,
];

export const product = "agent-vault";

/**
 * The steps still to be made.
 * @throws {Conflict} `database_newer` when a step was made that this binary does not know.
 */
export function pendingMigrations(applied: readonly string[], where: string): readonly Migration[] {
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = applied.find((name) => !known.has(name));
  if (unknown !== undefined) throw newerDatabase(where, unknown);
  const done = new Set(applied);
  return migrations.filter(({ name }) => !done.has(name));
}

export function newerDatabase(where: string, step: string): Conflict {
  return new Conflict(
    "database_newer",
    `The database ${where} was written by a newer agent-vault (${step}) and was left untouched`,
    { hint: "start the version that wrote it, or restore a copy made before the upgrade" },
  );
}

export function foreignDatabase(where: string, why: string): Conflict {
  return new Conflict(
    "database_foreign",
    `The database ${where} does not belong to agent-vault: ${why}; it was left untouched`,
    {
      hint: "give agent-vault a database of its own, or move this one away",
    },
  );
}

export const sqliteWords: Words = {
  text: "text",
  timestamp: "text",
  bytes: "blob",
  integer: "integer",
  bigint: "integer",
  serialKey: "integer primary key autoincrement",
  tableOptions: "strict",
  deleteWithVault: (table) => [
    `create trigger ${table}_goes_with_vault after delete on vaults begin delete from ${table} where vault_id = old.id; end`,
  ],
  dropDeleteWithVault: (table) => [`drop trigger ${table}_goes_with_vault`],
};

export const postgresWords: Words = {
  // Byte order, as SQLite sorts and compares; a database's own collation would list names in another order.
  text: 'text collate "C"',
  timestamp: "timestamptz",
  bytes: "bytea",
  integer: "integer",
  bigint: "bigint",
  serialKey: "bigint generated always as identity primary key",
  tableOptions: "",
  deleteWithVault: (table) => [
    `create function ${table}_goes_with_vault() returns trigger language plpgsql as
     $$ begin delete from ${table} where vault_id = old.id; return null; end $$`,
    `create trigger ${table}_goes_with_vault after delete on vaults
     for each row execute function ${table}_goes_with_vault()`,
  ],
  dropDeleteWithVault: (table) => [
    `drop trigger ${table}_goes_with_vault on vaults`,
    `drop function ${table}_goes_with_vault()`,
  ],
};
