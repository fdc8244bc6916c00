/** How long the journal is kept (spec of the API, section 10.2). */
import { sql } from "kysely";
import { messageOf } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Database } from "../storage/database.ts";
import type { Clock } from "./clock.ts";
import { maxDiscoveredHosts } from "./discovery.ts";
import { contextLifeMs } from "./journal-contexts.ts";

/** Both apply; 0 switches one off. */
export interface RetentionLimits {
  readonly maxAgeHours: number;
  readonly maxRowsPerVault: number;
}

/** What the environment says; undefined where it says nothing. */
export interface RetentionConfig {
  readonly maxAgeHours: number | undefined;
  readonly maxRowsPerVault: number | undefined;
  /** The stored setting is not looked at. */
  readonly isLocked: boolean;
}

const defaults: RetentionLimits = { maxAgeHours: 168, maxRowsPerVault: 10_000 };
const everyMs = 15 * 60_000;
/** Rows per DELETE, so that no writer waits long for one. */
const chunkRows = 1_000;
/** The row of `instance_settings`; no route edits it. */
const settingKey = "logs_retention";

export interface RetentionOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly config: RetentionConfig;
}

/** Prunes at the start and every 15 minutes. */
export class JournalRetention {
  readonly #options: RetentionOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#running = this.#prune();
    this.#timer = setInterval(() => {
      this.#running = this.#running.then(() => this.#prune());
    }, everyMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  async #prune(): Promise<void> {
    const { database, clock, log, config } = this.#options;
    try {
      const removed = await pruneJournal(database, await retentionLimits(database, config), clock.now());
      if (removed > 0) log.debug("journal pruned", { rows: removed });
    } catch (error) {
      log.warn("journal could not be pruned", { error: messageOf(error) });
    }
  }
}

/** The environment beats the stored setting, which beats the default. */
export async function retentionLimits(database: Database, config: RetentionConfig): Promise<RetentionLimits> {
  const stored = config.isLocked ? {} : await readSetting(database);
  return {
    maxAgeHours: config.maxAgeHours ?? stored.max_age_hours ?? defaults.maxAgeHours,
    maxRowsPerVault: config.maxRowsPerVault ?? stored.max_rows_per_vault ?? defaults.maxRowsPerVault,
  };
}

/**
 * Deletes what the limits do not keep, and discovered hosts beyond the newest 500 of a vault.
 * @returns how many journal rows were deleted.
 */
export async function pruneJournal(database: Database, limits: RetentionLimits, nowMs: number): Promise<number> {
  let removed = 0;
  const cutoff = new Date(nowMs - limits.maxAgeHours * 3_600_000).toISOString();
  if (limits.maxAgeHours > 0) removed += await deleteOlder(database, cutoff);
  const vaults = await database.db.selectFrom("vaults").select("id").execute();
  const live = new Set(vaults.map(({ id }) => id));
  // A request may end after its vault did.
  for (const id of await vaultsIn(database)) {
    if (!live.has(id)) removed += await deleteBeyond(database, id, 0);
    else if (limits.maxRowsPerVault > 0) removed += await deleteBeyond(database, id, limits.maxRowsPerVault);
    await breathe();
  }
  await pruneContexts(database, nowMs);
  await pruneDiscovered(database, limits.maxAgeHours > 0 ? cutoff : "");
  return removed;
}

/** By jumping from one vault to the next in the index: `distinct` would walk over every row. */
async function vaultsIn({ db }: Database): Promise<readonly string[]> {
  const { rows } = await sql<{ vault_id: string }>`
    with recursive seen (vault_id) as (
      select min(vault_id) from request_entries
      union all
      select (select min(vault_id) from request_entries where vault_id > seen.vault_id)
      from seen where seen.vault_id is not null
    )
    select vault_id from seen where vault_id is not null
  `.execute(db);
  return rows.map((row) => row.vault_id);
}

/**
 * Rows are written in the order in which requests end, so the first young row bounds the old ones: that needs no index
 * on the time, which every row would pay for. Old rows behind it (requests that took days) go with their neighbours.
 */
async function deleteOlder(database: Database, cutoff: string): Promise<number> {
  const { db } = database;
  const young = await db
    .selectFrom("request_entries")
    .select("id")
    .where("created_at", ">=", cutoff)
    .orderBy("id")
    .limit(1)
    .executeTakeFirst();
  return inChunks(async () => {
    const all = db.selectFrom("request_entries").select("id").orderBy("id").limit(chunkRows);
    const oldest = young === undefined ? all : all.where("id", "<", young.id);
    return db.deleteFrom("request_entries").where("id", "in", oldest).executeTakeFirst();
  });
}

async function deleteBeyond(database: Database, vaultId: string, keep: number): Promise<number> {
  const first = await database.db
    .selectFrom("request_entries")
    .select("id")
    .where("vault_id", "=", vaultId)
    .orderBy("id", "desc")
    .offset(keep)
    .limit(1)
    .executeTakeFirst();
  if (first === undefined) return 0;
  return inChunks(async () => {
    const surplus = database.db
      .selectFrom("request_entries")
      .select("id")
      .where("vault_id", "=", vaultId)
      .where("id", "<=", first.id)
      .limit(chunkRows);
    return database.db.deleteFrom("request_entries").where("id", "in", surplus).executeTakeFirst();
  });
}

/**
 * Contexts are written anew every few hours, so one that is older than the oldest entry by more than that, and by a day
 * for clocks that disagree, is named by none that is left.
 */
async function pruneContexts({ db }: Database, nowMs: number): Promise<void> {
  const oldest = await db.selectFrom("request_entries").select("created_at").orderBy("id").limit(1).executeTakeFirst();
  const neededMs = Math.min(nowMs, oldest === undefined ? nowMs : Date.parse(oldest.created_at));
  const cutoff = new Date(neededMs - contextLifeMs - 24 * 3_600_000).toISOString();
  await db.deleteFrom("request_contexts").where("created_at", "<", cutoff).execute();
}

async function pruneDiscovered({ db }: Database, cutoff: string): Promise<void> {
  if (cutoff !== "") await db.deleteFrom("discovered_hosts").where("last_seen", "<", cutoff).execute();
  const crowded = await db
    .selectFrom("discovered_hosts")
    .select("vault_id")
    .groupBy("vault_id")
    .having((of) => of(of.fn.countAll(), ">", maxDiscoveredHosts))
    .execute();
  for (const { vault_id } of crowded) {
    const kept = db
      .selectFrom("discovered_hosts")
      .select("host")
      .where("vault_id", "=", vault_id)
      .orderBy("last_seen", "desc")
      .limit(maxDiscoveredHosts);
    await db.deleteFrom("discovered_hosts").where("vault_id", "=", vault_id).where("host", "not in", kept).execute();
    await breathe();
  }
}

/** SQLite answers at once, so that only this lets anybody else have a turn. */
function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Repeats until nothing is left, with the event loop free in between. */
async function inChunks(remove: () => Promise<{ readonly numDeletedRows: bigint }>): Promise<number> {
  let removed = 0;
  for (;;) {
    const { numDeletedRows } = await remove();
    if (numDeletedRows === 0n) return removed;
    removed += Number(numDeletedRows);
    await breathe();
  }
}

async function readSetting(database: Database): Promise<{ max_age_hours?: number; max_rows_per_vault?: number }> {
  const row = await database.db
    .selectFrom("instance_settings")
    .select("value")
    .where("key", "=", settingKey)
    .executeTakeFirst();
  // Only an operator writes this row; what is not a number of the right kind is as if it were not there.
  const stored: unknown = row === undefined ? {} : JSON.parse(row.value);
  const limits = typeof stored === "object" && stored !== null ? stored : {};
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => typeof value === "number" && value >= 0));
}
