/** Grants that come and go with an account or an agent, written into the audit log of each vault. */
import type { Transaction } from "kysely";
import type { Schema } from "../../storage/schema.ts";
import type { Audit } from "../audit/audit.ts";
import type { By } from "../audit/author.ts";
import type { VaultRole } from "./principal.ts";

export interface GrantTrail {
  readonly audit: Audit;
  readonly tx: Transaction<Schema>;
  readonly by: By;
  readonly grantee: { readonly type: "user" | "agent"; readonly id: string; readonly name: string };
}

export function recordNewGrant(
  { audit, tx, by, grantee }: GrantTrail,
  grant: { readonly vaultId: string; readonly role: VaultRole },
): void {
  const { vaultId, role } = grant;
  audit.record(tx, by, { action: "member.add", target: grantee, vaultId, after: { role } });
}

/** To be called before whoever has them is deleted. */
export async function recordLostGrants({ audit, tx, by, grantee }: GrantTrail): Promise<void> {
  const grants = await tx
    .selectFrom("vault_grants")
    .select(["vault_id", "role"])
    .where(grantee.type === "user" ? "user_id" : "agent_id", "=", grantee.id)
    .orderBy("id")
    .execute();
  for (const { vault_id: vaultId, role } of grants) {
    audit.record(tx, by, { action: "member.remove", target: grantee, vaultId, before: { role } });
  }
}
