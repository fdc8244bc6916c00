/** Removes what time has ended: nothing reads it any more, and tables of tokens should not grow for ever. */
import type { Database } from "../../storage/database.ts";
import type { Clock } from "../clock.ts";

/** Kept a while after they end, so that a clock that is off by hours does no harm. */
const graceMs = 86_400_000;

/** Expired sessions, one-time codes, OAuth connections that were never completed, and failure counters. Invitations stay: they are the record of who was invited. */
export async function purgeExpired(options: { readonly database: Database; readonly clock: Clock }): Promise<void> {
  const before = new Date(options.clock.now() - graceMs).toISOString();
  await options.database.transaction(async (tx) => {
    await tx.deleteFrom("sessions").where("expires_at", "<", before).execute();
    await tx.deleteFrom("one_time_codes").where("expires_at", "<", before).execute();
    await tx.deleteFrom("oauth_states").where("expires_at", "<", before).execute();
    await tx.deleteFrom("failure_counters").where("expires_at", "<", before).execute();
    await tx
      .updateTable("agent_invites")
      .set({ status: "expired" })
      .where("status", "=", "pending")
      .where("expires_at", "<", before)
      .execute();
  });
}
