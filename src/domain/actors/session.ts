/** Login sessions of people, and the way from any token to the principal it stands for. */
import type { Transaction } from "kysely";
import { mintToken, randomHex, tokenDigest } from "../../crypto/token.ts";
import { AppError, Forbidden, messageOf, NotFound, Unauthenticated, Unavailable } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import { person } from "../audit/author.ts";
import type { Clock } from "../clock.ts";
import { mapPage, type Page, type PageRequest } from "../page.ts";
import { cleanLabel } from "./label.ts";
import {
  hasVaultRole,
  type InstanceRole,
  type Principal,
  type ScopedPrincipal,
  type UserPrincipal,
  type VaultRole,
} from "./principal.ts";
import { attributed, type Scope } from "./scope.ts";
import { insertSession, readLogins } from "./session-rows.ts";

const loginLifetimeMs = 365 * 86_400_000;
const loginIdleSeconds = 30 * 86_400;
/** "Last used" is written at most this often per session. */
const touchIntervalMs = 60_000;
const maxDeviceLabel = 64;
const maxUserAgent = 512;

/** Where a request came from. */
export interface Caller {
  readonly ip: string;
  readonly userAgent: string;
}

export interface IssuedSession {
  /** Public id: safe to show and to log. */
  readonly id: string;
  /** Shown once; only its digest is stored. */
  readonly token: string;
  readonly expiresAt: string;
}

export interface LoginSession {
  readonly id: string;
  readonly deviceLabel: string;
  readonly lastIp: string;
  readonly lastUserAgent: string;
  readonly createdAt: string;
  readonly lastUsedAt: string | undefined;
  readonly expiresAt: string | undefined;
}

/** A principal and when its session ends by itself. */
export interface Resolved {
  readonly principal: Principal;
  /** Milliseconds since 1970; infinite for agent tokens. */
  readonly expiresAtMs: number;
}

export class Sessions {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #audit: Audit;
  readonly #touchedAtMs = new Map<string, number>();

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly log: Logger;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#audit = options.audit;
  }

  /** Signs a person in, within the transaction that decided so. */
  async issueLogin(
    tx: Transaction<Schema>,
    login: { readonly userId: string; readonly deviceLabel: string | undefined; readonly caller: Caller },
  ): Promise<IssuedSession> {
    const token = mintToken("av_sess_");
    const id = randomHex(10);
    const now = this.#clock.now();
    const expiresAt = new Date(now + loginLifetimeMs).toISOString();
    await insertSession(tx, {
      digest: tokenDigest(token),
      public_id: id,
      kind: "user",
      user_id: login.userId,
      device_label: cleanLabel(login.deviceLabel).slice(0, maxDeviceLabel).join("") || null,
      last_ip: login.caller.ip || null,
      last_user_agent: login.caller.userAgent.slice(0, maxUserAgent) || null,
      idle_ttl_seconds: loginIdleSeconds,
      expires_at: expiresAt,
      last_used_at: new Date(now).toISOString(),
      created_at: new Date(now).toISOString(),
    });
    return { id, token, expiresAt };
  }

  /** @throws {Unauthenticated} unknown, expired, or of an account that is gone. @throws {Unavailable} */
  async authenticate(token: string, clientIp: string): Promise<Principal> {
    return (await this.resolve(tokenDigest(token), clientIp)).principal;
  }

  /**
   * Reads what a token (by its digest) stands for from the database: roles are as fresh as the answer.
   * @throws {Unauthenticated} unknown, expired, or of an account that is gone.
   * @throws {Forbidden} when the minter of a scoped token has lost the right to mint it.
   * @throws {Unavailable} when the database cannot be asked; this never counts as a wrong token.
   * @param clientIp becomes the principal's; a scope of the proxy changes nothing and outlives a connection.
   */
  async resolve(digest: string, clientIp = ""): Promise<Resolved> {
    const row = await asUnavailable(() => this.#find(digest));
    if (row === undefined) throw new Unauthenticated("invalid_session", "Invalid or expired session");
    try {
      const expiresAtMs = expiryOf(row);
      if (this.#clock.now() > expiresAtMs) throw new Unauthenticated("session_expired", "Session expired");
      const principal = await asUnavailable(() => this.#principalOf(row, clientIp));
      if (principal === undefined) throw new Unauthenticated("session_ended", "Invalid or expired session");
      return { principal, expiresAtMs };
    } catch (error) {
      throw error instanceof Unauthenticated || error instanceof Forbidden ? attributed(error, boundScope(row)) : error;
    }
  }

  async #find(digest: string) {
    return this.#database.db
      .selectFrom("sessions")
      .leftJoin("users", "users.id", "sessions.user_id")
      .leftJoin("agents", "agents.id", "sessions.agent_id")
      .select([
        "sessions.public_id",
        "sessions.vault_id",
        "sessions.vault_role",
        "sessions.created_by_user_id",
        "sessions.created_by_agent_id",
        "sessions.idle_ttl_seconds",
        "sessions.expires_at",
        "sessions.last_used_at",
        "users.id as user_id",
        "users.email",
        "users.role as user_role",
        "users.is_active",
        "agents.id as agent_id",
        "agents.name as agent_name",
        "agents.role as agent_role",
        "agents.status as agent_status",
      ])
      .where("sessions.digest", "=", digest)
      .executeTakeFirst();
  }

  async #principalOf(row: SessionRow, clientIp: string): Promise<Principal | undefined> {
    const from = { sessionId: row.public_id, clientIp };
    if (row.user_id !== null && row.email !== null) {
      if (row.is_active !== 1) return undefined;
      return { kind: "user", id: row.user_id, email: row.email, role: row.user_role as InstanceRole, ...from };
    }
    if (row.agent_id !== null && row.agent_name !== null) {
      if (row.agent_status !== "active") return undefined;
      return { kind: "agent", id: row.agent_id, name: row.agent_name, role: row.agent_role as InstanceRole, ...from };
    }
    return this.#scopedOf(row, clientIp);
  }

  /** A scoped token ends with its minter's right to mint it: an active account with role member in the vault. */
  async #scopedOf(row: SessionRow, clientIp: string): Promise<ScopedPrincipal | undefined> {
    const { vault_id: vaultId, vault_role: vaultRole } = row;
    const createdBy = minterOf(row);
    if (vaultId === null || vaultRole === null || createdBy === undefined) return undefined;
    const grant = await this.#database.db
      .selectFrom("vault_grants")
      .leftJoin("users", "users.id", "vault_grants.user_id")
      .leftJoin("agents", "agents.id", "vault_grants.agent_id")
      .select(["vault_grants.role", "users.is_active", "agents.status"])
      .where("vault_grants.vault_id", "=", vaultId)
      .where(createdBy.type === "user" ? "vault_grants.user_id" : "vault_grants.agent_id", "=", createdBy.id)
      .executeTakeFirst();
    const isActive = grant?.is_active === 1 || grant?.status === "active";
    if (!isActive || !hasVaultRole(grant?.role as VaultRole, "member")) {
      throw new Forbidden("grant_revoked", "Whoever minted this token has lost access to the vault");
    }
    return {
      kind: "scoped",
      vaultId,
      vaultRole: vaultRole as VaultRole,
      sessionId: row.public_id,
      clientIp,
      createdBy,
    };
  }

  /** Extends a login session's idle time; throttled, in the background, and never a reason to fail. */
  touch(principal: Principal, caller: Caller): void {
    if (principal.kind !== "user") return;
    const now = this.#clock.now();
    const last = this.#touchedAtMs.get(principal.sessionId);
    if (last !== undefined && now - last < touchIntervalMs) return;
    if (this.#touchedAtMs.size > 10_000) this.#touchedAtMs.clear();
    this.#touchedAtMs.set(principal.sessionId, now);
    this.#database.db
      .updateTable("sessions")
      .set({
        last_used_at: new Date(now).toISOString(),
        ...(caller.ip !== "" && { last_ip: caller.ip }),
        ...(caller.userAgent !== "" && { last_user_agent: caller.userAgent.slice(0, maxUserAgent) }),
      })
      .where("public_id", "=", principal.sessionId)
      .where((on) =>
        on.or([
          on("last_used_at", "is", null),
          on("last_used_at", "<=", new Date(now - touchIntervalMs).toISOString()),
        ]),
      )
      .execute()
      .catch((error: unknown) => this.#log.warn("cannot note the use of a session", { error: messageOf(error) }));
  }

  /**
   * Live login sessions of a person, most recently used first. A page may have fewer than were asked for: of those that
   * have ended some are still stored.
   */
  async page(userId: string, request?: PageRequest): Promise<Page<LoginSession>> {
    const { items, next } = await readLogins(this.#database.db, userId, request);
    const now = this.#clock.now();
    return mapPage({ items: items.filter((row) => now <= expiryOf(row)), next }, (row) => ({
      id: row.public_id,
      deviceLabel: row.device_label ?? "",
      lastIp: row.last_ip ?? "",
      lastUserAgent: row.last_user_agent ?? "",
      createdAt: row.created_at,
      lastUsedAt: row.last_used_at ?? undefined,
      expiresAt: row.expires_at ?? undefined,
    }));
  }

  /** @throws {NotFound} when it is absent or somebody else's. */
  async revoke(by: UserPrincipal, publicId: string): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      const deleted = await tx
        .deleteFrom("sessions")
        .where("user_id", "=", by.id)
        .where("public_id", "=", publicId)
        .executeTakeFirst();
      if (deleted.numDeletedRows === 0n) throw new NotFound("session_not_found", "Session not found");
      announce({ kind: "session", publicId });
      this.#audit.record(tx, by, { action: "session.revoke", target: { type: "session", id: publicId } });
    });
  }

  /** Ends the login session of a token; any other kind of token is left alone, and nothing tells which it was. */
  async logout(token: string, caller: Caller): Promise<void> {
    const row = await this.#database.db
      .selectFrom("sessions")
      .innerJoin("users", "users.id", "sessions.user_id")
      .select(["sessions.public_id", "users.id", "users.email"])
      .where("digest", "=", tokenDigest(token))
      .executeTakeFirst();
    if (row === undefined) return;
    await this.#changes.transaction(async (tx, announce) => {
      const deleted = await tx.deleteFrom("sessions").where("public_id", "=", row.public_id).executeTakeFirst();
      if (deleted.numDeletedRows === 0n) return;
      announce({ kind: "session", publicId: row.public_id });
      this.#audit.record(tx, person(row, { sessionId: row.public_id, ip: caller.ip }), {
        action: "account.logout",
        target: { type: "session", id: row.public_id },
      });
    });
  }

  /** Ends every login session of a person and every scoped token that the person minted. */
  async endAll(tx: Transaction<Schema>, userId: string): Promise<void> {
    await tx
      .deleteFrom("sessions")
      .where((on) => on.or([on("user_id", "=", userId), on("created_by_user_id", "=", userId)]))
      .execute();
  }

  async deviceLabelOf(publicId: string): Promise<string | undefined> {
    const row = await this.#database.db
      .selectFrom("sessions")
      .select("device_label")
      .where("public_id", "=", publicId)
      .executeTakeFirst();
    return row?.device_label ?? undefined;
  }
}

interface SessionRow {
  readonly public_id: string;
  readonly vault_id: string | null;
  readonly vault_role: string | null;
  readonly created_by_user_id: string | null;
  readonly created_by_agent_id: string | null;
  readonly user_id: string | null;
  readonly email: string | null;
  readonly user_role: string | null;
  readonly is_active: number | null;
  readonly agent_id: string | null;
  readonly agent_name: string | null;
  readonly agent_role: string | null;
  readonly agent_status: string | null;
}

/** What a scoped token was for; undefined for a session that is bound to no vault. */
function boundScope(row: SessionRow): Scope | undefined {
  const createdBy = minterOf(row);
  if (row.vault_id === null || row.vault_role === null || createdBy === undefined) return undefined;
  return {
    vaultId: row.vault_id,
    vaultName: "",
    vaultRole: row.vault_role as VaultRole,
    actorType: createdBy.type,
    actorId: createdBy.id,
    sessionId: row.public_id,
  };
}

function minterOf(row: SessionRow): ScopedPrincipal["createdBy"] | undefined {
  if (row.created_by_user_id !== null) return { type: "user", id: row.created_by_user_id };
  if (row.created_by_agent_id !== null) return { type: "agent", id: row.created_by_agent_id };
  return undefined;
}

/**
 * Runs a database read for a question about identity: a database that is away must never look like a wrong token.
 * @throws {Unavailable} `database_unavailable`.
 */
export async function asUnavailable<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new Unavailable("database_unavailable", "The database cannot be reached", {
      cause: error,
      retryAfterSeconds: 1,
    });
  }
}

interface Expiry {
  readonly expires_at: string | null;
  readonly idle_ttl_seconds: number | null;
  readonly last_used_at: string | null;
}

/** When a session ends by itself: at its expiry or after its idle time, whichever is first. */
function expiryOf(row: Expiry): number {
  const absolute = row.expires_at === null ? Number.POSITIVE_INFINITY : Date.parse(row.expires_at);
  if (!row.idle_ttl_seconds || row.last_used_at === null) return absolute;
  return Math.min(absolute, Date.parse(row.last_used_at) + row.idle_ttl_seconds * 1000);
}
