/** People's own accounts: register, verify, sign in, change or reset the password, delete. */
import type { Transaction } from "kysely";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict, Forbidden, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { AuditEntry } from "../audit/append.ts";
import type { Audit } from "../audit/audit.ts";
import { anonymous, person as authorOfPerson, type By } from "../audit/author.ts";
import type { Clock } from "../clock.ts";
import type { Mail } from "../mail.ts";
import type { Settings } from "../settings.ts";
import { findUser, hasUsers, holdWithPassword, type Named, storePassword } from "./account-rows.ts";
import { type Codes, requireAccepted, wrongCode } from "./codes.ts";
import { domainOf, findEmail, normalizeEmail, parseEmail } from "./email.ts";
import { grantDefaultVault } from "./first-owner.ts";
import { recordLostGrants } from "./grant-trail.ts";
import { revokeInvitesOf } from "./invite-rows.ts";
import { lockOwners } from "./owners.ts";
import {
  checkNewPassword,
  checkPasswordLength,
  hashForStorage,
  invalidLogin,
  isPasswordOf,
  type PasswordColumns,
  wrongPassword,
} from "./password.ts";
import type { PasswordGuard } from "./password-guard.ts";
import type { UserPrincipal } from "./principal.ts";
import type { Caller, IssuedSession, Sessions } from "./session.ts";
import type { Setup } from "./setup.ts";

export interface Login {
  readonly email: string;
  readonly password: string;
  readonly deviceLabel: string | undefined;
  readonly caller: Caller;
}

export interface Registration extends Login {
  /** For the first account of a server that others can reach. */
  readonly setupSecret?: string | undefined;
}

/** The owner is signed in at once; everybody else gets the same answer, whether or not the address is known. */
export type RegisterOutcome =
  | { readonly kind: "owner"; readonly email: string; readonly session: IssuedSession }
  | { readonly kind: "pending"; readonly email: string };

export class Accounts {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #sessions: Sessions;
  readonly #setup: Setup;
  readonly #codes: Codes;
  readonly #passwordGuard: PasswordGuard;
  readonly #settings: Settings;
  readonly #mail: Mail;
  readonly #audit: Audit;
  #isInitialized = false;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly sessions: Sessions;
    readonly setup: Setup;
    readonly codes: Codes;
    readonly passwordGuard: PasswordGuard;
    readonly settings: Settings;
    readonly mail: Mail;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#sessions = options.sessions;
    this.#setup = options.setup;
    this.#codes = options.codes;
    this.#passwordGuard = options.passwordGuard;
    this.#settings = options.settings;
    this.#mail = options.mail;
    this.#audit = options.audit;
  }

  /** Does any user exist? Never goes back to false. */
  async isInitialized(): Promise<boolean> {
    if (this.#isInitialized) return true;
    // Asked each time: the first account may have been made by another process a moment ago.
    const isFound = await hasUsers(this.#database.db);
    this.#isInitialized ||= isFound;
    return this.#isInitialized;
  }

  /**
   * @throws {InvalidInput} `invalid_email`, `invalid_password`.
   * @throws {Forbidden} when the domain is not allowed, registration needs an invitation, or the first account a secret.
   */
  async register(registration: Registration): Promise<RegisterOutcome> {
    const email = parseEmail(registration.email);
    checkNewPassword(registration.password);
    if (await hasUsers(this.#database.db)) await this.#requireOpenRegistration(email);
    else await this.#setup.require(registration.setupSecret);
    // Hashed before anything is looked up: the time of the answer must not tell whether the address is known.
    const password = await hashForStorage(registration.password);
    const first = await this.#registerFirst(email, password, registration);
    if (first !== undefined) return first;
    await this.#requireOpenRegistration(email);
    const code = await this.#changes.transaction((tx) => this.#registerMember(tx, { email, password, registration }));
    if (code !== undefined) this.#mail.deliverCode({ kind: "verification", to: email, code });
    return { kind: "pending", email };
  }

  /** The first user becomes owner and admin of the default vault; of two at once, one. */
  async #registerFirst(
    email: string,
    password: PasswordColumns,
    { deviceLabel, caller }: Registration,
  ): Promise<RegisterOutcome | undefined> {
    if (await hasUsers(this.#database.db)) return undefined;
    const session = await this.#changes.transaction(async (tx, announce) => {
      await this.#database.lockVault(tx, "first-user");
      if (await hasUsers(tx)) return undefined;
      const now = new Date(this.#clock.now()).toISOString();
      const id = uuidv7(this.#clock.now());
      await tx
        .insertInto("users")
        .values({ id, email, ...password, role: "owner", is_active: 1, created_at: now, updated_at: now })
        .execute();
      announce({ kind: "actor", actorId: id });
      const issued = await this.#sessions.issueLogin(tx, { userId: id, deviceLabel, caller });
      const owner = authorOfPerson({ id, email }, { sessionId: issued.id, ip: caller.ip });
      this.#note(tx, owner, { action: "account.register", user: { id, email }, after: { role: "owner" } });
      const grantee = { type: "user", id, name: email } as const;
      await grantDefaultVault({ audit: this.#audit, tx, by: owner, grantee }, this.#clock.now());
      return issued;
    });
    if (session === undefined) return undefined;
    this.#isInitialized = true;
    return { kind: "owner", email, session };
  }

  /** @returns the code to send; undefined when there is nothing to send, which nobody is told. */
  async #registerMember(
    tx: Transaction<Schema>,
    { email, password, registration }: { email: string; password: PasswordColumns; registration: Registration },
  ): Promise<string | undefined> {
    const now = new Date(this.#clock.now()).toISOString();
    const inserted = await tx
      .insertInto("users")
      .values({
        id: uuidv7(this.#clock.now()),
        email,
        ...password,
        role: "member",
        is_active: 0,
        created_at: now,
        updated_at: now,
      })
      .onConflict((conflict) => conflict.column("email").doNothing())
      .executeTakeFirst();
    const isNew = (inserted.numInsertedOrUpdatedRows ?? 0n) > 0n;
    const user = await findUser(tx, email);
    const isVerified = user?.is_active === 1;
    const after = { role: "member", is_active: isVerified };
    const action = isNew ? "account.register" : "account.register_again";
    this.#note(tx, anonymous(registration.caller), { action, user, after });
    return this.#codes.create(tx, { purpose: "verify", email, isForSomebody: isNew || !isVerified, password });
  }

  async #requireOpenRegistration(email: string): Promise<void> {
    const { isInviteOnly } = await this.requireAllowedDomain(email);
    if (isInviteOnly) throw new Forbidden("invite_only", "Registration is by invitation only");
  }

  /** @throws {Forbidden} `domain_not_allowed`. */
  async requireAllowedDomain(email: string) {
    const settings = await this.#settings.read();
    const { allowedEmailDomains } = settings;
    if (allowedEmailDomains.length > 0 && !allowedEmailDomains.includes(domainOf(email))) {
      throw new Forbidden("domain_not_allowed", "Addresses of this domain may not register here");
    }
    return settings;
  }

  /**
   * Activates an account and signs the person in.
   * @throws {RateLimited} after too many wrong codes.
   * @throws {InvalidInput} for a wrong or expired code.
   */
  async verify(attempt: {
    readonly email: string;
    readonly code: string;
    readonly deviceLabel: string | undefined;
    readonly caller: Caller;
  }): Promise<{ readonly email: string; readonly session: IssuedSession }> {
    const email = normalizeEmail(attempt.email);
    const result = await this.#changes.transaction(async (tx, announce) => {
      const { outcome, password } = await this.#codes.redeem(tx, { purpose: "verify", email, code: attempt.code });
      const user = await findUser(tx, email);
      if (outcome !== "accepted" || user === undefined || user.is_active === 1) {
        const after = { code: outcome };
        this.#note(tx, anonymous(attempt.caller), { action: "account.verify_failed", user, after });
        return { outcome, user };
      }
      await tx
        .updateTable("users")
        .set({ ...password, is_active: 1, updated_at: new Date(this.#clock.now()).toISOString() })
        .where("id", "=", user.id)
        .execute();
      await this.#codes.end(tx, "verify", email);
      announce({ kind: "actor", actorId: user.id });
      const session = await this.#sessions.issueLogin(tx, { userId: user.id, ...attempt });
      const verified = authorOfPerson(user, { sessionId: session.id, ip: attempt.caller.ip });
      const change = { before: { is_active: false }, after: { is_active: true } };
      this.#note(tx, verified, { action: "account.verify", user, ...change });
      return { outcome, user, session };
    });
    requireAccepted(result.outcome, "verification");
    if (result.user === undefined) throw new NotFound("user_not_found", "No such account");
    if (result.session === undefined) throw new Conflict("already_verified", "This account is already verified");
    return { email, session: result.session };
  }

  /** Sends another code to an unverified account. Nothing tells whether there was one. */
  async resendVerification(address: string, caller: Caller): Promise<void> {
    const email = findEmail(address);
    const code = await this.#changes.transaction(async (tx) => {
      const user = email === undefined ? undefined : await findUser(tx, email);
      const isForSomebody = user?.is_active === 0;
      const fresh = email && (await this.#codes.create(tx, { purpose: "verify", email, isForSomebody }));
      const after = { code_made: fresh !== undefined };
      this.#note(tx, anonymous(caller), { action: "account.request_verification", user, after });
      return fresh;
    });
    if (email !== undefined && code !== undefined) this.#mail.deliverCode({ kind: "verification", to: email, code });
  }

  /** Sends a reset code to an active account. Nothing tells whether there was one. */
  async forgotPassword(address: string, caller: Caller): Promise<void> {
    const email = findEmail(address);
    const code = await this.#changes.transaction(async (tx) => {
      const user = email === undefined ? undefined : await findUser(tx, email);
      const isForSomebody = user?.is_active === 1;
      const fresh = email && (await this.#codes.create(tx, { purpose: "reset", email, isForSomebody }));
      const after = { code_made: fresh !== undefined };
      this.#note(tx, anonymous(caller), { action: "account.request_reset", user, after });
      return fresh;
    });
    if (email !== undefined && code !== undefined) this.#mail.deliverCode({ kind: "password-reset", to: email, code });
  }

  /**
   * Sets a new password, ends everything that the old one had signed in or minted, and signs the person in.
   * @throws {InvalidInput} for a bad password, or a wrong or expired code.
   * @throws {RateLimited} after too many wrong codes.
   */
  async resetPassword(attempt: {
    readonly email: string;
    readonly code: string;
    readonly newPassword: string;
    readonly deviceLabel: string | undefined;
    readonly caller: Caller;
  }): Promise<IssuedSession> {
    checkNewPassword(attempt.newPassword);
    const email = normalizeEmail(attempt.email);
    const password = await hashForStorage(attempt.newPassword);
    const result = await this.#changes.transaction(async (tx, announce) => {
      const { outcome } = await this.#codes.redeem(tx, { purpose: "reset", email, code: attempt.code });
      const user = await findUser(tx, email);
      if (outcome !== "accepted" || user?.is_active !== 1) {
        const after = { code: outcome };
        this.#note(tx, anonymous(attempt.caller), { action: "account.reset_failed", user, after });
        return { outcome: outcome === "accepted" ? ("wrong" as const) : outcome };
      }
      announce({ kind: "actor", actorId: user.id });
      const session = await this.#replacePassword(tx, user.id, password, attempt);
      const author = authorOfPerson(user, { sessionId: session.id, ip: attempt.caller.ip });
      this.#note(tx, author, { action: "account.reset_password", user });
      return { outcome, session };
    });
    requireAccepted(result.outcome, "reset");
    if (result.session === undefined) throw wrongCode("reset");
    await this.#passwordGuard.forgiveAccount(email);
    return result.session;
  }

  async #replacePassword(
    tx: Transaction<Schema>,
    userId: string,
    password: PasswordColumns,
    login: { readonly deviceLabel: string | undefined; readonly caller: Caller },
  ): Promise<IssuedSession> {
    await storePassword(tx, userId, password, this.#clock.now());
    await this.#sessions.endAll(tx, userId);
    return this.#sessions.issueLogin(tx, { userId, deviceLabel: login.deviceLabel, caller: login.caller });
  }

  /**
   * @throws {Unauthenticated} one sentence for an unknown address, a wrong password and an unverified account.
   * @throws {RateLimited} after too many wrong ones.
   */
  async login(attempt: Login): Promise<IssuedSession> {
    checkPasswordLength(attempt.password);
    const email = normalizeEmail(attempt.email);
    const accept = await this.#passwordGuard.enterLogin(email, attempt.caller.ip);
    const user = await this.#database.db.selectFrom("users").selectAll().where("email", "=", email).executeTakeFirst();
    const isRight = await isPasswordOf(user, attempt.password);
    const { caller, deviceLabel } = attempt;
    if (!isRight || user?.is_active !== 1) {
      // Not the address that was typed: people put their password there by mistake.
      await this.#changes.transaction(async (tx) => {
        this.#note(tx, anonymous(caller), { action: "account.login_failed", user });
      });
      throw invalidLogin();
    }
    await accept();
    return this.#changes.transaction(async (tx) => {
      if (!(await holdWithPassword(tx, user))) throw invalidLogin();
      const session = await this.#sessions.issueLogin(tx, { userId: user.id, deviceLabel, caller });
      const author = authorOfPerson(user, { sessionId: session.id, ip: caller.ip });
      this.#note(tx, author, { action: "account.login", user });
      return session;
    });
  }

  /**
   * Ends every session of the person, the one that asks included, and opens a new one with the same device label.
   * @throws {InvalidInput} for a bad new password. @throws {Unauthenticated} for a wrong current one.
   * @throws {RateLimited} after too many wrong ones.
   */
  async changePassword(
    person: UserPrincipal,
    change: { readonly currentPassword: string; readonly newPassword: string; readonly caller: Caller },
  ): Promise<IssuedSession> {
    checkNewPassword(change.newPassword);
    checkPasswordLength(change.currentPassword);
    const accept = await this.#passwordGuard.enterConfirmation(person);
    const user = await this.#database.db.selectFrom("users").selectAll().where("id", "=", person.id).executeTakeFirst();
    if (user === undefined || !(await isPasswordOf(user, change.currentPassword))) {
      await this.#changes.transaction(async (tx) => {
        this.#note(tx, person, { action: "account.change_password_failed", user: person });
      });
      throw wrongPassword();
    }
    await accept();
    const password = await hashForStorage(change.newPassword);
    const deviceLabel = await this.#sessions.deviceLabelOf(person.sessionId);
    return this.#changes.transaction(async (tx, announce) => {
      if (!(await holdWithPassword(tx, user))) throw wrongPassword();
      announce({ kind: "actor", actorId: person.id });
      this.#note(tx, person, { action: "account.change_password", user: person });
      return this.#replacePassword(tx, person.id, password, { deviceLabel, caller: change.caller });
    });
  }

  /** @throws {Conflict} for owners: they hand over first. */
  async deleteOwn(person: UserPrincipal): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      await lockOwners(this.#database, tx);
      const user = await tx.selectFrom("users").select("role").where("id", "=", person.id).executeTakeFirst();
      if (user?.role === "owner") {
        throw new Conflict("owner_account", "Owners cannot delete their own account; transfer ownership first");
      }
      await this.#sessions.endAll(tx, person.id);
      const revoked = await revokeInvitesOf(tx, person.id);
      const grantee = { type: "user", id: person.id, name: person.email } as const;
      await recordLostGrants({ audit: this.#audit, tx, by: person, grantee });
      await tx.deleteFrom("users").where("id", "=", person.id).execute();
      announce({ kind: "actor", actorId: person.id });
      this.#note(tx, person, {
        action: "account.delete",
        user: person,
        before: { role: person.role },
        after: { revoked_invites: revoked },
      });
    });
  }

  /** Records what happened to an account; undefined for an address that has none. */
  #note(
    tx: Transaction<Schema>,
    by: By,
    { action, user, ...change }: Pick<AuditEntry, "action" | "before" | "after"> & { readonly user: Named | undefined },
  ): void {
    const target = { type: "user", id: user?.id ?? "", name: user?.email ?? "" };
    this.#audit.record(tx, by, { action, target, ...change });
  }
}
