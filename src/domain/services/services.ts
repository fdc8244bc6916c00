/** The services of a vault, as stored: read, add, replace, switch, remove. Every change is one transaction. */
import { createHash } from "node:crypto";
import type { Transaction } from "kysely";
import { uuidv7 } from "../../crypto/token.ts";
import { Conflict, InvalidInput, NotFound, PreconditionFailed } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { Principal } from "../actors/principal.ts";
import type { Audit } from "../audit/audit.ts";
import { quote } from "../input.ts";
import { cutPage, mapPage, type Page, type PageRequest } from "../page.ts";
import type { VaultWriter } from "../vaults/vault-writer.ts";
import { auditForm } from "./audit-form.ts";
import { formatService, parseServices, referencedKeys, refuseDescriptions } from "./definition.ts";
import { formatPattern, isSamePattern } from "./pattern.ts";
import type { CredentialKey, Pattern, Service } from "./service.ts";
import { keyOfService, readNamedServices, readServicePage, readServices, type StoredService } from "./service-store.ts";

export interface ServicesOptions {
  readonly database: Database;
  readonly writer: VaultWriter;
  readonly audit: Audit;
  /** AGENT_VAULT_DEV_MODE. */
  readonly allowsInternalNames: boolean;
}

export interface Upserted {
  /** In the order of the request. */
  readonly names: readonly string[];
  /** Services in the vault afterwards. */
  readonly count: number;
}

/** More than a vault can have. */
const allRows = 1_000_000_000;
/** Rows per INSERT: within the number of parameters that both engines allow. */
const rowsPerInsert = 500;

export class Services {
  readonly #options: ServicesOptions;

  constructor(options: ServicesOptions) {
    this.#options = options;
  }

  /** In stored order, which breaks ties in matching. */
  async list(vaultId: string): Promise<readonly Service[]> {
    return (await readServices(this.#options.database.db, vaultId)).map(({ service }) => service);
  }

  /** As `list`, page by page. */
  async page(vaultId: string, request?: PageRequest): Promise<Page<Service>> {
    return mapPage(await readServicePage(this.#options.database.db, vaultId, request), ({ service }) => service);
  }

  /** Services whose auth or substitutions name a credential, disabled ones included, in stored order. */
  async referencing(vaultId: string, key: CredentialKey, request?: PageRequest): Promise<Page<Service>> {
    // Which credentials a service names stands in its definition, so those behind the cursor are read to the end.
    const rest = await readServicePage(this.#options.database.db, vaultId, request && { ...request, limit: allRows });
    const naming = rest.items.filter(({ service }) => referencedKeys(service).includes(key));
    return mapPage(cutPage(naming, request, keyOfService), ({ service }) => service);
  }

  /**
   * Adds services, or replaces those of the same name in place. An entry without a name adopts that of the only service
   * with the same host, path and port; a given name is never changed.
   * @throws {InvalidInput} `invalid_service`.
   */
  async upsert(by: Principal, vaultId: string, entries: readonly unknown[]): Promise<Upserted> {
    refuseDescriptions(entries);
    return this.#options.writer.change(vaultId, async ({ tx, now }) => {
      const incoming = await this.#parseUpsert(tx, vaultId, entries);
      const names = incoming.map(({ name }) => name);
      const stored = new Map((await readNamedServices(tx, vaultId, names)).map((row) => [row.service.name, row]));
      const { count, last } = await sizeOf(tx, vaultId);
      let next = last + 1;
      const rows = incoming.map((service) => {
        const replaces = stored.get(service.name);
        return { id: replaces?.id ?? uuidv7(), service, position: replaces?.position ?? next++, replaces };
      });
      await insertServices(tx, vaultId, rows, now);
      for (const { id, service, replaces } of rows) {
        this.#recordSet(tx, by, { vaultId, id, before: replaces?.service, after: service });
      }
      return { names, count: count + incoming.length - stored.size };
    });
  }

  /** The other services are read only for an entry without a name, which may adopt one of theirs. */
  async #parseUpsert(
    tx: Transaction<Schema>,
    vaultId: string,
    entries: readonly unknown[],
  ): Promise<readonly Service[]> {
    let isNameMissing = false;
    try {
      return this.#parse(entries, () => {
        isNameMissing = true;
        return undefined;
      });
    } catch (error) {
      if (!isNameMissing) throw error;
    }
    const stored = await readServices(tx, vaultId);
    return this.#parse(entries, (pattern) => adoptedName(stored, pattern));
  }

  /**
   * Replaces the whole list.
   * @param expected tags of the list that the caller is ready to replace; undefined for whatever is there.
   * @returns how many services there are now.
   * @throws {InvalidInput} `invalid_service`. @throws {PreconditionFailed} `services_changed`.
   */
  async replace(
    by: Principal,
    vaultId: string,
    entries: readonly unknown[],
    expected?: readonly string[],
  ): Promise<number> {
    const incoming = this.#parse(entries);
    await this.#options.writer.change(vaultId, async ({ tx, now }) => {
      const stored = await readServices(tx, vaultId);
      if (expected?.includes(tagOf(stored.map(({ service }) => service))) === false) throw listChanged();
      const byName = new Map(stored.map((row) => [row.service.name, row]));
      await tx.deleteFrom("services").where("vault_id", "=", vaultId).execute();
      const rows = incoming.map((service, position) => {
        const replaces = byName.get(service.name);
        return { id: replaces?.id ?? uuidv7(), service, position, replaces };
      });
      await insertServices(tx, vaultId, rows, now);
      this.#recordReplaced(tx, by, { vaultId, stored, rows });
    });
    return incoming.length;
  }

  /** @throws {NotFound} @throws {Conflict} when the reference fits several services. */
  async setEnabled(
    by: Principal,
    vaultId: string,
    reference: string,
    { isEnabled }: { readonly isEnabled: boolean },
  ): Promise<Service> {
    return this.#options.writer.change(vaultId, async ({ tx, now }) => {
      const { id, service } = await resolveReference(tx, vaultId, reference);
      const changed = { ...service, enabled: isEnabled };
      await updateDefinition(tx, id, changed, now);
      this.#options.audit.record(tx, by, {
        action: isEnabled ? "service.enable" : "service.disable",
        target: { type: "service", id, name: service.name },
        vaultId,
        before: { enabled: service.enabled ?? true },
        after: { enabled: isEnabled },
      });
      return changed;
    });
  }

  /** @throws {NotFound} @throws {Conflict} when the reference fits several services. */
  async remove(
    by: Principal,
    vaultId: string,
    reference: string,
  ): Promise<{ readonly removed: Service; readonly count: number }> {
    return this.#options.writer.change(vaultId, async ({ tx }) => {
      const { id, service } = await resolveReference(tx, vaultId, reference);
      await tx.deleteFrom("services").where("id", "=", id).execute();
      this.#recordRemoved(tx, by, { vaultId, id, service });
      return { removed: service, count: (await sizeOf(tx, vaultId)).count };
    });
  }

  async clear(by: Principal, vaultId: string): Promise<void> {
    await this.#options.writer.change(vaultId, async ({ tx }) => {
      const stored = await readServices(tx, vaultId);
      await tx.deleteFrom("services").where("vault_id", "=", vaultId).execute();
      for (const { id, service } of stored) this.#recordRemoved(tx, by, { vaultId, id, service });
    });
  }

  /** An entry for each service that differs afterwards, and one for the order where that is all that changed. */
  #recordReplaced(tx: Transaction<Schema>, by: Principal, { vaultId, stored, rows }: Replacement): void {
    const kept = new Set(rows.map(({ id }) => id));
    for (const { id, service } of stored) if (!kept.has(id)) this.#recordRemoved(tx, by, { vaultId, id, service });
    for (const { id, service, replaces } of rows) {
      this.#recordSet(tx, by, { vaultId, id, before: replaces?.service, after: service });
    }
    const before = stored.filter(({ id }) => kept.has(id)).map(({ service }) => service.name);
    const after = rows.filter(({ replaces }) => replaces !== undefined).map(({ service }) => service.name);
    if (before.join() === after.join()) return;
    const target = { type: "vault", id: vaultId };
    this.#options.audit.record(tx, by, { action: "service.reorder", target, vaultId, before, after });
  }

  #recordSet(
    tx: Transaction<Schema>,
    by: Principal,
    { vaultId, id, before, after }: { vaultId: string; id: string; before: Service | undefined; after: Service },
  ): void {
    if (before !== undefined && isSame(before, after)) return;
    this.#options.audit.record(tx, by, {
      action: "service.set",
      target: { type: "service", id, name: after.name },
      vaultId,
      before: before && auditForm(before),
      after: auditForm(after),
    });
  }

  #recordRemoved(
    tx: Transaction<Schema>,
    by: Principal,
    { vaultId, id, service }: { vaultId: string; id: string; service: Service },
  ): void {
    this.#options.audit.record(tx, by, {
      action: "service.remove",
      target: { type: "service", id, name: service.name },
      vaultId,
      before: auditForm(service),
    });
  }

  #parse(entries: readonly unknown[], adoptName?: (pattern: Pattern) => string | undefined): readonly Service[] {
    const { allowsInternalNames } = this.#options;
    refuseDescriptions(entries);
    try {
      return parseServices(entries, { allowsInternalNames, ...(adoptName && { adoptName }) });
    } catch (error) {
      if (!(error instanceof InvalidInput)) throw error;
      throw new InvalidInput(error.code, `Invalid services: ${error.message}`);
    }
  }
}

/** Changes whenever the list does: an entity tag without its quotes (RFC 9110, section 8.8.3). */
export function tagOf(services: readonly Service[]): string {
  return tagOfWire(services.map(formatService));
}

/** As `tagOf`, of services in their wire form. */
export function tagOfWire(services: readonly object[]): string {
  return createHash("sha256").update(JSON.stringify(services)).digest("hex").slice(0, 32);
}

/** By exact name, else by bare host, else by the joined form of the pattern. */
async function resolveReference(tx: Transaction<Schema>, vaultId: string, reference: string): Promise<StoredService> {
  const [named] = await readNamedServices(tx, vaultId, [reference]);
  if (named !== undefined) return named;
  const stored = await readServices(tx, vaultId);
  const wanted = reference.trim().toLowerCase();
  const byHost = stored.filter(({ service }) => service.pattern.host === wanted);
  const found =
    byHost.length > 0 ? byHost : stored.filter(({ service }) => formatPattern(service.pattern) === reference);
  const [only, ...others] = found;
  if (only === undefined) throw new NotFound("service_not_found", `Service not found for ${quote(reference)}`);
  if (others.length === 0) return only;
  const candidates = found.map(({ service }) => ({ name: service.name, host: formatPattern(service.pattern) }));
  throw new Conflict(
    "ambiguous_service",
    `multiple services match host ${quote(reference)} — retry with a service name`,
    {
      details: { candidates },
    },
  );
}

function adoptedName(stored: readonly StoredService[], pattern: Pattern): string | undefined {
  const same = stored.filter(({ service }) => isSamePattern(service.pattern, pattern));
  return same.length === 1 ? same[0]?.service.name : undefined;
}

/** Writes a changed service in place. */
export async function updateDefinition(
  tx: Transaction<Schema>,
  id: string,
  service: Service,
  now: string,
): Promise<void> {
  const definition = JSON.stringify(formatService(service));
  await tx.updateTable("services").set({ definition, updated_at: now }).where("id", "=", id).execute();
}

function isSame(one: Service, other: Service): boolean {
  return JSON.stringify(formatService(one)) === JSON.stringify(formatService(other));
}

interface Replacement {
  readonly vaultId: string;
  readonly stored: readonly StoredService[];
  readonly rows: readonly NewRow[];
}

export interface NewRow {
  readonly id: string;
  readonly service: Service;
  readonly position: number;
  /** The row whose identity (`id` is its id then) and age it takes over. */
  readonly replaces?: StoredService | undefined;
}

/** How many services there are, and the position of the last one; -1 when there is none. */
async function sizeOf(
  tx: Transaction<Schema>,
  vaultId: string,
): Promise<{ readonly count: number; readonly last: number }> {
  const row = await tx
    .selectFrom("services")
    .select((of) => [of.fn.countAll<number | string>().as("count"), of.fn.max("position").as("last")])
    .where("vault_id", "=", vaultId)
    .executeTakeFirstOrThrow();
  // `max` of no rows is null, whatever the types say.
  return { count: Number(row.count), last: Number(row.last ?? -1) };
}

/** Adds services at the positions that the caller chose. Rows of a name that is there keep their place, identity and age. */
export async function insertServices(
  tx: Transaction<Schema>,
  vaultId: string,
  rows: readonly NewRow[],
  now: string,
): Promise<void> {
  for (let from = 0; from < rows.length; from += rowsPerInsert) {
    const values = rows.slice(from, from + rowsPerInsert).map(({ id, service, position, replaces }) => ({
      id,
      vault_id: vaultId,
      name: service.name,
      position,
      definition: JSON.stringify(formatService(service)),
      created_at: replaces?.createdAt ?? now,
      updated_at: now,
    }));
    await tx
      .insertInto("services")
      .values(values)
      .onConflict((conflict) =>
        conflict
          .columns(["vault_id", "name"])
          .doUpdateSet((row) => ({ definition: row.ref("excluded.definition"), updated_at: now })),
      )
      .execute();
  }
}

function listChanged(): PreconditionFailed {
  return new PreconditionFailed(
    "services_changed",
    "The services changed since they were read; read them again and retry",
  );
}
