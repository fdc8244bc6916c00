/**
 * Keeps the pictures from which requests are decided: loaded once for all who wait, dropped when the vault changes. The
 * announcement of a change is what ends a snapshot, so its age is the delay of announcements: none in this process, about
 * a second across processes (storage/changes.ts).
 */

import { AppError, NotFound, Unavailable } from "../../errors.ts";
import type { Change, Changes } from "../../storage/changes.ts";
import type { Database } from "../../storage/database.ts";
import type { Clock } from "../clock.ts";
import type { CredentialType } from "../credentials/credential.ts";
import { hasTokenEndpoint } from "../credentials/oauth-settings.ts";
import type { CredentialResolver, SealedCredential } from "../credentials/resolve.ts";
import { compileMatcher } from "../services/match.ts";
import { readServices } from "../services/service-store.ts";
import { HeaderRenderer } from "./header-renderer.ts";
import { networkSettingKeys, readVaultNetwork } from "./network-settings.ts";
import type { SnapshotSource, VaultSnapshot } from "./snapshot.ts";
import { readVaultSettings } from "./vault-settings.ts";

export interface SnapshotsOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly resolver: CredentialResolver;
  readonly clock: Clock;
}

/** The least recently loaded one goes first; it is only loaded again. */
const maxSnapshots = 2_000;
/** A vault that changes faster than it can be read is under attack or broken. */
const maxReads = 10;

export class Snapshots implements SnapshotSource {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #resolver: CredentialResolver;
  readonly #current = new Map<string, VaultSnapshot>();
  readonly #loading = new Map<string, Promise<VaultSnapshot>>();
  readonly #stopWatching: () => void;
  /** How often a vault was read, since the start. */
  loads = 0;

  constructor(options: SnapshotsOptions) {
    this.#database = options.database;
    this.#clock = options.clock;
    this.#resolver = options.resolver;
    this.#stopWatching = options.changes.watch((change) => this.#drop(change));
  }

  current(vaultId: string): VaultSnapshot | undefined {
    return this.#current.get(vaultId);
  }

  load(vaultId: string): Promise<VaultSnapshot> {
    const known = this.#current.get(vaultId);
    if (known !== undefined) return Promise.resolve(known);
    const running = this.#loading.get(vaultId);
    if (running !== undefined) return running;
    this.loads++;
    const loading = this.#read(vaultId)
      .then((snapshot) => {
        // A change since the beginning has taken this load out of the map: its result is for those who waited only.
        if (this.#loading.get(vaultId) === loading) this.#keep(snapshot);
        return snapshot;
      })
      .finally(() => {
        if (this.#loading.get(vaultId) === loading) this.#loading.delete(vaultId);
      });
    this.#loading.set(vaultId, loading);
    return loading;
  }

  /** Stops listening and forgets every value. */
  close(): void {
    this.#stopWatching();
    this.#current.clear();
    this.#loading.clear();
  }

  #drop(change: Change): void {
    if (change.kind === "vault") {
      this.#current.delete(change.vaultId);
      // Whoever asks from now on must not join a load that began before the change.
      this.#loading.delete(change.vaultId);
    } else if (change.kind === "everything") {
      this.#current.clear();
      this.#loading.clear();
    }
  }

  #keep(snapshot: VaultSnapshot): void {
    this.#current.set(snapshot.vaultId, snapshot);
    const oldest = this.#current.keys().next();
    if (this.#current.size > maxSnapshots && !oldest.done) this.#current.delete(oldest.value);
  }

  async #read(vaultId: string): Promise<VaultSnapshot> {
    try {
      for (let attempt = 0; attempt < maxReads; attempt++) {
        const snapshot = await this.#readOnce(vaultId);
        // Every change raises the version in its own transaction: the same version before and after is one picture.
        if ((await this.#readVault(vaultId)).version === snapshot.version) return snapshot;
      }
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw new Unavailable("database_unavailable", "The vault cannot be read right now", { cause: error });
    }
    throw new Unavailable("vault_busy", "The vault is being changed too quickly to be read", { retryAfterSeconds: 1 });
  }

  async #readOnce(vaultId: string): Promise<VaultSnapshot> {
    const { db } = this.#database;
    const vault = await this.#readVault(vaultId);
    const [stored, settings, networkRows, credentials] = await Promise.all([
      readServices(db, vaultId),
      readVaultSettings(db, vaultId),
      db
        .selectFrom("vault_settings")
        .select(["key", "value"])
        .where("vault_id", "=", vaultId)
        .where("key", "in", Object.values(networkSettingKeys))
        .execute(),
      db
        .selectFrom("credentials")
        .leftJoin("credential_oauth", "credential_oauth.credential_id", "credentials.id")
        .select(["id", "key", "type", "value_sealed", "revision", "token_url", "token_expires_at"])
        .select(["connected_at", "last_refreshed_at"])
        .select((on) => on("refresh_token_sealed", "is not", null).as("is_renewable"))
        .where("vault_id", "=", vaultId)
        .execute(),
    ]);
    const settingOf = new Map(networkRows.map((row) => [row.key, row.value]));
    const matcher = compileMatcher(stored.map(({ service }) => service));
    const renderer = new HeaderRenderer({
      credentials: new Map(credentials.map((row) => [row.key, sealedCredential(row)])),
      resolver: this.#resolver,
      clock: this.#clock,
    });
    return {
      vaultId,
      vaultName: vault.name,
      version: vault.version,
      ...settings,
      network: readVaultNetwork(settingOf),
      match: (target) => matcher.match(target),
      rawServiceFor: (host, port) => matcher.rawServiceFor(host, port),
      injectionFor: (service) => renderer.injectionFor(service),
      renewedInjection: (service, refused) => renderer.renewedInjection(service, refused),
    };
  }

  async #readVault(vaultId: string): Promise<{ readonly name: string; readonly version: number }> {
    const vault = await this.#database.db
      .selectFrom("vaults")
      .select(["name", "version"])
      .where("id", "=", vaultId)
      .executeTakeFirst();
    if (vault === undefined) throw new NotFound("vault_not_found", "The vault does not exist any more");
    return vault;
  }
}

interface CredentialRow {
  readonly id: string;
  readonly key: string;
  readonly type: string;
  readonly value_sealed: Uint8Array | null;
  readonly revision: string | null;
  readonly token_url: string | null;
  readonly token_expires_at: string | null;
  readonly connected_at: string | null;
  readonly last_refreshed_at: string | null;
  /** 0 or 1 on SQLite. */
  readonly is_renewable: unknown;
}

function sealedCredential(row: CredentialRow): SealedCredential {
  // The column holds what credential.ts writes.
  const credential = { id: row.id, key: row.key, type: row.type as CredentialType, sealed: row.value_sealed };
  const isRenewable = Boolean(row.is_renewable) && hasTokenEndpoint({ tokenUrl: row.token_url ?? "" });
  if (!isRenewable || row.revision === null) return credential;
  const { connected_at: connectedAt, last_refreshed_at: refreshedAt } = row;
  const isRefreshed = refreshedAt !== null && (connectedAt === null || refreshedAt > connectedAt);
  return {
    ...credential,
    oauth: {
      revision: row.revision,
      expiresAtMs: row.token_expires_at === null ? Number.POSITIVE_INFINITY : Date.parse(row.token_expires_at),
      refreshedAtMs: isRefreshed ? Date.parse(refreshedAt) : undefined,
    },
  };
}
