import { Keyring } from "../../src/crypto/keyring.ts";
import { Secret } from "../../src/crypto/secret.ts";
import type { Actor } from "../../src/domain/actors/principal.ts";
import { Audit } from "../../src/domain/audit/audit.ts";
import { Credentials } from "../../src/domain/credentials/credential.ts";
import { Services } from "../../src/domain/services/services.ts";
import { Snapshots } from "../../src/domain/vaults/snapshots.ts";
import { Vaults } from "../../src/domain/vaults/vault.ts";
import { VaultWriter } from "../../src/domain/vaults/vault-writer.ts";
import { silentLogger } from "../../src/log.ts";
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
  readonly services: Services;
  readonly credentials: Credentials;
  readonly snapshots: Snapshots;
  /** An instance owner, stored. */
  readonly owner: Actor;
}

export async function buildVaultWorld(database: Database): Promise<VaultWorld> {
  const clock = new ManualClock();
  const changes = new Changes(database, silentLogger);
  const keyring = await Keyring.open([{ number: 1, raw: crypto.getRandomValues(new Uint8Array(32)) }]);
  const writer = new VaultWriter({ database, changes, clock });
  const audit = new Audit({ changes, clock });
  return {
    database,
    changes,
    clock,
    vaults: new Vaults({ database, changes, clock, writer, audit }),
    services: new Services({ database, writer, audit, allowsInternalNames: false }),
    credentials: new Credentials({ database, changes, keyring, writer, audit }),
    snapshots: new Snapshots({ database, changes, keyring, clock }),
    owner: await storeOwner(database),
  };
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
