/** Services as rows: what the lists of people and the snapshots of the data plane are read from. */
import type { Kysely } from "kysely";
import { Corrupt, messageOf } from "../../errors.ts";
import type { Schema } from "../../storage/schema.ts";
import { cutPage, isBehind, keyAfter, mapPage, type Page, type PageRequest, rowsToRead } from "../page.ts";
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
  return (await inOrder(db, vaultId).execute()).map(toStored);
}

/** In stored order, page by page. @throws {Corrupt} when a definition does not parse. */
export async function readServicePage(
  db: Kysely<Schema>,
  vaultId: string,
  request: PageRequest | undefined,
): Promise<Page<StoredService>> {
  const key = keyAfter(request, "integer", "text");
  let query = inOrder(db, vaultId);
  if (key !== undefined) query = query.where(isBehind(["position", "id"], key));
  if (request !== undefined) query = query.limit(rowsToRead(request));
  const page = cutPage(await query.execute(), request, keyOfService);
  return mapPage(page, toStored);
}

/** For the cursor of a list of services. */
export function keyOfService({ position, id }: Pick<StoredService, "position" | "id">): readonly string[] {
  return [String(position), id];
}

/** Those of the names that are stored: a change of one service must not read and parse a thousand. */
export async function readNamedServices(
  db: Kysely<Schema>,
  vaultId: string,
  names: readonly string[],
): Promise<readonly StoredService[]> {
  const found: StoredService[] = [];
  for (let from = 0; from < names.length; from += namesPerStatement) {
    const some = names.slice(from, from + namesPerStatement);
    found.push(...(await inOrder(db, vaultId).where("name", "in", some).execute()).map(toStored));
  }
  return found;
}

const namesPerStatement = 1_000;

function inOrder(db: Kysely<Schema>, vaultId: string) {
  return db
    .selectFrom("services")
    .select(["id", "name", "position", "definition", "created_at"])
    .where("vault_id", "=", vaultId)
    .orderBy("position")
    .orderBy("id");
}

type Row = Awaited<ReturnType<ReturnType<typeof inOrder>["execute"]>>[number];

function toStored(row: Row): StoredService {
  return {
    id: row.id,
    position: row.position,
    createdAt: row.created_at,
    service: parseStored(row.name, row.definition),
  };
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
