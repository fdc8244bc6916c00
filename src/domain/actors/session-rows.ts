/** The rows of sessions: whatever a kind of token has no use for is null. */
import type { Insertable, Transaction } from "kysely";
import type { Schema } from "../../storage/schema.ts";

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
