/** The rows of sessions: whatever a kind of token has no use for is null. */
import type { Insertable, Kysely, Transaction } from "kysely";
import type { Schema } from "../../storage/schema.ts";
import { cutPage, isBehind, keyAfter, type PageRequest, rowsToRead } from "../page.ts";

type Row = Insertable<Schema["sessions"]>;
type Required = "digest" | "public_id" | "kind" | "expires_at" | "created_at";

const unused = {
  user_id: null,
  agent_id: null,
  vault_id: null,
  vault_role: null,
  label: null,
  device_label: null,
  last_ip: null,
  last_user_agent: null,
  created_by_user_id: null,
  created_by_agent_id: null,
  idle_ttl_seconds: null,
  last_used_at: null,
} satisfies Omit<Row, Required>;

export async function insertSession(
  db: Pick<Transaction<Schema>, "insertInto">,
  session: Pick<Row, Required> & Partial<Row>,
): Promise<void> {
  await db
    .insertInto("sessions")
    .values({ ...unused, ...session })
    .execute();
}

/** Logins of a person, most recently used first; those that have ended are among them. */
export async function readLogins(db: Kysely<Schema>, userId: string, request: PageRequest | undefined) {
  const key = keyAfter(request, "time", "text");
  let query = db
    .selectFrom("sessions")
    .select(["public_id", "device_label", "last_ip", "last_user_agent", "created_at"])
    .select(["last_used_at", "expires_at", "idle_ttl_seconds"])
    .where("user_id", "=", userId)
    .orderBy("last_used_at", "desc")
    .orderBy("public_id", "desc");
  if (key !== undefined) query = query.where(isBehind(["last_used_at", "public_id"], key, "desc"));
  if (request !== undefined) query = query.limit(rowsToRead(request));
  // A login is made with the time of its first use.
  return cutPage(await query.execute(), request, (row) => [row.last_used_at ?? "", row.public_id]);
}
