import { Keyring } from "../../src/crypto/keyring.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { Access } from "../../src/domain/actors/access.ts";
import type { Actor } from "../../src/domain/actors/principal.ts";
import { Audit } from "../../src/domain/audit/audit.ts";
import { Credentials } from "../../src/domain/credentials/credential.ts";
import { OAuthConnections } from "../../src/domain/credentials/oauth-connections.ts";
import { OAuthRefresher } from "../../src/domain/credentials/oauth-refresh.ts";
import { CredentialResolver } from "../../src/domain/credentials/resolve.ts";
import { TokenEndpoint } from "../../src/domain/credentials/token-endpoint.ts";
import { CredentialUsage } from "../../src/domain/credentials/usage.ts";
import { Services } from "../../src/domain/services/services.ts";
import { Snapshots } from "../../src/domain/vaults/snapshots.ts";
import { Vaults } from "../../src/domain/vaults/vault.ts";
import { VaultSettingsStore } from "../../src/domain/vaults/vault-settings.ts";
import { VaultWriter } from "../../src/domain/vaults/vault-writer.ts";
import { type Logger, silentLogger } from "../../src/log.ts";
import { Outbound } from "../../src/net/outbound.ts";
import { NetworkPolicy } from "../../src/net/policy.ts";
import { UpstreamTrust } from "../../src/net/trust.ts";
import { Changes } from "../../src/storage/changes.ts";
import type { Database } from "../../src/storage/database.ts";
import { ManualClock } from "./api-server.ts";

/** The default vault, which exists from the start. */
export const defaultVaultId = "00000000-0000-0000-0000-000000000000";

/** Everything of the domain that is about what is in a vault, over a real database and real keys. */
export interface VaultWorld {
  readonly database: Database;
  readonly changes: Changes;
  readonly clock: ManualClock;
  readonly vaults: Vaults;
  readonly vaultSettings: VaultSettingsStore;
  readonly services: Services;
  readonly credentials: Credentials;
  readonly snapshots: Snapshots;
  readonly oauth: OAuthConnections;
  readonly refresher: OAuthRefresher;
  readonly usage: CredentialUsage;
  /** An instance owner, stored. */
  readonly owner: Actor;
}

export interface WorldOptions {
  /** Shared by instances on one database. */
  readonly keyring?: Keyring;
  readonly clock?: ManualClock;
  readonly outbound?: Outbound;
  readonly log?: Logger;
  /** Of an instance whose owner is stored already. */
  readonly owner?: Actor;
  readonly extendEveryMs?: number;
  readonly tokenCallLimits?: { readonly timeoutMs: number; readonly maxBytes: number };
}

export function makeKeyring(): Promise<Keyring> {
  return Keyring.open([{ number: 1, raw: crypto.getRandomValues(new Uint8Array(32)) }]);
}

export async function buildVaultWorld(database: Database, options: WorldOptions = {}): Promise<VaultWorld> {
  const clock = options.clock ?? new ManualClock();
  const log = options.log ?? silentLogger;
  const changes = new Changes(database, silentLogger);
  const keyring = options.keyring ?? (await makeKeyring());
  const writer = new VaultWriter({ database, changes, clock });
  const tokenEndpoint = new TokenEndpoint({
    outbound: options.outbound ?? closedOutbound(),
    ...(options.tokenCallLimits && { limits: options.tokenCallLimits }),
  });
  const refresher = new OAuthRefresher({
    database,
    keyring,
    writer,
    tokenEndpoint,
    clock,
    log,
    ...(options.extendEveryMs !== undefined && { extendEveryMs: options.extendEveryMs }),
  });
  const usage = new CredentialUsage({ database, clock, log });
  const resolver = new CredentialResolver({ keyring, clock, refresher, onUse: (id) => usage.note(id) });
  const access = new Access({ database });
  const baseUrl = "https://vault.example.com";
  const audit = new Audit({ changes, clock });
  return {
    database,
    changes,
    clock,
    vaults: new Vaults({ database, changes, clock, writer, audit }),
    vaultSettings: new VaultSettingsStore({ database, writer, audit }),
    services: new Services({ database, writer, audit, allowsInternalNames: false }),
    credentials: new Credentials({ database, changes, keyring, writer, audit }),
    snapshots: new Snapshots({ database, changes, resolver, clock }),
    oauth: new OAuthConnections({ database, keyring, writer, audit, access, tokenEndpoint, clock, log, baseUrl }),
    refresher,
    usage,
    owner: options.owner ?? (await storeOwner(database)),
  };
}

/** A way out that leads nowhere inside. */
export function closedOutbound(): Outbound {
  return new Outbound({
    policy: new NetworkPolicy({ allowPrivateRanges: false, allowlist: [] }),
    trust: new UpstreamTrust({ extraFiles: [], replacementFile: undefined, replacementDirectories: [] }).context,
  });
}

/** Sets credentials from plain texts. */
export async function setCredentials(
  { credentials, owner }: VaultWorld,
  values: Record<string, string>,
): Promise<void> {
  const secrets = Object.entries(values).map(([key, value]): [string, Secret] => [key, new Secret(value)]);
  await credentials.set(owner, defaultVaultId, new Map(secrets));
}

async function storeOwner({ db }: Database): Promise<Actor> {
  const now = new Date().toISOString();
  const id = crypto.randomUUID();
  const nothing = new Uint8Array(16);
  await db
    .insertInto("users")
    .values({
      id,
      email: "owner@example.com",
      password_hash: nothing,
      password_salt: nothing,
      kdf_time: 3,
      kdf_memory: 65_536,
      kdf_threads: 4,
      role: "owner",
      is_active: 1,
      created_at: now,
      updated_at: now,
    })
    .execute();
  return { kind: "user", id, email: "owner@example.com", role: "owner", sessionId: "s", clientIp: "" };
}
