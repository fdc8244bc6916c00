/**
 * Attempts that may fail, counted in the database: the count survives a restart, and all instances on one database share
 * it. An attempt is counted before it is judged, so guesses that are made at the same time all count.
 */
import type { Transaction } from "kysely";
import { tokenDigest } from "../../crypto/token.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Clock } from "../clock.ts";

type Writer = Pick<Transaction<Schema>, "insertInto" | "updateTable" | "deleteFrom">;

export interface AttemptCount {
  /** Attempts in the window, this one included. */
  readonly attempts: number;
  /** Until the window ends. */
  readonly retryAfterSeconds: number;
}

/** What is counted, and against whom: the second part may be anything that a stranger sent, of any length. */
export interface FailureKey {
  readonly kind: "code-verify" | "code-reset" | "login" | "login-account" | "password";
  readonly subject: string;
}

export class FailureCounters {
  readonly #clock: Clock;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
  }

  /**
   * Counts one more attempt. The row stays locked until the transaction ends, if there is one. A window ends `windowMs`
   * after its first attempt, whatever happens in it.
   */
  async count(db: Writer, key: FailureKey, windowMs: number): Promise<AttemptCount> {
    const now = this.#clock.now();
    const start = new Date(now).toISOString();
    const end = new Date(now + windowMs).toISOString();
    const row = await db
      .insertInto("failure_counters")
      .values({ key: storedKey(key), failures: 1, window_started_at: start, expires_at: end })
      .onConflict((conflict) =>
        conflict.column("key").doUpdateSet((on) => {
          const isLive = on("failure_counters.expires_at", ">", start);
          return {
            failures: on
              .case()
              .when(isLive)
              .then(on("failure_counters.failures", "+", 1))
              .else(1)
              .end(),
            window_started_at: on
              .case()
              .when(isLive)
              .then(on.ref("failure_counters.window_started_at"))
              .else(start)
              .end(),
            expires_at: on.case().when(isLive).then(on.ref("failure_counters.expires_at")).else(end).end(),
          };
        }),
      )
      .returning(["failures", "expires_at"])
      .executeTakeFirstOrThrow();
    return { attempts: row.failures, retryAfterSeconds: Math.max(1, (Date.parse(row.expires_at) - now) / 1000) };
  }

  /** The attempts so far are forgiven. */
  async forget(db: Writer, key: FailureKey): Promise<void> {
    await db.deleteFrom("failure_counters").where("key", "=", storedKey(key)).execute();
  }

  /** One attempt turned out to be none; the others stay. */
  async takeBack(db: Writer, key: FailureKey): Promise<void> {
    await db
      .updateTable("failure_counters")
      .set((on) => ({ failures: on("failures", "-", 1) }))
      .where("key", "=", storedKey(key))
      .where("failures", ">", 0)
      .execute();
  }
}

/** A digest, because an index takes no key of a megabyte, and addresses that nobody has should not lie around. */
function storedKey({ kind, subject }: FailureKey): string {
  return `${kind}:${tokenDigest(subject)}`;
}
