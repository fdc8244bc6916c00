/** The credentials of a vault: keys in clear text, values sealed. Listing never opens a value; revealing says so. */
import type { Transaction } from "kysely";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict, InvalidInput, NotFound } from "../../errors.ts";
import type { Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Principal } from "../actors/principal.ts";
import type { AuditEntry } from "../audit/append.ts";
import type { Audit } from "../audit/audit.ts";
import { quote } from "../input.ts";
import type { CredentialKey } from "../services/service.ts";
import type { VaultWriter } from "../vaults/vault-writer.ts";
import { isCredentialKey } from "./key.ts";

export type CredentialType = "static" | "oauth";

export interface CredentialEntry {
  readonly key: CredentialKey;
  readonly type: CredentialType;
}

export interface RevealedCredential extends CredentialEntry {
  /** Undefined while an OAuth credential is not connected. */
  readonly value: Secret | undefined;
}

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

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  /** Stored keys, ascending. */
  async list(vaultId: string): Promise<readonly CredentialEntry[]> {
    const rows = await this.#options.database.db
      .selectFrom("credentials")
      .select(["key", "type"])
      .where("vault_id", "=", vaultId)
      .execute();
    return rows.map(({ key, type }) => ({ key, type: type as CredentialType })).sort(byKey);
  }

  /**
   * Opens the values of a vault, or that of one key. The audit log knows of each before anybody sees it.
   * @throws {NotFound} `credential_not_found` for a key that is not stored. @throws {Corrupt} when a value does not open.
   */
  async reveal(by: Principal, vaultId: string, key?: CredentialKey): Promise<readonly RevealedCredential[]> {
    const rows = await this.#options.changes.transaction(async (tx) => {
      const all = tx
        .selectFrom("credentials")
        .select(["id", "key", "type", "value_sealed"])
        .where("vault_id", "=", vaultId);
      const found = await (key === undefined ? all : all.where("key", "=", key)).orderBy("key").execute();
      for (const row of found) this.#record(tx, by, { action: "credential.reveal", vaultId, id: row.id, key: row.key });
      return found;
    });
    if (key !== undefined && rows.length === 0) throw credentialNotFound(key);
    const revealed = rows.map(async (row) => ({
      key: row.key,
      type: row.type as CredentialType,
      value: row.value_sealed === null ? undefined : await this.#open(row.id, row.value_sealed),
    }));
    return (await Promise.all(revealed)).sort(byKey);
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
  ): Promise<readonly CredentialKey[]> {
    const keys = [...values.keys()].sort();
    await this.#options.writer.change(vaultId, async ({ tx, now }) => {
      await refuseExternalStore(tx, vaultId);
      const bad = keys.find((key) => !isCredentialKey(key));
      if (bad !== undefined) throw invalidKey(bad);
      const existing = await storedByKey(tx, vaultId, keys);
      for (const [key, value] of values) {
        const stored = existing.get(key);
        const id = stored?.id ?? uuidv7();
        if (stored === undefined) await this.#insert(tx, { id, vaultId, key, value, now });
        else await this.#overwrite(tx, id, value, now);
        const after = { type: "static", version: (stored?.version ?? 0) + 1 };
        this.#record(tx, by, { action: "credential.set", vaultId, id, key, before: describe(stored), after });
      }
    });
    return keys;
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
      for (const [key, stored] of existing) {
        await tx.deleteFrom("credentials").where("id", "=", stored.id).execute();
        const before = describe(stored);
        this.#record(tx, by, { action: "credential.delete", vaultId, id: stored.id, key, before });
      }
    });
    return wanted;
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

  async #insert(tx: Transaction<Schema>, { id, vaultId, key, value, now }: NewCredential): Promise<void> {
    await tx
      .insertInto("credentials")
      .values({
        id,
        vault_id: vaultId,
        key,
        type: "static",
        value_sealed: await this.#options.keyring.seal(valueRecord(id), value.reveal()),
        version: 1,
        description: null,
        expires_at: null,
        last_used_at: null,
        created_at: now,
        updated_at: now,
      })
      .execute();
  }

  async #overwrite(tx: Transaction<Schema>, id: string, value: Secret, now: string): Promise<void> {
    const sealed = await this.#options.keyring.seal(valueRecord(id), value.reveal());
    // A refresh of the old connection must not replace what was set by hand.
    await tx.deleteFrom("credential_oauth").where("credential_id", "=", id).execute();
    await tx
      .updateTable("credentials")
      .set((row) => ({ type: "static", value_sealed: sealed, version: row("version", "+", 1), updated_at: now }))
      .where("id", "=", id)
      .execute();
  }
}

export function credentialNotFound(key: CredentialKey): NotFound {
  return new NotFound("credential_not_found", `Credential ${quote(key)} not found`);
}

/** @throws {Conflict} when an external store owns the vault's credentials. */
async function refuseExternalStore(tx: Transaction<Schema>, vaultId: string): Promise<void> {
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

function invalidKey(key: string): InvalidInput {
  return new InvalidInput(
    "invalid_credential_key",
    `Invalid credential key ${quote(key)}: must be SCREAMING_SNAKE_CASE (e.g. STRIPE_KEY)`,
  );
}

interface NewCredential {
  readonly id: string;
  readonly vaultId: string;
  readonly key: string;
  readonly value: Secret;
  readonly now: string;
}

interface Stored {
  readonly id: string;
  readonly type: string;
  readonly version: number;
}

/** What the audit log has of a credential: never its value, nor anything made from it. */
function describe(stored: Stored | undefined): object | undefined {
  return stored && { type: stored.type, version: stored.version };
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

/** By code unit, the same on both engines whatever their collation. */
function byKey(one: CredentialEntry, other: CredentialEntry): number {
  return one.key < other.key ? -1 : Number(one.key > other.key);
}
