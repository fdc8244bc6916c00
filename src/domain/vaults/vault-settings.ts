/** What a vault does with hosts that no service covers, and with answers that hold a credential. */
import type { Kysely } from "kysely";
import { InvalidInput } from "../../errors.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { VaultRef } from "../actors/access.ts";
import type { Principal } from "../actors/principal.ts";
import type { Audit } from "../audit/audit.ts";
import { quote } from "../input.ts";
import { type ScrubMode, scrubModes } from "../services/service.ts";
import type { VaultWriter } from "./vault-writer.ts";

/** What happens to a request for a host that no service covers. */
export type UnmatchedHostPolicy = "passthrough" | "deny";

export interface VaultSettings {
  readonly unmatchedHostPolicy: UnmatchedHostPolicy;
  /** For services that do not say it themselves. */
  readonly scrubMode: ScrubMode;
}

/** The rows of `vault_settings`. */
const keys = { unmatchedHostPolicy: "unmatched_host_policy", scrubMode: "scrub" } as const;

/** A stored value that is absent or unknown means the default (spec of the API, section 11). */
export async function readVaultSettings(db: Kysely<Schema>, vaultId: string): Promise<VaultSettings> {
  const rows = await db
    .selectFrom("vault_settings")
    .select(["key", "value"])
    .where("vault_id", "=", vaultId)
    .where("key", "in", Object.values(keys))
    .execute();
  const stored = new Map(rows.map((row) => [row.key, row.value]));
  return {
    unmatchedHostPolicy: stored.get(keys.unmatchedHostPolicy) === "deny" ? "deny" : "passthrough",
    scrubMode: scrubModes.find((mode) => mode === stored.get(keys.scrubMode)) ?? "redact",
  };
}

export class VaultSettingsStore {
  readonly #database: Database;
  readonly #writer: VaultWriter;
  readonly #audit: Audit;

  constructor(options: { readonly database: Database; readonly writer: VaultWriter; readonly audit: Audit }) {
    this.#database = options.database;
    this.#writer = options.writer;
    this.#audit = options.audit;
  }

  async read(vaultId: string): Promise<VaultSettings> {
    return await readVaultSettings(this.#database.db, vaultId);
  }

  /** Writes what is present in `patch`, all of it or nothing. */
  async write(by: Principal, vault: VaultRef, patch: Partial<VaultSettings>): Promise<void> {
    const vaultId = vault.id;
    const rows = Object.entries(keys).flatMap(([name, key]) => {
      const value = patch[name as keyof typeof keys];
      return value === undefined ? [] : [{ vault_id: vaultId, key, value }];
    });
    if (rows.length === 0) return;
    await this.#writer.change(vaultId, async ({ tx, now }) => {
      const stored = await readVaultSettings(tx, vaultId);
      this.#audit.record(tx, by, {
        action: "vault.set_policy",
        target: { type: "vault", id: vaultId, name: vault.name },
        vaultId,
        before: auditForm(stored, patch),
        after: auditForm({ ...stored, ...patch }, patch),
      });
      for (const row of rows) {
        await tx
          .insertInto("vault_settings")
          .values({ ...row, updated_at: now })
          .onConflict((conflict) =>
            conflict.columns(["vault_id", "key"]).doUpdateSet({ value: row.value, updated_at: now }),
          )
          .execute();
      }
    });
  }
}

/** Those of the settings that `patch` names, as the API calls them. */
function auditForm(settings: VaultSettings, patch: Partial<VaultSettings>): object {
  return {
    ...(patch.unmatchedHostPolicy !== undefined && { unmatched_host_policy: settings.unmatchedHostPolicy }),
    ...(patch.scrubMode !== undefined && { scrub: settings.scrubMode }),
  };
}

/** An empty text stands for the default. @throws {InvalidInput} `invalid_policy`. */
export function parseUnmatchedHostPolicy(text: string): UnmatchedHostPolicy {
  const policy = text.trim();
  if (policy === "" || policy === "passthrough") return "passthrough";
  if (policy === "deny") return "deny";
  throw new InvalidInput(
    "invalid_policy",
    `Invalid unmatched_host_policy ${quote(policy)} (expected "passthrough" or "deny")`,
  );
}

/** An empty text stands for the default. @throws {InvalidInput} `invalid_scrub`. */
export function parseScrubMode(text: string): ScrubMode {
  const wanted = text.trim();
  const mode = wanted === "" ? "redact" : scrubModes.find((known) => known === wanted);
  if (mode !== undefined) return mode;
  throw new InvalidInput("invalid_scrub", `Invalid scrub ${quote(wanted)} (expected one of ${scrubModes.join(", ")})`);
}
