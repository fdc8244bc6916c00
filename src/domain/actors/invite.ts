/** Invitations of people: who may invite whom to what, and what accepting one does. */
import type { Transaction } from "kysely";
import { Conflict, Forbidden, Gone, messageOf, NotFound, RateLimited } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import { anonymous } from "../audit/author.ts";
import type { Clock } from "../clock.ts";
import type { Mail } from "../mail.ts";
import { cutPage, isBehind, keyAfter, mapPage, type Page, type PageRequest, rowsToRead } from "../page.ts";
import type { Accounts } from "./account.ts";
import { parseEmail } from "./email.ts";
import { acceptInvite, type OpenInvite } from "./invite-acceptance.ts";
import {
  expireOverdue,
  findInvite,
  type InviteStatus,
  insertInvite,
  type NewInvite,
  setInviteStatus,
  vaultsOfInvites,
  visibleInvites,
} from "./invite-rows.ts";
import { checkNewPassword, hashForStorage, type PasswordColumns } from "./password.ts";
import { type AssignedVault, describeAssigned, parseAssignments, type RequestedVault } from "./preassignment.ts";
import type { Actor, InstanceRole } from "./principal.ts";
import { parseInstanceRole, parseUserVaultRole } from "./roles.ts";
import type { Caller } from "./session.ts";
import type { VaultGrant } from "./user.ts";

const maxPending = 50;

export interface Invite {
  /** Stands for the invitation in lists, revoke and reinvite; it accepts nothing. */
  readonly handle: string;
  readonly email: string;
  readonly role: InstanceRole;
  readonly status: InviteStatus;
  readonly createdBy: string;
  /** Address of a person or name of an agent; undefined when they are gone. */
  readonly createdByName: string | undefined;
  /** The last characters of its token, to tell it from others. */
  readonly tokenSuffix: string;
  readonly vaults: readonly VaultGrant[];
  readonly expiresAt: string;
  readonly createdAt: string;
}

/** A new invitation, and whether its mail went out; the link is for the inviter to pass on when it did not. */
export interface SentInvite {
  readonly email: string;
  readonly role: InstanceRole;
  readonly vaults: readonly VaultGrant[];
  readonly expiresAt: string;
  readonly link: string;
  readonly mail: "sent" | "not-configured" | { readonly failure: string };
}

export class Invites {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #accounts: Accounts;
  readonly #mail: Mail;
  readonly #baseUrl: string;
  readonly #audit: Audit;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly accounts: Accounts;
    readonly mail: Mail;
    /** Where the link of an invitation leads. */
    readonly baseUrl: string;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#accounts = options.accounts;
    this.#mail = options.mail;
    this.#baseUrl = options.baseUrl;
    this.#audit = options.audit;
  }

  /**
   * @throws {InvalidInput} @throws {Forbidden} for what the caller cannot give, or a domain that is not allowed.
   * @throws {Conflict} when the address has an account or an open invitation. @throws {RateLimited} beyond 50 open ones.
   * @throws {NotFound} for a vault.
   */
  async create(
    actor: Actor,
    request: {
      readonly email: string | undefined;
      readonly role: string | undefined;
      readonly vaults: readonly RequestedVault[];
    },
  ): Promise<SentInvite> {
    const email = parseEmail(request.email);
    const role = parseInstanceRole(request.role || "member");
    requireMayGive(actor, role);
    const now = this.#now();
    await this.#refuseKnown(this.#database.db, email, now);
    await this.#accounts.requireAllowedDomain(email);
    await this.#requireRoom(this.#database.db, now);
    const vaults = await parseAssignments(this.#database, actor, request.vaults, {
      defaultRole: "member",
      parseRole: parseUserVaultRole,
    });
    const invite = { email, role, vaults };
    const token = await this.#changes.transaction(async (tx) => {
      await this.#database.lockVault(tx, "user-invites");
      await this.#refuseKnown(tx, email, now);
      await this.#requireRoom(tx, now);
      const inserted = await insertInvite(tx, { ...invite, actor, nowMs: this.#clock.now() });
      const target = { type: "invite", id: inserted.id, name: email };
      this.#audit.record(tx, actor, { action: "invite.create", target, after: describe(invite) });
      return inserted;
    });
    return this.#send(actor, invite, token);
  }

  /** Newest first: all for owners, else one's own and those into vaults that one administers. */
  async page(actor: Actor, status: string | undefined, request?: PageRequest): Promise<Page<Invite>> {
    const { db } = this.#database;
    await expireOverdue(db, this.#now());
    const key = keyAfter(request, "time", "text");
    let query = visibleInvites(db, actor)
      .leftJoin("users", "users.id", "user_invites.created_by_id")
      .leftJoin("agents", "agents.id", "user_invites.created_by_id")
      .select(["users.email as inviter_email", "agents.name as inviter_name"])
      .orderBy("user_invites.created_at", "desc")
      .orderBy("user_invites.id", "desc");
    if (status !== undefined && status !== "") query = query.where("user_invites.status", "=", status);
    if (key !== undefined) query = query.where(isBehind(["user_invites.created_at", "user_invites.id"], key, "desc"));
    if (request !== undefined) query = query.limit(rowsToRead(request));
    const page = cutPage(await query.execute(), request, (invite) => [invite.created_at, invite.id]);
    const ids = page.items.map((invite) => invite.id);
    const vaults = await vaultsOfInvites(db, ids);
    return mapPage(page, (invite) => ({
      handle: invite.id,
      email: invite.email,
      role: invite.role as InstanceRole,
      status: invite.status as InviteStatus,
      createdBy: invite.created_by_id ?? "",
      createdByName: invite.inviter_email ?? invite.inviter_name ?? undefined,
      tokenSuffix: invite.token_suffix,
      vaults: vaults.get(invite.id) ?? [],
      expiresAt: invite.expires_at,
      createdAt: invite.created_at,
    }));
  }

  /** @param reference is the raw token, its end, or the handle. @throws {NotFound} unless pending. @throws {Forbidden} */
  async revoke(actor: Actor, reference: string): Promise<void> {
    await expireOverdue(this.#database.db, this.#now());
    const invite = await findInvite(this.#database.db, reference, { byHandle: true });
    if (invite?.status !== "pending") throw inviteNotFound();
    await this.#requireMayManage(actor, invite.created_by_id, invite.vaults);
    await this.#changes.transaction(async (tx) => {
      if (!(await setInviteStatus(tx, invite.id, "revoked"))) throw inviteNotFound();
      this.#audit.record(tx, actor, {
        action: "invite.revoke",
        target: { type: "invite", id: invite.id, name: invite.email },
        before: describe(invite),
      });
    });
  }

  /**
   * Replaces an open invitation by a new one with the same content. The caller must be able to give all of it: else
   * an admin of one of its vaults could take over an invitation of an owner.
   * @throws {NotFound} @throws {Conflict} unless pending. @throws {Forbidden}
   */
  async reinvite(actor: Actor, reference: string): Promise<SentInvite> {
    const invite = await findInvite(this.#database.db, reference, { byHandle: true });
    if (invite === undefined) throw inviteNotFound();
    if (invite.status !== "pending") throw new Conflict("invite_not_pending", "This invitation is not pending");
    await this.#requireMayManage(actor, invite.created_by_id, invite.vaults);
    requireMayGive(actor, invite.role as InstanceRole);
    await parseAssignments(this.#database, actor, invite.vaults, {
      defaultRole: "member",
      parseRole: parseUserVaultRole,
    });
    await this.#accounts.requireAllowedDomain(invite.email);
    const renewed = { email: invite.email, role: invite.role as InstanceRole, vaults: invite.vaults };
    const token = await this.#changes.transaction(async (tx) => {
      if (!(await setInviteStatus(tx, invite.id, "revoked"))) {
        throw new Conflict("invite_not_pending", "This invitation is not pending");
      }
      const inserted = await insertInvite(tx, { ...renewed, actor, nowMs: this.#clock.now() });
      this.#audit.record(tx, actor, {
        action: "invite.reinvite",
        target: { type: "invite", id: inserted.id, name: invite.email },
        before: { id: invite.id },
        after: describe(renewed),
      });
      return inserted;
    });
    return this.#send(actor, renewed, token);
  }

  /** What an invited person sees. @throws {NotFound} @throws {Gone} with the status as its code. */
  async details(token: string): Promise<{ readonly invite: NewInvite; readonly needsAccount: boolean }> {
    const invite = await this.#findOpen(token);
    const user = await this.#findActiveUser(this.#database.db, invite.email);
    return { invite, needsAccount: user === undefined };
  }

  /**
   * Creates the account, or takes over one that was never verified, and gives the vaults. An account that is in use
   * keeps its password and role, and grants are only ever raised.
   * @throws {NotFound} @throws {Gone} @throws {Forbidden} @throws {InvalidInput}
   * @returns the address.
   */
  async accept(token: string, password: string, caller: Caller): Promise<string> {
    const invite = await this.#findOpen(token);
    const existing = await this.#findActiveUser(this.#database.db, invite.email);
    let columns: PasswordColumns | undefined;
    if (existing === undefined) {
      await this.#accounts.requireAllowedDomain(invite.email);
      checkNewPassword(password);
      columns = await hashForStorage(password);
    }
    await this.#changes.transaction(async (tx, announce) => {
      // Whoever has the link accepts it: nobody has proved to be that person.
      const trail = { audit: this.#audit, by: anonymous(caller) };
      const userId = await acceptInvite(tx, invite, { password: columns, nowMs: this.#clock.now(), ...trail });
      if (userId === undefined) throw gone("accepted");
      announce({ kind: "actor", actorId: userId });
    });
    return invite.email;
  }

  async #send(
    actor: Actor,
    invite: NewInvite,
    { token, expiresAt }: { readonly token: string; readonly expiresAt: string },
  ): Promise<SentInvite> {
    const link = `${this.#baseUrl}/invite/${token}`;
    const sent = { ...invite, expiresAt, link };
    if (!this.#mail.isConfigured) return { ...sent, mail: "not-configured" };
    try {
      await this.#mail.send({
        kind: "invitation",
        to: invite.email,
        inviter: actor.kind === "user" ? actor.email : actor.name,
        vaults: invite.vaults.map(({ vaultName }) => vaultName),
        link,
      });
      return { ...sent, mail: "sent" };
    } catch (error) {
      return { ...sent, mail: { failure: messageOf(error) } };
    }
  }

  async #refuseKnown(db: Pick<Transaction<Schema>, "selectFrom">, email: string, now: string): Promise<void> {
    const user = await db.selectFrom("users").select("id").where("email", "=", email).executeTakeFirst();
    if (user !== undefined) throw new Conflict("user_exists", "A user with this email already exists");
    const open = await db
      .selectFrom("user_invites")
      .select("id")
      .where("email", "=", email)
      .where("status", "=", "pending")
      .where("expires_at", ">", now)
      .executeTakeFirst();
    if (open !== undefined) throw new Conflict("invite_pending", "An invitation for this email is already pending");
  }

  async #requireRoom(db: Pick<Transaction<Schema>, "selectFrom">, now: string): Promise<void> {
    const pending = await db
      .selectFrom("user_invites")
      .select((on) => on.fn.countAll<number>().as("count"))
      .where("status", "=", "pending")
      .where("expires_at", ">", now)
      .executeTakeFirstOrThrow();
    if (Number(pending.count) < maxPending) return;
    throw new RateLimited("too_many_invites", `There are ${maxPending} pending invitations already; revoke some first`);
  }

  async #findOpen(token: string): Promise<OpenInvite> {
    const invite = await findInvite(this.#database.db, token, { byHandle: false });
    if (invite === undefined) throw inviteNotFound();
    if (invite.status !== "pending") throw gone(invite.status as InviteStatus);
    if (invite.expires_at <= this.#now()) throw gone("expired");
    return {
      id: invite.id,
      email: invite.email,
      role: invite.role as InstanceRole,
      vaults: invite.vaults,
      createdBy: invite.created_by_id,
    };
  }

  async #findActiveUser(db: Pick<Transaction<Schema>, "selectFrom">, email: string) {
    return db.selectFrom("users").select("id").where("email", "=", email).where("is_active", "=", 1).executeTakeFirst();
  }

  async #administeredBy(actor: Actor): Promise<ReadonlySet<string>> {
    const grants = await this.#database.db
      .selectFrom("vault_grants")
      .select("vault_id")
      .where(actor.kind === "user" ? "user_id" : "agent_id", "=", actor.id)
      .where("role", "=", "admin")
      .execute();
    return new Set(grants.map((grant) => grant.vault_id));
  }

  /** Its creator, owners, and admins of a vault that comes with it. */
  async #requireMayManage(actor: Actor, createdBy: string | null, vaults: readonly AssignedVault[]): Promise<void> {
    if (actor.role === "owner" || createdBy === actor.id) return;
    const administered = await this.#administeredBy(actor);
    if (vaults.some(({ vaultId }) => administered.has(vaultId))) return;
    throw new Forbidden(
      "invite_forbidden",
      "Only its creator, an owner or an admin of its vaults may change an invitation",
    );
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString();
  }
}

/** What an invitation gives, as the audit log has it. */
function describe({ role, vaults }: { readonly role: string; readonly vaults: readonly AssignedVault[] }): object {
  return { role, vaults: vaults.map(describeAssigned) };
}

function requireMayGive(actor: Actor, role: InstanceRole): void {
  if (role === "owner" && actor.role !== "owner") {
    throw new Forbidden("owner_required", "Only owners can invite owners");
  }
}

function inviteNotFound(): NotFound {
  return new NotFound("invite_not_found", "Invitation not found");
}

const endings: Readonly<Record<Exclude<InviteStatus, "pending">, string>> = {
  accepted: "This invitation has already been accepted",
  revoked: "This invitation has been revoked",
  expired: "This invitation has expired",
};

function gone(status: InviteStatus): Gone {
  const ended = status === "pending" ? "accepted" : status;
  return new Gone(`invite_${ended}`, endings[ended]);
}
