/** Reminds people of credentials that end soon: a line in the log for operators, a mail for the vault's admins. */
import { messageOf } from "../../errors.ts";
import type { Logger } from "../../log.ts";
import type { Database } from "../../storage/database.ts";
import type { Clock } from "../clock.ts";
import type { Mail } from "../mail.ts";
import type { ExpiringCredential } from "../mail-content.ts";

export interface CredentialRemindersOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly mail: Mail;
}

const dayMs = 86_400_000;
/** Days before the end at which people hear of it, once each; 0 is the end itself. */
const stages: readonly number[] = [14, 3, 0];

interface Due extends ExpiringCredential {
  readonly id: string;
  readonly vaultId: string;
  readonly vaultName: string;
  readonly stage: number;
}

export class CredentialReminders {
  readonly #options: CredentialRemindersOptions;

  constructor(options: CredentialRemindersOptions) {
    this.#options = options;
  }

  /** Sends what is due. Of several instances on one database only one sends each reminder. */
  async remind(): Promise<void> {
    const claimed: Due[] = [];
    for (const due of await this.#due()) if (await this.#claim(due)) claimed.push(due);
    for (const [vaultId, ofVault] of Map.groupBy(claimed, (due) => due.vaultId)) await this.#tell(vaultId, ofVault);
  }

  async #due(): Promise<readonly Due[]> {
    const nowMs = this.#options.clock.now();
    const rows = await this.#options.database.db
      .selectFrom("credentials")
      .innerJoin("vaults", "vaults.id", "credentials.vault_id")
      .select(["credentials.id", "key", "expires_at", "reminded_days", "vault_id", "vaults.name as vault_name"])
      .where("expires_at", "<=", new Date(nowMs + Math.max(...stages) * dayMs).toISOString())
      .orderBy("key")
      .execute();
    return rows.flatMap((row) => {
      const stage = stageOf(row.expires_at, nowMs);
      if (row.expires_at === null || stage === undefined) return [];
      if (row.reminded_days !== null && row.reminded_days <= stage) return [];
      const { id, key, expires_at: expiresAt, vault_id: vaultId, vault_name: vaultName } = row;
      return [{ id, key, expiresAt, vaultId, vaultName, stage, hasEnded: stage === 0 }];
    });
  }

  async #claim({ id, stage, expiresAt }: Due): Promise<boolean> {
    const { numUpdatedRows } = await this.#options.database.db
      .updateTable("credentials")
      .set({ reminded_days: stage })
      .where("id", "=", id)
      .where("expires_at", "=", expiresAt)
      .where((on) => on.or([on("reminded_days", "is", null), on("reminded_days", ">", stage)]))
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async #tell(vaultId: string, due: readonly Due[]): Promise<void> {
    const { log, mail, database } = this.#options;
    const vault = due[0]?.vaultName ?? "";
    const credentials = due.map(({ key, expiresAt, hasEnded }) => ({ key, expiresAt, hasEnded }));
    log.warn("credentials end", { vault, credentials });
    if (!mail.isConfigured) return;
    const admins = await database.db
      .selectFrom("vault_grants")
      .innerJoin("users", "users.id", "vault_grants.user_id")
      .select("users.email")
      .where("vault_grants.vault_id", "=", vaultId)
      .where("vault_grants.role", "=", "admin")
      .where("users.is_active", "=", 1)
      .execute();
    for (const { email } of admins) {
      await mail.send({ kind: "credential-expiry", to: email, vault, credentials }).catch((error: unknown) => {
        log.warn("cannot send mail", { kind: "credential-expiry", error: messageOf(error) });
      });
    }
  }
}

/** The last stage that was passed; undefined while the end is far. */
function stageOf(expiresAt: string | null, nowMs: number): number | undefined {
  if (expiresAt === null) return undefined;
  const daysLeft = (Date.parse(expiresAt) - nowMs) / dayMs;
  return stages.findLast((stage) => daysLeft <= stage);
}
