/** How a change is recorded: one line inside the transaction that makes it. */
import type { Transaction } from "kysely";
import type { Changes } from "../../storage/changes.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Clock } from "../clock.ts";
import { type AuditEntry, appendEntries, type SignedEntry, signed } from "./append.ts";
import type { By } from "./author.ts";

export class Audit {
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #pending = new WeakMap<Transaction<Schema>, SignedEntry[]>();

  constructor(options: { readonly changes: Changes; readonly clock: Clock }) {
    this.#changes = options.changes;
    this.#clock = options.clock;
  }

  /**
   * Notes what `tx` does. It is written at the very end of the transaction, so the entry and the change exist together
   * or not at all, and it does not matter where in the transaction this is called.
   * @throws unless `tx` was begun with `Changes.transaction`.
   */
  record(tx: Transaction<Schema>, by: By, entry: AuditEntry): void {
    const known = this.#pending.get(tx);
    if (known !== undefined) {
      known.push(signed(by, entry));
      return;
    }
    const entries = [signed(by, entry)];
    this.#changes.beforeCommit(tx, () => appendEntries(tx, this.#clock.now(), entries));
    this.#pending.set(tx, entries);
  }
}
