/** Services as rows: what the lists of people and the snapshots of the data plane are read from. */
import type { Kysely } from "kysely";
import { Corrupt, messageOf } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import { parseService } from "./definition.ts";
import type { Service } from "./service.ts";

export interface StoredService {
  readonly id: string;
  readonly position: number;
  readonly createdAt: string;
  readonly service: Service;
}

/** In stored order. @throws {Corrupt} when a definition does not parse. */
export async function readServices(db: Kysely<Schema>, vaultId: string): Promise<readonly StoredService[]> {
  const rows = await db
    .selectFrom("services")
    .select(["id", "name", "position", "definition", "created_at"])
    .where("vault_id", "=", vaultId)
    .orderBy("position")
    .orderBy("id")
    .execute();
  return rows.map((row) => ({
    id: row.id,
    position: row.position,
    createdAt: row.created_at,
    service: parseStored(row.name, row.definition),
  }));
}

function parseStored(name: string, definition: string): Service {
  try {
    // Whether internal names are allowed was decided when the service was written.
    return parseService(JSON.parse(definition), { allowsInternalNames: true });
  } catch (error) {
    throw new Corrupt("service_unreadable", `Service "${name}" cannot be read from the database`, {
      cause: messageOf(error),
    });
  }
}
