/** Vaults: create, list, rename, delete, and what a vault does with hosts that no service covers. */
import type { Transaction } from "kysely";
import { uuidv4, uuidv7 } from "../../crypto/token.ts";
import { Conflict, InvalidInput } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import { type VaultRef, vaultNotFound } from "../actors/access.ts";
import type { Actor, Principal, VaultRole } from "../actors/principal.ts";
import type { Audit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import { quote } from "../input.ts";
import { cutPage, isBehind, keyAfter, mapPage, type Page, type PageRequest, rowsToRead } from "../page.ts";
import { expiryCutoff } from "../proposals/proposal-store.ts";
import { isSlug } from "../slug.ts";
import type { VaultWriter } from "./vault-writer.ts";

/** The vault that requests mean when they name none; it can be neither renamed nor deleted. */
export const defaultVaultName = "default";
const reservedNames: ReadonlySet<string> = new Set(["users"]);

export interface Vault {
  readonly id: string;
  readonly name: string;
  readonly createdAt: string;
}

/** A vault as one actor sees it in a list. */
export interface ListedVault extends Vault {
  /** Undefined for an owner without a grant. */
  readonly role: VaultRole | undefined;
  readonly pendingProposals: number;
  readonly store:
    | { readonly kind: string; readonly lastSyncStatus: string | null; readonly lastSyncedAt: string | null }
    | undefined;
}

export interface VaultsOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly clock: Clock;
  readonly writer: VaultWriter;
  readonly audit: Audit;
}

export class Vaults {
  readonly #options: VaultsOptions;

  constructor(options: VaultsOptions) {
    this.#options = options;
  }

  /**
   * Creates a vault and makes its creator an admin of it.
   * @throws {InvalidInput} for a bad name. @throws {Conflict} `vault_exists`.
   */
  async create(actor: Actor, name: string): Promise<Vault> {
    checkVaultName(name);
    const { database, changes, clock } = this.#options;
    const now = clock.now();
    const createdAt = new Date(now).toISOString();
    const vault = { id: uuidv4(), name, createdAt };
    try {
      await changes.transaction(async (tx, announce) => {
        await tx
          .insertInto("vaults")
          .values({ id: vault.id, name, version: 1, created_at: createdAt, updated_at: createdAt })
          .execute();
        await tx
          .insertInto("vault_grants")
          .values({
            id: uuidv7(now),
            vault_id: vault.id,
            user_id: actor.kind === "user" ? actor.id : null,
            agent_id: actor.kind === "agent" ? actor.id : null,
            role: "admin",
            created_at: createdAt,
          })
          .execute();
        announce({ kind: "actor", actorId: actor.id });
        this.#options.audit.record(tx, actor, {
          action: "vault.create",
          target: { type: "vault", id: vault.id, name },
          vaultId: vault.id,
          after: { name },
        });
      });
    } catch (error) {
      throw database.isUniqueViolation(error)
        ? new Conflict("vault_exists", `Vault ${quote(name)} already exists`)
        : error;
    }
    return vault;
  }

  /** Everything an owner may see, by name; or what the actor holds a grant on, oldest grant first. */
  async list(actor: Actor): Promise<readonly ListedVault[]> {
    return (await this.page(actor)).items;
  }

  /** As `list`, page by page. One query. */
  async page(actor: Actor, request?: PageRequest): Promise<Page<ListedVault>> {
    const isOwner = actor.role === "owner";
    let query = this.#options.database.db
      .selectFrom("vaults")
      .leftJoin("vault_grants", (join) =>
        join
          .onRef("vault_grants.vault_id", "=", "vaults.id")
          .on(actor.kind === "user" ? "vault_grants.user_id" : "vault_grants.agent_id", "=", actor.id),
      )
      .leftJoin("credential_stores", "credential_stores.vault_id", "vaults.id")
      .select((row) => [
        "vaults.id",
        "vaults.name",
        "vaults.created_at",
        "vault_grants.role",
        "vault_grants.id as grant_id",
        "vault_grants.created_at as granted_at",
        "credential_stores.kind",
        "credential_stores.last_sync_status",
        "credential_stores.last_synced_at",
        row
          .selectFrom("proposals")
          .whereRef("proposals.vault_id", "=", "vaults.id")
          .where("proposals.status", "=", "pending")
          .where("proposals.created_at", ">", expiryCutoff(this.#options.clock.now()))
          .select((pending) => pending.fn.countAll<number | string>().as("count"))
          .as("pending_proposals"),
      ]);
    if (isOwner) {
      const key = keyAfter(request, "text");
      query = query.orderBy("vaults.name");
      if (key !== undefined) query = query.where(isBehind(["vaults.name"], key));
    } else {
      const key = keyAfter(request, "time", "text");
      const columns = ["vault_grants.created_at", "vault_grants.id"] as const;
      query = query.where("vault_grants.id", "is not", null).orderBy(columns[0]).orderBy(columns[1]);
      if (key !== undefined) query = query.where(isBehind(columns, key));
    }
    if (request !== undefined) query = query.limit(rowsToRead(request));
    const page = cutPage(await query.execute(), request, (row) =>
      isOwner ? [row.name] : [row.granted_at ?? "", row.grant_id ?? ""],
    );
    return mapPage(page, (row) => ({
      id: row.id,
      name: row.name,
      createdAt: row.created_at,
      // The column holds what the grant's parser let in.
      role: (row.role ?? undefined) as VaultRole | undefined,
      pendingProposals: Number(row.pending_proposals),
      store:
        row.kind === null
          ? undefined
          : { kind: row.kind, lastSyncStatus: row.last_sync_status, lastSyncedAt: row.last_synced_at },
    }));
  }

  /** Every vault by name, for owners. */
  async listAll(): Promise<readonly Vault[]> {
    return (await this.pageOfAll()).items;
  }

  /** As `listAll`, page by page. */
  async pageOfAll(request?: PageRequest): Promise<Page<Vault>> {
    const key = keyAfter(request, "text");
    let query = this.#options.database.db
      .selectFrom("vaults")
      .select(["id", "name", "created_at as createdAt"])
      .orderBy("name");
    if (key !== undefined) query = query.where(isBehind(["name"], key));
    if (request !== undefined) query = query.limit(rowsToRead(request));
    return cutPage(await query.execute(), request, ({ name }) => [name]);
  }

  /** @throws {InvalidInput} for a bad name. @throws {Conflict} `vault_exists`, also for the name it has. */
  async rename(by: Principal, { id: vaultId, name: oldName }: VaultRef, name: string): Promise<void> {
    checkVaultName(name);
    const taken = () => new Conflict("vault_exists", `A vault named ${quote(name)} already exists`);
    if (name === oldName) throw taken();
    try {
      await this.#options.writer.change(vaultId, async ({ tx }) => {
        await tx.updateTable("vaults").set({ name }).where("id", "=", vaultId).execute();
        this.#options.audit.record(tx, by, {
          action: "vault.rename",
          target: { type: "vault", id: vaultId, name },
          vaultId,
          before: { name: oldName },
          after: { name },
        });
      });
    } catch (error) {
      throw this.#options.database.isUniqueViolation(error) ? taken() : error;
    }
  }

  /** Deletes a vault with everything in it. @throws {NotFound} when it is gone already. */
  async delete(by: Principal, vaultId: string): Promise<void> {
    const { database, changes } = this.#options;
    await changes.transaction(async (tx, announce) => {
      await database.lockVault(tx, vaultId);
      const sessions = await tx.selectFrom("sessions").select("public_id").where("vault_id", "=", vaultId).execute();
      const name = await nameOf(tx, vaultId);
      const contents = await contentsOf(tx, vaultId);
      const deleted = await tx.deleteFrom("vaults").where("id", "=", vaultId).executeTakeFirst();
      if (deleted.numDeletedRows === 0n) throw vaultNotFound(vaultId);
      for (const { public_id } of sessions) announce({ kind: "session", publicId: public_id });
      announce({ kind: "vault", vaultId });
      this.#options.audit.record(tx, by, {
        action: "vault.delete",
        target: { type: "vault", id: vaultId, name },
        vaultId,
        before: { name, ...contents, tokens: sessions.map(({ public_id }) => public_id) },
      });
    });
  }
}

export async function nameOf(tx: Transaction<Schema>, vaultId: string): Promise<string> {
  const vault = await tx.selectFrom("vaults").select("name").where("id", "=", vaultId).executeTakeFirst();
  return vault?.name ?? "";
}

/** What goes with a vault, by name. */
async function contentsOf(tx: Transaction<Schema>, vaultId: string) {
  const services = await tx.selectFrom("services").select("name").where("vault_id", "=", vaultId).execute();
  const credentials = await tx.selectFrom("credentials").select("key").where("vault_id", "=", vaultId).execute();
  return { services: services.map(({ name }) => name), credentials: credentials.map(({ key }) => key) };
}

/** @throws {InvalidInput} for the default vault. */
export function refuseDefaultVault(name: string, verb: "rename" | "delete"): void {
  if (name !== defaultVaultName) return;
  throw new InvalidInput("default_vault", `Cannot ${verb} the default vault`);
}

/** @throws {InvalidInput} `invalid_name`, `reserved_name`. */
export function checkVaultName(name: string): void {
  if (!isSlug(name)) {
    throw new InvalidInput(
      "invalid_name",
      "Vault name must be 3-64 characters, lowercase alphanumeric and hyphens only",
    );
  }
  if (reservedNames.has(name)) throw new InvalidInput("reserved_name", "This vault name is reserved");
}
