/** One-time codes of six digits: verification of an address, and password resets. */
import { randomInt } from "node:crypto";
import type { Transaction } from "kysely";
import type { Keyring } from "../../crypto/keyring.ts";
import { uuidv7 } from "../../crypto/token.ts";
import { InvalidInput, RateLimited } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Clock } from "../clock.ts";
import type { Limits } from "../limits/tiers.ts";
import type { FailureCounters, FailureKey } from "./failures.ts";
import type { PasswordColumns } from "./password.ts";

export type CodePurpose = "verify" | "reset";

const lifetimeMs = 15 * 60_000;
const maxLive = 3;

/** `blocked` after too many wrong codes: the live ones are burned, and for 15 minutes no code is looked at. */
export type CodeOutcome = "accepted" | "wrong" | "blocked";

export interface Redeemed {
  readonly outcome: CodeOutcome;
  /** The one that the code was made with. */
  readonly password?: PasswordColumns | undefined;
}

export class Codes {
  readonly #database: Database;
  readonly #keyring: Keyring;
  readonly #failures: FailureCounters;
  readonly #clock: Clock;
  readonly #limits: Limits;

  constructor(options: {
    readonly database: Database;
    readonly keyring: Keyring;
    readonly failures: FailureCounters;
    readonly clock: Clock;
    readonly limits: Limits;
  }) {
    this.#database = options.database;
    this.#keyring = options.keyring;
    this.#failures = options.failures;
    this.#clock = options.clock;
    this.#limits = options.limits;
  }

  /**
   * A new code, or undefined while three are live for this address.
   *
   * For an address that is to get none the same work is done, and what is stored is never redeemed: neither the time of
   * an answer nor the load of the database tells whom there is an account for.
   */
  async create(
    tx: Transaction<Schema>,
    wanted: {
      readonly purpose: CodePurpose;
      readonly email: string;
      readonly isForSomebody: boolean;
      /**
       * What `redeem` gives back with this code. Anybody can register somebody else's address before they do: the
       * password that counts is the one of the registration whose code was read from the mailbox.
       */
      readonly password?: PasswordColumns;
    },
  ): Promise<string | undefined> {
    const { purpose, email, isForSomebody, password } = wanted;
    const status = isForSomebody ? "pending" : "decoy";
    const now = this.#clock.now();
    // Requests at the same time must not each find room for one more code: every live one is another lucky number.
    await this.#database.lockVault(tx, `codes:${purpose}:${email}`);
    const live = await tx
      .selectFrom("one_time_codes")
      .select((on) => on.fn.countAll<number>().as("count"))
      .where("purpose", "=", purpose)
      .where("email", "=", email)
      .where("status", "=", status)
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
        status,
        created_at: new Date(now).toISOString(),
        expires_at: new Date(now + lifetimeMs).toISOString(),
        ...password,
      })
      .execute();
    return isForSomebody ? code : undefined;
  }

  /**
   * Uses a code up, or counts a wrong one. Whatever it says, the transaction must be committed: the count is the guard
   * against guessing.
   */
  async redeem(
    tx: Transaction<Schema>,
    attempt: { readonly purpose: CodePurpose; readonly email: string; readonly code: string },
  ): Promise<Redeemed> {
    const { purpose, email, code } = attempt;
    const now = new Date(this.#clock.now()).toISOString();
    const key: FailureKey = { kind: `code-${purpose}`, subject: email };
    const { attempts } = await this.#failures.count(tx, key, lifetimeMs);
    if (attempts > this.#limits.maxCodeFailures) return { outcome: "blocked" };
    const used = await tx
      .updateTable("one_time_codes")
      .set({ status: "used" })
      .where("purpose", "=", purpose)
      .where("email", "=", email)
      .where("code_mac", "=", await this.#mac(purpose, email, code))
      .where("status", "=", "pending")
      .where("expires_at", ">", now)
      .returning(["password_hash", "password_salt", "kdf_time", "kdf_memory", "kdf_threads"])
      .executeTakeFirst();
    if (used !== undefined) {
      await this.#failures.forget(tx, key);
      return { outcome: "accepted", password: passwordIn(used) };
    }
    if (attempts >= this.#limits.maxCodeFailures) await this.end(tx, purpose, email);
    return { outcome: "wrong" };
  }

  /** Ends every live code of an address. */
  async end(tx: Transaction<Schema>, purpose: CodePurpose, email: string): Promise<void> {
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

function passwordIn(row: { readonly [Name in keyof PasswordColumns]: PasswordColumns[Name] | null }) {
  const { password_hash, password_salt, kdf_time, kdf_memory, kdf_threads } = row;
  if (password_hash === null || password_salt === null) return undefined;
  if (kdf_time === null || kdf_memory === null || kdf_threads === null) return undefined;
  return { password_hash, password_salt, kdf_time, kdf_memory, kdf_threads };
}

export function wrongCode(what: string): InvalidInput {
  return new InvalidInput("invalid_code", `Invalid or expired ${what} code`);
}

/** @throws {InvalidInput} `invalid_code`. @throws {RateLimited} `too_many_codes`. */
export function requireAccepted(outcome: CodeOutcome, what: string): void {
  if (outcome === "wrong") throw wrongCode(what);
  if (outcome === "blocked") {
    throw new RateLimited("too_many_codes", "Too many failed attempts; request a new code in 15 minutes");
  }
}
