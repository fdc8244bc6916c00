/** The rows of accounts, as registration and codes look for them. */
import type { Transaction } from "kysely";
import type { Schema } from "../../storage/schema.ts";

export async function hasUsers(db: Pick<Transaction<Schema>, "selectFrom">): Promise<boolean> {
  return (await db.selectFrom("users").select("id").limit(1).executeTakeFirst()) !== undefined;
}

export async function findUser(tx: Pick<Transaction<Schema>, "selectFrom">, email: string) {
  return tx.selectFrom("users").select(["id", "email", "is_active"]).where("email", "=", email).executeTakeFirst();
}

export interface Named {
  readonly id: string;
  readonly email: string;
}
