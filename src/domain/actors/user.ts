/** People as owners and members see them: list, look up, change the instance role, remove. */
import type { Transaction } from "kysely";
import { Forbidden, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { normalizeEmail } from "./email.ts";
import { recordLostGrants } from "./grant-trail.ts";
import { requireAnotherOwner } from "./owners.ts";
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
  async list(): Promise<readonly User[]> {
    const [users, grants] = await Promise.all([
      this.#database.db.selectFrom("users").select(["id", "email", "role", "created_at"]).orderBy("email").execute(),
      this.#grants().execute(),
    ]);
    const byUser = Map.groupBy(grants, (grant) => grant.user_id);
    return users.map((user) => toUser(user, byUser.get(user.id) ?? []));
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
    return toUser(user, await this.#grants().where("vault_grants.user_id", "=", user.id).execute());
  }

  /** @throws {NotFound} @throws {Conflict} `last_owner`. */
  async setRole(by: Actor, address: string, role: InstanceRole): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      const user = await findForChange(tx, address);
      if (user.role === role) return;
      if (user.role === "owner" && user.is_active === 1) await requireAnotherOwner(this.#database, tx);
      await tx
        .updateTable("users")
        .set({ role, updated_at: new Date(this.#clock.now()).toISOString() })
        .where("id", "=", user.id)
        .execute();
      announce({ kind: "actor", actorId: user.id });
      this.#audit.record(tx, by, {
        action: "user.set_role",
        target: { type: "user", id: user.id, name: user.email },
        before: { role: user.role },
        after: { role },
      });
    });
  }

  /**
   * Removes an account with its sessions, its grants, the tokens it minted and the invitations it has open.
   * @throws {NotFound} @throws {Conflict} `last_owner`.
   */
  async remove(by: Actor, address: string): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      const user = await findForChange(tx, address);
      if (user.role === "owner" && user.is_active === 1) await requireAnotherOwner(this.#database, tx);
      await this.#sessions.endAll(tx, user.id);
      const grantee = { type: "user", id: user.id, name: user.email } as const;
      await recordLostGrants({ audit: this.#audit, tx, by, grantee });
      const invites = await tx
        .updateTable("user_invites")
        .set({ status: "revoked" })
        .where("created_by_id", "=", user.id)
        .where("status", "=", "pending")
        .executeTakeFirst();
      await tx.deleteFrom("users").where("id", "=", user.id).execute();
      announce({ kind: "actor", actorId: user.id });
      this.#audit.record(tx, by, {
        action: "user.remove",
        target: grantee,
        before: { role: user.role, is_active: user.is_active === 1 },
        after: { revoked_invites: Number(invites.numUpdatedRows) },
      });
    });
  }

  #grants() {
    return this.#database.db
      .selectFrom("vault_grants")
      .innerJoin("vaults", "vaults.id", "vault_grants.vault_id")
      .select(["vault_grants.user_id", "vaults.name", "vault_grants.role"])
      .where("vault_grants.user_id", "is not", null)
      .orderBy("vault_grants.created_at")
      .orderBy("vault_grants.id");
  }
}

interface UserRow {
  readonly id: string;
  readonly email: string;
  readonly role: string;
  readonly created_at: string;
}

function toUser(row: UserRow, grants: readonly { readonly name: string; readonly role: string }[]): User {
  return {
    id: row.id,
    email: row.email,
    role: row.role as InstanceRole,
    createdAt: row.created_at,
    vaults: grants.map((grant) => ({ vaultName: grant.name, vaultRole: grant.role as VaultRole })),
  };
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
