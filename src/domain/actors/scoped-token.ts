/** Vault-scoped tokens: minted by members of a vault for what runs on their behalf, always with role `proxy`. */
import { mintToken, randomHex, tokenDigest } from "../../crypto/token.ts";
import { InvalidInput, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { cutPage, isBehind, keyAfter, mapPage, type Page, type PageRequest, rowsToRead } from "../page.ts";
import { cleanLabel } from "./label.ts";
import type { Principal, VaultRole } from "./principal.ts";
import type { IssuedSession } from "./session.ts";
import { insertSession } from "./session-rows.ts";

const minTtlSeconds = 300;
const maxTtlSeconds = 604_800;
const defaultTtlSeconds = 86_400;
const maxLabel = 100;

export interface TokenRequest {
  readonly ttlSeconds: number;
  readonly label: string;
}

/**
 * @throws {InvalidInput} naming what is wrong: the role, the lifetime or the label.
 */
export function parseTokenRequest(input: {
  readonly vaultRole: string | undefined;
  readonly ttlSeconds: number | undefined;
  readonly label: string | undefined;
}): TokenRequest {
  if (input.vaultRole !== undefined && input.vaultRole !== "" && input.vaultRole !== "proxy") {
    throw new InvalidInput("invalid_role", "vault_role must be proxy: scoped tokens only use the proxy");
  }
  const ttlSeconds = input.ttlSeconds ?? defaultTtlSeconds;
  if (ttlSeconds < minTtlSeconds || ttlSeconds > maxTtlSeconds) {
    throw new InvalidInput("invalid_ttl", `ttl_seconds must be between ${minTtlSeconds} and ${maxTtlSeconds}`);
  }
  const label = cleanLabel(input.label);
  if (label.length > maxLabel) throw new InvalidInput("invalid_label", `label must be at most ${maxLabel} characters`);
  return { ttlSeconds, label: label.join("") };
}

export interface ScopedToken {
  readonly id: string;
  readonly label: string;
  readonly vaultRole: VaultRole;
  readonly createdBy:
    | { readonly id: string; readonly type: "user" | "agent"; readonly displayName: string }
    | undefined;
  readonly createdAt: string;
  readonly expiresAt: string | undefined;
}

export class ScopedTokens {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #audit: Audit;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#audit = options.audit;
  }

  /** The caller has checked that `minter` is a member of the vault. */
  async mint(minter: Principal, vaultId: string, request: TokenRequest): Promise<IssuedSession> {
    const token = mintToken("av_sess_");
    const id = randomHex(10);
    const now = this.#clock.now();
    const expiresAt = new Date(now + request.ttlSeconds * 1000).toISOString();
    // A scoped token that mints another passes its own minter on, so that a chain ends with the actor who began it.
    const by = minter.kind === "scoped" ? minter.createdBy : { type: minter.kind, id: minter.id };
    await this.#changes.transaction(async (tx) => {
      await insertSession(tx, {
        digest: tokenDigest(token),
        public_id: id,
        kind: "scoped",
        vault_id: vaultId,
        vault_role: "proxy",
        label: request.label || null,
        created_by_user_id: by.type === "user" ? by.id : null,
        created_by_agent_id: by.type === "agent" ? by.id : null,
        expires_at: expiresAt,
        created_at: new Date(now).toISOString(),
      });
      this.#audit.record(tx, minter, {
        action: "token.mint",
        target: { type: "token", id, name: request.label },
        vaultId,
        after: { vault_role: "proxy", expires_at: expiresAt },
      });
    });
    return { id, token, expiresAt };
  }

  /** Unexpired tokens of a vault, newest first. */
  async page(vaultId: string, request?: PageRequest): Promise<Page<ScopedToken>> {
    const columns = ["sessions.created_at", "sessions.public_id"] as const;
    const key = keyAfter(request, "time", "text");
    let query = this.#database.db
      .selectFrom("sessions")
      .leftJoin("users", "users.id", "sessions.created_by_user_id")
      .leftJoin("agents", "agents.id", "sessions.created_by_agent_id")
      .select([
        "sessions.public_id",
        "sessions.label",
        "sessions.vault_role",
        "sessions.created_by_user_id",
        "sessions.created_by_agent_id",
        "users.email",
        "agents.name",
        "sessions.created_at",
        "sessions.expires_at",
      ])
      .where("sessions.vault_id", "=", vaultId)
      .where("sessions.kind", "=", "scoped")
      .where("sessions.expires_at", ">", new Date(this.#clock.now()).toISOString())
      .orderBy(columns[0], "desc")
      .orderBy(columns[1], "desc");
    if (key !== undefined) query = query.where(isBehind(columns, key, "desc"));
    if (request !== undefined) query = query.limit(rowsToRead(request));
    const page = cutPage(await query.execute(), request, (row) => [row.created_at, row.public_id]);
    return mapPage(page, (row) => ({
      id: row.public_id,
      label: row.label ?? "",
      vaultRole: row.vault_role as VaultRole,
      createdBy: minterOf(row),
      createdAt: row.created_at,
      expiresAt: row.expires_at ?? undefined,
    }));
  }

  /** @throws {NotFound} unless it is a scoped token of this vault. */
  async revoke(by: Principal, vaultId: string, publicId: string): Promise<void> {
    await this.#changes.transaction(async (tx, announce) => {
      const deleted = await tx
        .deleteFrom("sessions")
        .where("public_id", "=", publicId)
        .where("vault_id", "=", vaultId)
        .where("kind", "=", "scoped")
        .executeTakeFirst();
      if (deleted.numDeletedRows === 0n) throw new NotFound("session_not_found", "Session not found");
      announce({ kind: "session", publicId });
      this.#audit.record(tx, by, { action: "token.revoke", target: { type: "token", id: publicId }, vaultId });
    });
  }
}

function minterOf(row: {
  readonly created_by_user_id: string | null;
  readonly created_by_agent_id: string | null;
  readonly email: string | null;
  readonly name: string | null;
}): ScopedToken["createdBy"] {
  if (row.created_by_user_id !== null) {
    return { id: row.created_by_user_id, type: "user", displayName: row.email ?? row.created_by_user_id };
  }
  if (row.created_by_agent_id !== null) {
    return { id: row.created_by_agent_id, type: "agent", displayName: row.name ?? row.created_by_agent_id };
  }
  return undefined;
}
