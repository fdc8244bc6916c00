/**
 * Slows the guessing of passwords. Counts are kept per account and client, so that a stranger elsewhere locks nobody
 * out; a second, wider count per account stops guessing from many places, and lets those clients through that the
 * account is signed in from. The audit log has the first refusal of each window: one entry, however long it goes on.
 */

import { limitKeyOf } from "../../net/address.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Audit } from "../audit/audit.ts";
import { anonymous, type By } from "../audit/author.ts";
import type { Clock } from "../clock.ts";
import { type Limits, tooManyRequests } from "../limits/tiers.ts";
import { findUser, type Named } from "./account-rows.ts";
import type { FailureCounters, FailureKey } from "./failures.ts";
import type { UserPrincipal } from "./principal.ts";

/** From everywhere together: so many times what one client may try, in an hour. */
const accountFactor = 5;
const accountWindowMs = 3_600_000;

export class PasswordGuard {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #audit: Audit;
  readonly #clock: Clock;
  readonly #limits: Limits;
  readonly #failures: FailureCounters;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly audit: Audit;
    readonly clock: Clock;
    readonly limits: Limits;
    readonly failures: FailureCounters;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#audit = options.audit;
    this.#clock = options.clock;
    this.#limits = options.limits;
    this.#failures = options.failures;
  }

  /**
   * Counts an attempt to sign in, the same for addresses with and without an account.
   * @param ip of the client; empty when it is not known.
   * @returns what to call when the password was right.
   * @throws {RateLimited} `too_many_requests` before the password is looked at.
   */
  async enterLogin(email: string, ip: string): Promise<() => Promise<void>> {
    const { db } = this.#database;
    const { max, windowMs } = this.#limits.passwordFailures;
    const here: FailureKey = { kind: "login", subject: `${email}\n${limitKeyOf(ip)}` };
    const everywhere: FailureKey = { kind: "login-account", subject: email };
    const fromHere = await this.#failures.count(db, here, windowMs);
    if (fromHere.attempts > max) {
      if (fromHere.attempts === max + 1) await this.#recordBlocked(email, ip);
      throw refusal(max, fromHere.retryAfterSeconds);
    }
    const total = await this.#failures.count(db, everywhere, accountWindowMs);
    const maxTotal = max * accountFactor;
    if (total.attempts > maxTotal && !(await this.#isSignedInFrom(email, ip))) {
      if (total.attempts === maxTotal + 1) await this.#recordBlocked(email, ip);
      throw refusal(maxTotal, total.retryAfterSeconds);
    }
    return async () => {
      await this.#failures.forget(db, here);
      await this.#failures.takeBack(db, everywhere);
    };
  }

  /**
   * Counts an attempt to name the current password of somebody who is signed in: a session in the wrong hands must not
   * become the password.
   * @returns what to call when the password was right. @throws {RateLimited} `too_many_requests`.
   */
  async enterConfirmation(person: UserPrincipal): Promise<() => Promise<void>> {
    const { db } = this.#database;
    const { max, windowMs } = this.#limits.passwordFailures;
    const key: FailureKey = { kind: "password", subject: person.id };
    const { attempts, retryAfterSeconds } = await this.#failures.count(db, key, windowMs);
    if (attempts > max) {
      if (attempts === max + 1)
        await this.#record({ by: person, action: "account.change_password_blocked", user: person });
      throw refusal(max, retryAfterSeconds);
    }
    return () => this.#failures.forget(db, key);
  }

  /** A reset proves who somebody is: what was guessed before does not count against them any more. */
  async forgiveAccount(email: string): Promise<void> {
    await this.#failures.forget(this.#database.db, { kind: "login-account", subject: email });
  }

  /** Not the address that was typed, if nobody has it: people put their password there by mistake. */
  async #recordBlocked(email: string, ip: string): Promise<void> {
    const user = await findUser(this.#database.db, email);
    await this.#record({ by: anonymous({ ip }), action: "account.login_blocked", user });
  }

  async #record(refused: { by: By; action: `account.${string}`; user: Named | undefined }): Promise<void> {
    const { by, action, user } = refused;
    const target = { type: "user", id: user?.id ?? "", name: user?.email ?? "" };
    await this.#changes.transaction(async (tx) => this.#audit.record(tx, by, { action, target }));
  }

  async #isSignedInFrom(email: string, ip: string): Promise<boolean> {
    const sessions = await this.#database.db
      .selectFrom("sessions")
      .innerJoin("users", "users.id", "sessions.user_id")
      .select("sessions.last_ip")
      .where("users.email", "=", email)
      .where("sessions.expires_at", ">", new Date(this.#clock.now()).toISOString())
      .execute();
    return sessions.some(({ last_ip: known }) => known !== null && limitKeyOf(known) === limitKeyOf(ip));
  }
}

function refusal(limit: number, retryAfterSeconds: number) {
  return tooManyRequests({ isAllowed: false, limit, remaining: 0, retryAfterSeconds: Math.ceil(retryAfterSeconds) });
}
