/** People as owners and members see them: list, look up, change the instance role, remove. */
import type { Transaction } from "kysely";
import { Forbidden, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { cutPage, isBehind, keyAfter, mapPage, type Page, type PageRequest, rowsToRead } from "../page.ts";
import { normalizeEmail } from "./email.ts";
import { recordLostGrants } from "./grant-trail.ts";
import { grantsOf } from "./grants-of.ts";
import { revokeInvitesOf } from "./invite-rows.ts";
import { lockOwners, requireAnotherOwner } from "./owners.ts";
import type { Actor, InstanceRole, VaultRole } from "./principal.ts";
import type { Sessions } from "./session.ts";

export interface VaultGrant {
  readonly vaultName: string;
  readonly vaultRole: VaultRole;
}

export interface User {
  readonly id: string;
  readonly email: string;
  readonly role: InstanceRole;
  readonly createdAt: string;
  /** Oldest grant first. */
  readonly vaults: readonly VaultGrant[];
}

export class Users {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #sessions: Sessions;
  readonly #audit: Audit;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly sessions: Sessions;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#sessions = options.sessions;
    this.#audit = options.audit;
  }

  /** Everybody, unverified accounts included, by address. */
  async page(request?: PageRequest): Promise<Page<User>> {
    const key = keyAfter(request, "text");
    let query = this.#database.db.selectFrom("users").select(["id", "email", "role", "created_at"]).orderBy("email");
    if (key !== undefined) query = query.where(isBehind(["email"], key));
    if (request !== undefined) query = query.limit(rowsToRead(request));
    const page = cutPage(await query.execute(), request, ({ email }) => [email]);
    const ids = page.items.map(({ id }) => id);
    const grants = await grantsOf(this.#database.db, "user", ids);
    return mapPage(page, (user) => toUser(user, grants.get(user.id) ?? []));
  }

  /**
   * One's own record, or anybody's for an owner.
   * @throws {Forbidden} @throws {NotFound} `user_not_found`.
   */
  async get(actor: Actor, address: string): Promise<User> {
    const email = normalizeEmail(address);
    const isSelf = actor.kind === "user" && actor.email === email;
    if (!isSelf && actor.role === "no-access") throw new Forbidden("member_required", "Instance member role required");
    if (!isSelf && actor.role !== "owner") throw new Forbidden("owner_required", "Owner role required");
    const user = await this.#database.db
      .selectFrom("users")
      .select(["id", "email", "role", "created_at"])
      .where("email", "=", email)
      .executeTakeFirst();
    if (user === undefined) throw userNotFound(address);
    return toUser(user, (await grantsOf(this.#database.db, "user", [user.id])).get(user.id) ?? []);
  }

  /**
   * A lower role takes back the open invitations that it could not have made.
   * @throws {NotFound} @throws {Conflict} `last_owner`.
   */
  async setRole(by: Actor, address: string, role: InstanceRole): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      await lockOwners(this.#database, tx);
      const user = await findForChange(tx, address);
      if (user.role === role) return;
      if (user.role === "owner" && user.is_active === 1) await requireAnotherOwner(this.#database, tx);
      await tx
        .updateTable("users")
        .set({ role, updated_at: new Date(this.#clock.now()).toISOString() })
        .where("id", "=", user.id)
        .execute();
      const revoked = role === "owner" ? 0 : await revokeInvitesOf(tx, user.id, { onlyOwnerRole: role === "member" });
      announce({ kind: "actor", actorId: user.id });
      this.#audit.record(tx, by, {
        action: "user.set_role",
        target: { type: "user", id: user.id, name: user.email },
        before: { role: user.role },
        after: { role, revoked_invites: revoked },
      });
    });
  }

  /**
   * Removes an account with its sessions, its grants, the tokens it minted and the invitations it has open.
   * @returns the names of the active agents that the person created: they go on, and somebody else may know their tokens.
   * @throws {NotFound} @throws {Conflict} `last_owner`.
   */
  async remove(by: Actor, address: string): Promise<readonly string[]> {
    return this.#changes.transaction(async (tx, announce) => {
      await lockOwners(this.#database, tx);
      const user = await findForChange(tx, address);
      if (user.role === "owner" && user.is_active === 1) await requireAnotherOwner(this.#database, tx);
      await this.#sessions.endAll(tx, user.id);
      const grantee = { type: "user", id: user.id, name: user.email } as const;
      await recordLostGrants({ audit: this.#audit, tx, by, grantee });
      const revoked = await revokeInvitesOf(tx, user.id);
      await tx.deleteFrom("users").where("id", "=", user.id).execute();
      announce({ kind: "actor", actorId: user.id });
      this.#audit.record(tx, by, {
        action: "user.remove",
        target: grantee,
        before: { role: user.role, is_active: user.is_active === 1 },
        after: { revoked_invites: revoked },
      });
      const agents = await tx
        .selectFrom("agents")
        .select("name")
        .where("created_by_id", "=", user.id)
        .where("status", "=", "active")
        .orderBy("name")
        .execute();
      return agents.map(({ name }) => name);
    });
  }
}

interface UserRow {
  readonly id: string;
  readonly email: string;
  readonly role: string;
  readonly created_at: string;
}

function toUser(row: UserRow, vaults: readonly VaultGrant[]): User {
  return { id: row.id, email: row.email, role: row.role as InstanceRole, createdAt: row.created_at, vaults };
}

async function findForChange(tx: Transaction<Schema>, address: string) {
  const user = await tx
    .selectFrom("users")
    .select(["id", "email", "role", "is_active"])
    .where("email", "=", normalizeEmail(address))
    .executeTakeFirst();
  if (user === undefined) throw userNotFound(address);
  return user;
}

export function userNotFound(address: string): NotFound {
  return new NotFound("user_not_found", `User "${address}" not found`);
}
