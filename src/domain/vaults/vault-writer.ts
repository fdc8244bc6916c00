/** How a vault is changed: one transaction under its lock, its version raised, everyone told after the commit. */
import type { Transaction } from "kysely";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import { vaultNotFound } from "../actors/access.ts";
import type { Clock } from "../clock.ts";

export interface VaultWrite {
  readonly tx: Transaction<Schema>;
  /** The time of the change, for every row that it writes. */
  readonly now: string;
}

export interface VaultWriterOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly clock: Clock;
}

export class VaultWriter {
  readonly #options: VaultWriterOptions;

  constructor(options: VaultWriterOptions) {
    this.#options = options;
  }

  /**
   * Runs `write` under the vault's lock and drops every snapshot of the vault afterwards.
   * @throws {NotFound} when the vault is gone.
   */
  async change<T>(vaultId: string, write: (change: VaultWrite) => Promise<T>): Promise<T> {
    const { database, changes, clock } = this.#options;
    return changes.transaction(async (tx, announce) => {
      await database.lockVault(tx, vaultId);
      const now = new Date(clock.now()).toISOString();
      const result = await write({ tx, now });
      const raised = await tx
        .updateTable("vaults")
        .set((row) => ({ version: row("version", "+", 1), updated_at: now }))
        .where("id", "=", vaultId)
        .executeTakeFirst();
      if (raised.numUpdatedRows === 0n) throw vaultNotFound(vaultId);
      announce({ kind: "vault", vaultId });
      return result;
    });
  }
}
