/** One-time codes of six digits: verification of an address, and password resets. */
import { randomInt } from "node:crypto";
import type { Transaction } from "kysely";
import type { Keyring } from "../../crypto/keyring.ts";
import { uuidv7 } from "../../crypto/token.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Clock } from "../clock.ts";
import type { Limits } from "../limits/tiers.ts";

export type CodePurpose = "verify" | "reset";

const lifetimeMs = 15 * 60_000;
const maxLive = 3;

/** `blocked` after too many wrong codes: the live ones are burned, and for 15 minutes no code is looked at. */
export type CodeOutcome = "accepted" | "wrong" | "blocked";

export class Codes {
  readonly #keyring: Keyring;
  readonly #clock: Clock;
  readonly #limits: Limits;

  constructor(options: { readonly keyring: Keyring; readonly clock: Clock; readonly limits: Limits }) {
    this.#keyring = options.keyring;
    this.#clock = options.clock;
    this.#limits = options.limits;
  }

  /** A new code, or undefined while three are live for this address. */
  async create(tx: Transaction<Schema>, purpose: CodePurpose, email: string): Promise<string | undefined> {
    const now = this.#clock.now();
    const live = await tx
      .selectFrom("one_time_codes")
      .select((on) => on.fn.countAll<number>().as("count"))
      .where("purpose", "=", purpose)
      .where("email", "=", email)
      .where("status", "=", "pending")
      .where("expires_at", ">", new Date(now).toISOString())
      .executeTakeFirstOrThrow();
    if (Number(live.count) >= maxLive) return undefined;
    const code = String(randomInt(1_000_000)).padStart(6, "0");
    await tx
      .insertInto("one_time_codes")
      .values({
        id: uuidv7(now),
        purpose,
        email,
        code_mac: await this.#mac(purpose, email, code),
        status: "pending",
        created_at: new Date(now).toISOString(),
        expires_at: new Date(now + lifetimeMs).toISOString(),
      })
      .execute();
    return code;
  }

  /**
   * Uses a code up, or counts a wrong one. Whatever it says, the transaction must be committed: the count is the guard
   * against guessing.
   */
  async redeem(
    tx: Transaction<Schema>,
    attempt: { readonly purpose: CodePurpose; readonly email: string; readonly code: string },
  ): Promise<CodeOutcome> {
    const { purpose, email, code } = attempt;
    const now = new Date(this.#clock.now()).toISOString();
    const key = `code:${purpose}:${email}`;
    const attempts = await this.#countAttempt(tx, key);
    if (attempts > this.#limits.maxCodeFailures) return "blocked";
    const used = await tx
      .updateTable("one_time_codes")
      .set({ status: "used" })
      .where("purpose", "=", purpose)
      .where("email", "=", email)
      .where("code_mac", "=", await this.#mac(purpose, email, code))
      .where("status", "=", "pending")
      .where("expires_at", ">", now)
      .executeTakeFirst();
    if (used.numUpdatedRows > 0n) {
      await tx.deleteFrom("failure_counters").where("key", "=", key).execute();
      return "accepted";
    }
    if (attempts >= this.#limits.maxCodeFailures) await this.#burn(tx, purpose, email);
    return "wrong";
  }

  /**
   * Counts before looking: the row stays locked until the transaction ends, so guesses made at the same time queue up
   * instead of all seeing the same count. A window ends 15 minutes after it began, whatever happens in it.
   */
  async #countAttempt(tx: Transaction<Schema>, key: string): Promise<number> {
    const now = this.#clock.now();
    const start = new Date(now).toISOString();
    const end = new Date(now + lifetimeMs).toISOString();
    const row = await tx
      .insertInto("failure_counters")
      .values({ key, failures: 1, window_started_at: start, expires_at: end })
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
      .returning("failures")
      .executeTakeFirstOrThrow();
    return row.failures;
  }

  async #burn(tx: Transaction<Schema>, purpose: CodePurpose, email: string): Promise<void> {
    await tx
      .updateTable("one_time_codes")
      .set({ status: "expired" })
      .where("purpose", "=", purpose)
      .where("email", "=", email)
      .where("status", "=", "pending")
      .execute();
  }

  /** Six digits behind a bare hash are a table of a million rows; behind a key they are not. */
  #mac(purpose: CodePurpose, email: string, code: string): Promise<string> {
    return this.#keyring.mac("one-time-code", `${purpose}\n${email}\n${code}`);
  }
}
