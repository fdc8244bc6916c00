/** The credentials of a vault: keys in clear text, values sealed. Listing never opens a value; revealing says so. */
import type { Kysely, Transaction } from "kysely";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict, InvalidInput, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import { actorRefOf, type Principal } from "../actors/principal.ts";
import type { AuditEntry } from "../audit/append.ts";
import type { Audit } from "../audit/audit.ts";
import { quote } from "../input.ts";
import { cutPage, isBehind, keyAfter, mapPage, type Page, type PageRequest, rowsToRead } from "../page.ts";
import type { CredentialKey } from "../services/service.ts";
import type { VaultWrite, VaultWriter } from "../vaults/vault-writer.ts";
import { type CredentialDescription, type CredentialDetails, describeRow, writeDetails } from "./details.ts";
import { isCredentialKey } from "./key.ts";
import { type CredentialVersion, CredentialVersions, listVersions } from "./versions.ts";

export type CredentialType = "static" | "oauth";

export interface CredentialEntry {
  readonly key: CredentialKey;
  readonly type: CredentialType;
}

export interface SetOptions {
  readonly details?: ReadonlyMap<CredentialKey, CredentialDetails> | undefined;
}

export interface RevealedCredential extends CredentialEntry {
  /** Undefined while an OAuth credential is not connected. */
  readonly value: Secret | undefined;
}

/** Within the number of parameters that both engines allow. */
const rowsPerStatement = 500;

export interface CredentialsOptions {
  readonly database: Database;
  readonly keyring: Keyring;
  readonly changes: Changes;
  readonly writer: VaultWriter;
  readonly audit: Audit;
}

/** Binds a sealed value to its credential (crypto/keyring.ts). */
export function valueRecord(credentialId: string): RecordKey {
  return ["credentials", credentialId, "value"];
}

export class Credentials {
  readonly #options: CredentialsOptions;
  readonly #versions: CredentialVersions;

  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#versions = new CredentialVersions(options);
  }

  /** Stored keys, ascending. */
  async list(vaultId: string): Promise<readonly CredentialEntry[]> {
    return (await this.page(vaultId)).items;
  }

  /** As `list`, page by page. */
  async page(vaultId: string, request?: PageRequest): Promise<Page<CredentialEntry>> {
    const rows = await pageOfRows(this.#options.database.db, vaultId, request).select(["key", "type"]).execute();
    return mapPage(
      cutPage(rows, request, ({ key }) => [key]),
      ({ key, type }) => ({
        key,
        type: type as CredentialType,
      }),
    );
  }

  /**
   * Opens the values of a vault, page by page. The audit log knows of each before anybody sees it.
   * @throws {Corrupt} when a value does not open.
   */
  async revealPage(by: Principal, vaultId: string, request?: PageRequest): Promise<Page<RevealedCredential>> {
    const page = await this.#options.changes.transaction(async (tx) => {
      const rows = await pageOfRows(tx, vaultId, request).select(["id", "key", "type", "value_sealed"]).execute();
      const found = cutPage(rows, request, ({ key }) => [key]);
      for (const { id, key } of found.items) this.#record(tx, by, { action: "credential.reveal", vaultId, id, key });
      return found;
    });
    return { items: await Promise.all(page.items.map((row) => this.#revealed(row))), next: page.next };
  }

  /** As `page`, with all that is known about them. */
  async describePage(vaultId: string, request?: PageRequest): Promise<Page<CredentialDescription>> {
    const rows = await describedRows(pageOfRows(this.#options.database.db, vaultId, request)).execute();
    return mapPage(
      cutPage(rows, request, ({ key }) => [key]),
      describeRow,
    );
  }

  /** @throws {NotFound} `credential_not_found`. */
  async describe(vaultId: string, key: CredentialKey): Promise<CredentialDescription> {
    const row = await describedRows(pageOfRows(this.#options.database.db, vaultId, undefined))
      .where("key", "=", key)
      .executeTakeFirst();
    if (row === undefined) throw credentialNotFound(key);
    return describeRow(row);
  }

  /**
   * Opens the values of a vault, or that of one key. The audit log knows of each before anybody sees it.
   * @throws {NotFound} `credential_not_found` for a key that is not stored. @throws {Corrupt} when a value does not open.
   */
  async reveal(by: Principal, vaultId: string, key?: CredentialKey): Promise<readonly RevealedCredential[]> {
    if (key === undefined) return (await this.revealPage(by, vaultId)).items;
    const row = await this.#options.changes.transaction(async (tx) => {
      const found = await tx
        .selectFrom("credentials")
        .select(["id", "key", "type", "value_sealed"])
        .where("vault_id", "=", vaultId)
        .where("key", "=", key)
        .executeTakeFirst();
      if (found === undefined) throw credentialNotFound(key);
      this.#record(tx, by, { action: "credential.reveal", vaultId, id: found.id, key });
      return found;
    });
    return [await this.#revealed(row)];
  }

  /**
   * Stores static values, all or none; what was there is overwritten, an OAuth connection of that key included.
   * @returns the keys, ascending.
   * @throws {InvalidInput} `invalid_credential_key`. @throws {Conflict} `external_credential_store`.
   */
  async set(
    by: Principal,
    vaultId: string,
    values: ReadonlyMap<CredentialKey, Secret>,
    options: SetOptions = {},
  ): Promise<readonly CredentialKey[]> {
    const keys = [...values.keys()].sort();
    await this.#options.writer.change(vaultId, (change) => this.setIn(by, change, { vaultId, values, options }));
    return keys;
  }

  /** As `set`, within a change of the vault that does more. @throws as `set`. */
  async setIn(
    by: Principal,
    { tx, now }: VaultWrite,
    write: {
      readonly vaultId: string;
      readonly values: ReadonlyMap<CredentialKey, Secret>;
      readonly options?: SetOptions;
    },
  ): Promise<void> {
    const { vaultId, values, options = {} } = write;
    const keys = [...values.keys()].sort();
    await refuseExternalStore(tx, vaultId);
    const bad = keys.find((key) => !isCredentialKey(key));
    if (bad !== undefined) throw invalidCredentialKey(bad);
    const existing = await storedByKey(tx, vaultId, keys);
    for (const [key, value] of values) {
      const stored = existing.get(key);
      const id = stored?.id ?? (await insertEmpty(tx, vaultId, key, now));
      const version = await this.#write(tx, id, value, { by, now });
      const details = options.details?.get(key);
      if (details !== undefined) await writeDetails(tx, id, details, now);
      const after = { type: "static", version, ...formatDetails(details) };
      this.#record(tx, by, { action: "credential.set", vaultId, id, key, before: versionOf(stored), after });
    }
  }

  /**
   * Deletes credentials, all or none, with their OAuth connections. Services that name them are left as they are.
   * @returns the keys in the order given, each once.
   * @throws {NotFound} `credential_not_found` for the first key that is not stored.
   * @throws {Conflict} `external_credential_store`.
   */
  async delete(by: Principal, vaultId: string, keys: readonly CredentialKey[]): Promise<readonly CredentialKey[]> {
    const wanted = [...new Set(keys)];
    await this.#options.writer.change(vaultId, async ({ tx }) => {
      await refuseExternalStore(tx, vaultId);
      const existing = await storedByKey(tx, vaultId, wanted);
      const missing = wanted.find((key) => !existing.has(key));
      if (missing !== undefined) throw credentialNotFound(missing);
      const ids = [...existing.values()].map(({ id }) => id);
      for (let from = 0; from < ids.length; from += rowsPerStatement) {
        const some = ids.slice(from, from + rowsPerStatement);
        await tx.deleteFrom("credentials").where("id", "in", some).execute();
      }
      for (const [key, stored] of existing) {
        const before = versionOf(stored);
        this.#record(tx, by, { action: "credential.delete", vaultId, id: stored.id, key, before });
      }
    });
    return wanted;
  }

  /**
   * Changes what is said about a credential.
   * @throws {NotFound} `credential_not_found`. @throws {Conflict} `external_credential_store`.
   */
  async annotate(by: Principal, vaultId: string, key: CredentialKey, details: CredentialDetails): Promise<void> {
    await this.#options.writer.change(vaultId, async ({ tx, now }) => {
      await refuseExternalStore(tx, vaultId);
      const row = await tx
        .selectFrom("credentials")
        .select(["id", "description", "expires_at"])
        .where("vault_id", "=", vaultId)
        .where("key", "=", key)
        .executeTakeFirst();
      if (row === undefined) throw credentialNotFound(key);
      const { id, description, expires_at: expiresAt } = row;
      await writeDetails(tx, id, details, now);
      const before = formatDetails({ description, expiresAt });
      const after = formatDetails(details);
      this.#record(tx, by, { action: "credential.annotate", vaultId, id, key, before, after });
    });
  }

  /** The values that are kept, the newest first. @throws {NotFound} `credential_not_found`. */
  async versions(vaultId: string, key: CredentialKey): Promise<readonly CredentialVersion[]> {
    const row = await this.#options.database.db
      .selectFrom("credentials")
      .select(["id", "version", "type"])
      .where("vault_id", "=", vaultId)
      .where("key", "=", key)
      .executeTakeFirst();
    if (row === undefined) throw credentialNotFound(key);
    return listVersions(this.#options.database, row.id, row.type === "static" ? row.version : undefined);
  }

  /**
   * Makes an earlier value the current one again, as a new version; an OAuth connection of that key ends.
   * @returns the number of the new version.
   * @throws {NotFound} `credential_not_found`, `credential_version_not_found`.
   * @throws {Conflict} `external_credential_store`.
   */
  async restore(by: Principal, vaultId: string, key: CredentialKey, version: number): Promise<number> {
    return this.#options.writer.change(vaultId, async ({ tx, now }) => {
      await refuseExternalStore(tx, vaultId);
      const stored = (await storedByKey(tx, vaultId, [key])).get(key);
      if (stored === undefined) throw credentialNotFound(key);
      const { id } = stored;
      const value = await this.#versions.open(tx, id, key, version);
      const written = await this.#write(tx, id, value, { by, now });
      const after = { type: "static", version: written, restored: version };
      this.#record(tx, by, { action: "credential.restore", vaultId, id, key, before: versionOf(stored), after });
      return written;
    });
  }

  async #open(id: string, sealed: Uint8Array): Promise<Secret> {
    return new Secret(await this.#options.keyring.unsealText(valueRecord(id), sealed));
  }

  #record(
    tx: Transaction<Schema>,
    by: Principal,
    { id, key, ...entry }: Omit<AuditEntry, "target"> & { readonly id: string; readonly key: string },
  ): void {
    this.#options.audit.record(tx, by, { ...entry, target: { type: "credential", id, name: key } });
  }

  async #revealed(row: {
    readonly id: string;
    readonly key: CredentialKey;
    readonly type: string;
    readonly value_sealed: Uint8Array | null;
  }): Promise<RevealedCredential> {
    const value = row.value_sealed === null ? undefined : await this.#open(row.id, row.value_sealed);
    return { key: row.key, type: row.type as CredentialType, value };
  }

  /** The next version of a credential. An end that was noted was that of the value before. */
  async #write(
    tx: Transaction<Schema>,
    id: string,
    value: Secret,
    { by, now }: { readonly by: Principal; readonly now: string },
  ): Promise<number> {
    const sealed = await this.#options.keyring.seal(valueRecord(id), value.reveal());
    // A refresh of the old connection must not replace what was set by hand.
    await tx.deleteFrom("credential_oauth").where("credential_id", "=", id).execute();
    const { version } = await tx
      .updateTable("credentials")
      .set((row) => ({
        type: "static",
        value_sealed: sealed,
        version: row("version", "+", 1),
        expires_at: null,
        reminded_days: null,
        updated_at: now,
      }))
      .where("id", "=", id)
      .returning("version")
      .executeTakeFirstOrThrow();
    await this.#versions.record(tx, { id, version, value, by: actorRefOf(by), now });
    return version;
  }
}

export function credentialNotFound(key: CredentialKey): NotFound {
  return new NotFound("credential_not_found", `Credential ${quote(key)} not found`);
}

/** A row without a value, which the caller writes: its first version is 1. */
async function insertEmpty(tx: Transaction<Schema>, vaultId: string, key: string, now: string): Promise<string> {
  const id = uuidv7();
  await tx
    .insertInto("credentials")
    .values({
      id,
      vault_id: vaultId,
      key,
      type: "static",
      value_sealed: null,
      version: 0,
      description: null,
      expires_at: null,
      last_used_at: null,
      created_at: now,
      updated_at: now,
    })
    .execute();
  return id;
}

/** @throws {Conflict} when an external store owns the vault's credentials. */
export async function refuseExternalStore(tx: Kysely<Schema>, vaultId: string): Promise<void> {
  const store = await tx
    .selectFrom("credential_stores")
    .select("kind")
    .where("vault_id", "=", vaultId)
    .executeTakeFirst();
  if (store === undefined) return;
  throw new Conflict(
    "external_credential_store",
    `The credentials of this vault are managed in ${store.kind}; change them there`,
  );
}

export function invalidCredentialKey(key: string): InvalidInput {
  return new InvalidInput(
    "invalid_credential_key",
    `Invalid credential key ${quote(key)}: must be SCREAMING_SNAKE_CASE (e.g. STRIPE_KEY)`,
  );
}

interface Stored {
  readonly id: string;
  readonly type: string;
  readonly version: number;
}

/** What the audit log has of a credential: never its value, nor anything made from it. */
function versionOf(stored: Stored | undefined): object | undefined {
  return stored && { type: stored.type, version: stored.version };
}

/** As the audit log has them; what was not said is left out. */
function formatDetails({ description, expiresAt }: CredentialDetails = {}): object {
  return {
    ...(description !== undefined && { description }),
    ...(expiresAt !== undefined && { expires_at: expiresAt }),
  };
}

async function storedByKey(
  tx: Transaction<Schema>,
  vaultId: string,
  keys: readonly string[],
): Promise<ReadonlyMap<string, Stored>> {
  const rows = await tx
    .selectFrom("credentials")
    .select(["id", "key", "type", "version"])
    .where("vault_id", "=", vaultId)
    .execute();
  const wanted = new Set(keys);
  return new Map(rows.filter(({ key }) => wanted.has(key)).map(({ key, ...stored }) => [key, stored]));
}

/** By key, ascending; both engines compare bytes. */
function describedRows(rows: ReturnType<typeof pageOfRows>) {
  return rows
    .leftJoin("credential_oauth", "credential_oauth.credential_id", "credentials.id")
    .selectAll("credential_oauth")
    .select(["key", "type", "version", "description", "expires_at", "last_used_at", "updated_at"]);
}

function pageOfRows(db: Kysely<Schema>, vaultId: string, request: PageRequest | undefined) {
  const key = keyAfter(request, "text");
  let query = db.selectFrom("credentials").where("vault_id", "=", vaultId).orderBy("key");
  if (key !== undefined) query = query.where(isBehind(["key"], key));
  return request === undefined ? query : query.limit(rowsToRead(request));
}
