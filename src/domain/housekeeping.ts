/** Removes from time to time what time has ended, and reminds of what ends soon; the journal has its own retention (journal-retention.ts). */
import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Database } from "../storage/database.ts";
import { purgeExpired } from "./actors/purge.ts";
import type { Clock } from "./clock.ts";
import type { CredentialReminders } from "./credentials/reminders.ts";

const intervalMs = 15 * 60_000;

export interface HousekeepingOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly reminders: CredentialReminders;
  /** Ends the proposals whose time is over. */
  readonly expireProposals: () => Promise<void>;
  /** Goes on with a rotation of the root certificate that is due. */
  readonly advanceRotation: () => Promise<void>;
}

/**
 * Runs at once and every 15 minutes. A failure is logged and tried again at the next turn.
 * @returns what stops it, after a turn under way has ended.
 */
export function startHousekeeping({
  database,
  clock,
  log,
  reminders,
  expireProposals,
  advanceRotation,
}: HousekeepingOptions): () => Promise<void> {
  const turn = async () => {
    await purgeExpired({ database, clock }).catch((error: unknown) => {
      log.warn("expired rows could not be removed", { error: messageOf(error) });
    });
    await reminders.remind().catch((error: unknown) => {
      log.warn("reminders could not be sent", { error: messageOf(error) });
    });
    await expireProposals().catch((error: unknown) => {
      log.warn("proposals could not be expired", { error: messageOf(error) });
    });
    await advanceRotation().catch((error: unknown) => {
      log.warn("the rotation of the root certificate could not go on", { error: messageOf(error) });
    });
  };
  let running = turn();
  const timer = setInterval(() => {
    running = running.then(turn);
  }, intervalMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
