/** Where a vault may reach and whom it trusts, as its admins set it, within what the instance offers. */
import { X509Certificate } from "node:crypto";
import type { Transaction } from "kysely";
import { InvalidInput } from "../../errors.ts";
import { cidr, parseCidr } from "../../net/address.ts";
import { listCertificates } from "../../net/trust.ts";
import type { VaultNetwork } from "../../net/vault-network.ts";
import type { Database } from "../../storage/database.ts";
import type { Schema } from "../../storage/schema.ts";
import type { VaultRef } from "../actors/access.ts";
import type { Principal } from "../actors/principal.ts";
import type { Audit } from "../audit/audit.ts";
import { quote } from "../input.ts";
import type { VaultWriter } from "./vault-writer.ts";

/** The rows of `vault_settings` that hold it: a list as JSON, and PEM. No row: as the instance. */
export const networkSettingKeys = { allowlist: "network_allowlist", upstreamCa: "upstream_ca" } as const;

const maxNetworks = 256;
const maxPemBytes = 64 * 1024;

export interface NetworkSettings {
  /** Undefined: what the instance allows. */
  readonly allowlist: readonly string[] | undefined;
  /** Undefined: none besides the instance's. */
  readonly upstreamCa: string | undefined;
}

/** What is to change: `null` takes the setting away, an absent one stays. */
export interface NetworkSettingsPatch {
  readonly allowlist?: readonly string[] | null;
  readonly upstreamCa?: string | null;
}

export interface NetworkSettingsOptions {
  readonly database: Database;
  readonly writer: VaultWriter;
  readonly audit: Audit;
  /** May a vault open this network? Asked when it is set; the policy asks again at each dial. */
  readonly mayOpen: (network: string) => boolean;
}

export class VaultNetworkSettings {
  readonly #options: NetworkSettingsOptions;

  constructor(options: NetworkSettingsOptions) {
    this.#options = options;
  }

  read(vaultId: string): Promise<NetworkSettings> {
    return readSettings(this.#options.database.db, vaultId);
  }

  /**
   * Reads a patch as it came, without storing it.
   * @throws {InvalidInput} `invalid_network`, `network_not_offered`, `invalid_certificate`.
   */
  check(patch: NetworkSettingsPatch): NetworkSettingsPatch {
    return {
      ...(patch.allowlist !== undefined && { allowlist: patch.allowlist && this.#checkNetworks(patch.allowlist) }),
      ...(patch.upstreamCa !== undefined && { upstreamCa: patch.upstreamCa && checkCertificates(patch.upstreamCa) }),
    };
  }

  /** Stores what `check` returned, all of it or nothing. @throws {NotFound} when the vault is gone. */
  async write(by: Principal, vault: VaultRef, patch: NetworkSettingsPatch): Promise<void> {
    const { id: vaultId } = vault;
    const { allowlist, upstreamCa } = patch;
    await this.#options.writer.change(vaultId, async ({ tx, now }) => {
      const stored = await readSettings(tx, vaultId);
      this.#options.audit.record(tx, by, {
        action: "vault.set_network",
        target: { type: "vault", id: vaultId, name: vault.name },
        vaultId,
        before: auditForm({
          ...(allowlist !== undefined && { allowlist: stored.allowlist ?? null }),
          ...(upstreamCa !== undefined && { upstreamCa: stored.upstreamCa ?? null }),
        }),
        after: auditForm(patch),
      });
      for (const [key, value] of [
        [networkSettingKeys.allowlist, allowlist && JSON.stringify(allowlist)],
        [networkSettingKeys.upstreamCa, upstreamCa],
      ] as const) {
        if (value === undefined) continue;
        if (value === null) {
          await tx.deleteFrom("vault_settings").where("vault_id", "=", vaultId).where("key", "=", key).execute();
          continue;
        }
        await tx
          .insertInto("vault_settings")
          .values({ vault_id: vaultId, key, value, updated_at: now })
          .onConflict((conflict) => conflict.columns(["vault_id", "key"]).doUpdateSet({ value, updated_at: now }))
          .execute();
      }
    });
  }

  #checkNetworks(networks: readonly string[]): readonly string[] {
    if (networks.length > maxNetworks) {
      throw new InvalidInput("invalid_network", `network_allowlist may hold ${maxNetworks} networks`);
    }
    return networks.map((entry) => {
      const network = entry.trim();
      if (!parseCidr(network)) {
        throw new InvalidInput("invalid_network", `${quote(network)} is not an address or network such as 10.1.0.0/16`);
      }
      if (!this.#options.mayOpen(network)) {
        throw new InvalidInput("network_not_offered", `This server does not let a vault open ${network}`, {
          hint: "its operator offers networks to vaults with AGENT_VAULT_VAULT_NETWORK_ALLOWLIST",
        });
      }
      return network;
    });
  }
}

/** The stored rows as the data plane needs them. A list that cannot be read opens nothing. */
export function readVaultNetwork(rows: ReadonlyMap<string, string>): VaultNetwork {
  const { allowlist, upstreamCa } = parseStored(rows);
  return { networks: allowlist?.map(cidr), roots: upstreamCa };
}

async function readSettings(db: Pick<Transaction<Schema>, "selectFrom">, vaultId: string): Promise<NetworkSettings> {
  const rows = await db
    .selectFrom("vault_settings")
    .select(["key", "value"])
    .where("vault_id", "=", vaultId)
    .where("key", "in", Object.values(networkSettingKeys))
    .execute();
  return parseStored(new Map(rows.map((row) => [row.key, row.value])));
}

/** As the audit log has it: what the patch names. Null is the instance's own. */
function auditForm({ allowlist, upstreamCa }: NetworkSettingsPatch): object {
  return {
    ...(allowlist !== undefined && { network_allowlist: allowlist }),
    ...(upstreamCa !== undefined && { upstream_ca: upstreamCa }),
  };
}

function parseStored(rows: ReadonlyMap<string, string>): NetworkSettings {
  const stored = rows.get(networkSettingKeys.allowlist);
  return {
    allowlist: stored === undefined ? undefined : parseList(stored),
    upstreamCa: rows.get(networkSettingKeys.upstreamCa),
  };
}

function parseList(stored: string): readonly string[] {
  try {
    const list: unknown = JSON.parse(stored);
    const isWhole = Array.isArray(list) && list.every((entry) => typeof entry === "string" && parseCidr(entry));
    return isWhole ? (list as string[]) : [];
  } catch {
    return [];
  }
}

/** The certificates of a text, without what stands between them. */
function checkCertificates(text: string): string {
  // Whoever pastes a bundle with its key must not find the key in a setting that members can read.
  if (/PRIVATE KEY/.test(text)) {
    throw new InvalidInput("invalid_certificate", "upstream_ca holds a private key: give it certificates only");
  }
  const certificates = listCertificates(text);
  if (text.length > maxPemBytes || certificates.length === 0 || !certificates.every(isCertificate)) {
    throw new InvalidInput("invalid_certificate", `upstream_ca must be PEM certificates, ${maxPemBytes} bytes at most`);
  }
  return `${certificates.join("\n")}\n`;
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== undefined;
  } catch {
    return false;
  }
}
