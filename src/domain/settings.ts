/** Instance settings that owners change while the server runs. */
import type { Transaction } from "kysely";
import { InvalidInput } from "../errors.ts";
import type { Changes } from "../storage/changes.ts";
import type { Database } from "../storage/database.ts";
import type { Schema } from "../storage/schema.ts";
import type { Actor } from "./actors/principal.ts";
import type { Audit } from "./audit/audit.ts";
import type { Clock } from "./clock.ts";
import type { LimitPayload } from "./limits/stored.ts";

export interface InstanceSettings {
  /** Lower-case; empty means any domain may register. */
  readonly allowedEmailDomains: readonly string[];
  /** Nobody registers without an invitation. */
  readonly isInviteOnly: boolean;
  /** As an owner stored it, already validated. */
  readonly rateLimit: LimitPayload | undefined;
}

export type SettingsPatch = Partial<InstanceSettings>;

const keys = {
  allowedEmailDomains: "allowed_email_domains",
  isInviteOnly: "invite_only",
  rateLimit: "ratelimit_config",
} as const;

export class Settings {
  readonly #database: Database;
  readonly #changes: Changes;
  readonly #clock: Clock;
  readonly #audit: Audit;

  constructor(options: {
    readonly database: Database;
    readonly changes: Changes;
    readonly clock: Clock;
    readonly audit: Audit;
  }) {
    this.#database = options.database;
    this.#changes = options.changes;
    this.#clock = options.clock;
    this.#audit = options.audit;
  }

  read(): Promise<InstanceSettings> {
    return this.#read(this.#database.db);
  }

  async #read(db: Pick<Transaction<Schema>, "selectFrom">): Promise<InstanceSettings> {
    const rows = await db
      .selectFrom("instance_settings")
      .select(["key", "value"])
      .where("key", "in", Object.values(keys))
      .execute();
    const stored = new Map(rows.map((row) => [row.key, JSON.parse(row.value) as unknown]));
    return {
      // Only `write` fills these rows, with the types of InstanceSettings.
      allowedEmailDomains: (stored.get(keys.allowedEmailDomains) ?? []) as string[],
      isInviteOnly: stored.get(keys.isInviteOnly) === true,
      rateLimit: stored.get(keys.rateLimit) as LimitPayload | undefined,
    };
  }

  /** Writes what is present in `patch`, all of it or nothing. */
  async write(by: Actor, patch: SettingsPatch): Promise<void> {
    const now = new Date(this.#clock.now()).toISOString();
    await this.#changes.transaction(async (tx, announce) => {
      const stored = await this.#read(tx);
      const before: Record<string, unknown> = {};
      const after: Record<string, unknown> = {};
      for (const [name, key] of Object.entries(keys)) {
        const value = patch[name as keyof typeof keys];
        if (value === undefined) continue;
        before[key] = stored[name as keyof typeof keys];
        after[key] = value;
        await tx
          .insertInto("instance_settings")
          .values({ key, value: JSON.stringify(value), updated_at: now })
          .onConflict((conflict) =>
            conflict.column("key").doUpdateSet({ value: JSON.stringify(value), updated_at: now }),
          )
          .execute();
      }
      announce({ kind: "settings" });
      if (Object.keys(after).length === 0) return;
      this.#audit.record(tx, by, { action: "settings.change", target: { type: "settings", id: "" }, before, after });
    });
  }
}

/**
 * Lower-cases, trims, drops empties and repetitions.
 * @throws {InvalidInput} `invalid_domain` for what cannot be a mail domain.
 */
export function parseEmailDomains(domains: readonly string[]): readonly string[] {
  const clean = new Set<string>();
  for (const domain of domains) {
    const name = domain.trim().toLowerCase();
    if (name === "") continue;
    if (!name.includes(".") || /[\s@]/.test(name)) {
      throw new InvalidInput("invalid_domain", `"${name}" is not a domain like example.com`);
    }
    clean.add(name);
  }
  return [...clean];
}
