/** The instance never loses its last owner: whoever takes an owner away asks here, in the same transaction. */
import type { Transaction } from "kysely";
import { Conflict } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";

/** Key of the lock under which owners are counted and taken away. */
const ownersLock = "instance-owners";

/**
 * Holds back everybody else who changes roles or ends accounts, until the transaction ends. To be taken before the role
 * is read: one that is read earlier may be another by the time it is acted upon.
 */
export async function lockOwners(database: Database, tx: Transaction<Schema>): Promise<void> {
  await database.lockVault(tx, ownersLock);
}

/**
 * Active people and active agents with role owner, counted under a lock that is held until the transaction ends.
 * @throws {Conflict} `last_owner` when only one is left.
 */
export async function requireAnotherOwner(database: Database, tx: Transaction<Schema>): Promise<void> {
  await lockOwners(database, tx);
  const people = await tx
    .selectFrom("users")
    .select((on) => on.fn.countAll<number>().as("count"))
    .where("role", "=", "owner")
    .where("is_active", "=", 1)
    .executeTakeFirstOrThrow();
  const agents = await tx
    .selectFrom("agents")
    .select((on) => on.fn.countAll<number>().as("count"))
    .where("role", "=", "owner")
    .where("status", "=", "active")
    .executeTakeFirstOrThrow();
  if (Number(people.count) + Number(agents.count) > 1) return;
  throw new Conflict("last_owner", "This is the last owner of the instance; make somebody else an owner first");
}
