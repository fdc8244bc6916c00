/** The vaults of many people or agents, in one statement. */
import type { Kysely } from "kysely";
import type { Schema } from "../../storage/schema.ts";
import type { VaultRole } from "./principal.ts";
import type { VaultGrant } from "./user.ts";

/** Beyond this, naming each one costs more than reading all; SQLite takes at most 32,766 parameters. */
const maxNamed = 1_000;

/** By id, the oldest grant first; nothing for an id without a grant. */
export async function grantsOf(
  db: Pick<Kysely<Schema>, "selectFrom">,
  kind: "user" | "agent",
  ids: readonly string[],
): Promise<ReadonlyMap<string, readonly VaultGrant[]>> {
  if (ids.length === 0) return new Map();
  const column = kind === "user" ? "vault_grants.user_id" : "vault_grants.agent_id";
  const all = db
    .selectFrom("vault_grants")
    .innerJoin("vaults", "vaults.id", "vault_grants.vault_id")
    .select([`${column} as actor_id`, "vaults.name", "vault_grants.role"])
    .orderBy("vault_grants.created_at")
    .orderBy("vault_grants.id");
  const rows = await (ids.length > maxNamed
    ? all.where(column, "is not", null)
    : all.where(column, "in", ids)
  ).execute();
  const byActor = Map.groupBy(rows, (row) => row.actor_id ?? "");
  return new Map(
    [...byActor].map(([id, grants]) => [
      id,
      // The column holds what the grant's parser let in.
      grants.map(({ name, role }) => ({ vaultName: name, vaultRole: role as VaultRole })),
    ]),
  );
}
