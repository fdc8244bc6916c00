/** The values that a static credential had: the newest ten, sealed, each bound to its number. */
import type { Transaction } from "kysely";
import type { Keyring, RecordKey } from "../../crypto/keyring.ts";
import { Secret } from "../../crypto/secret.ts";
import { NotFound } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { ActorRef } from "../actors/principal.ts";
import type { CredentialKey } from "../services/service.ts";

export interface CredentialVersion {
  readonly version: number;
  readonly createdAt: string;
  /** Undefined when it is not known, or the actor is gone. */
  readonly createdBy: { readonly type: "user" | "agent"; readonly name: string } | undefined;
  readonly isCurrent: boolean;
}

/** A value that was replaced because it leaked is not worth keeping for ever. */
const keptVersions = 10;

export class CredentialVersions {
  readonly #keyring: Keyring;

  constructor(options: { readonly keyring: Keyring }) {
    this.#keyring = options.keyring;
  }

  /** Writes down a value that has just become the current one, and forgets the oldest. */
  async record(
    tx: Transaction<Schema>,
    entry: {
      readonly id: string;
      readonly version: number;
      readonly value: Secret;
      readonly by: ActorRef | undefined;
      readonly now: string;
    },
  ): Promise<void> {
    const { id, version, value, by, now } = entry;
    const sealed = await this.#keyring.seal(versionRecord(id, version), value.reveal());
    await tx
      .insertInto("credential_versions")
      .values({
        credential_id: id,
        version,
        value_sealed: sealed,
        created_by_type: by?.type ?? null,
        created_by_id: by?.id ?? null,
        created_at: now,
      })
      .execute();
    await tx
      .deleteFrom("credential_versions")
      .where("credential_id", "=", id)
      .where("version", "<=", version - keptVersions)
      .execute();
  }

  /** @throws {NotFound} `credential_version_not_found`. @throws {Corrupt} when it does not open. */
  async open(tx: Transaction<Schema>, id: string, key: CredentialKey, version: number): Promise<Secret> {
    const row = await tx
      .selectFrom("credential_versions")
      .select("value_sealed")
      .where("credential_id", "=", id)
      .where("version", "=", version)
      .executeTakeFirst();
    if (row === undefined || row.value_sealed === null) {
      throw new NotFound("credential_version_not_found", `Credential "${key}" has no version ${version} that is kept`, {
        hint: `agent-vault vault credential versions ${key}`,
      });
    }
    return new Secret(await this.#keyring.unsealText(versionRecord(id, version), row.value_sealed));
  }
}

/** The versions of a credential, the newest first. @param current the number of the value in use. */
export async function listVersions(
  { db }: Database,
  id: string,
  current: number | undefined,
): Promise<readonly CredentialVersion[]> {
  const rows = await db
    .selectFrom("credential_versions")
    .leftJoin("users", (join) =>
      join
        .onRef("users.id", "=", "credential_versions.created_by_id")
        .on("credential_versions.created_by_type", "=", "user"),
    )
    .leftJoin("agents", (join) =>
      join
        .onRef("agents.id", "=", "credential_versions.created_by_id")
        .on("credential_versions.created_by_type", "=", "agent"),
    )
    .select(["credential_versions.version", "credential_versions.created_at", "users.email", "agents.name"])
    .where("credential_id", "=", id)
    .orderBy("version", "desc")
    .execute();
  return rows.map(({ version, created_at, email, name }) => ({
    version,
    createdAt: created_at,
    createdBy: email !== null ? { type: "user", name: email } : name !== null ? { type: "agent", name } : undefined,
    isCurrent: version === current,
  }));
}

function versionRecord(id: string, version: number): RecordKey {
  return ["credential_versions", `${id}/${version}`, "value"];
}
