/** The rows of accounts, as registration and codes look for them. */
import type { Transaction } from "kysely";
import type { Schema } from "../../storage/schema.ts";
import type { PasswordColumns } from "./password.ts";

export async function hasUsers(db: Pick<Transaction<Schema>, "selectFrom">): Promise<boolean> {
  return (await db.selectFrom("users").select("id").limit(1).executeTakeFirst()) !== undefined;
}

export async function findUser(tx: Pick<Transaction<Schema>, "selectFrom">, email: string) {
  return tx.selectFrom("users").select(["id", "email", "is_active"]).where("email", "=", email).executeTakeFirst();
}

/**
 * Holds the row of an account for this transaction, if its password is still the one that was checked: between the check,
 * which takes its time, and now it may have been changed, and every session that the old one opened was ended.
 */
export async function holdWithPassword(
  tx: Transaction<Schema>,
  checked: { readonly id: string; readonly password_hash: Uint8Array },
): Promise<boolean> {
  const held = await tx
    .updateTable("users")
    .set((row) => ({ updated_at: row.ref("updated_at") }))
    .where("id", "=", checked.id)
    .where("password_hash", "=", checked.password_hash)
    .where("is_active", "=", 1)
    .executeTakeFirst();
  return held.numUpdatedRows > 0n;
}

export async function storePassword(
  tx: Transaction<Schema>,
  userId: string,
  password: PasswordColumns,
  nowMs: number,
): Promise<void> {
  const updated_at = new Date(nowMs).toISOString();
  await tx
    .updateTable("users")
    .set({ ...password, updated_at })
    .where("id", "=", userId)
    .execute();
}

export interface Named {
  readonly id: string;
  readonly email: string;
}
