/** What the first owner of an instance gets besides the account. */
import { uuidv7 } from "../../crypto/token.ts";
import { type GrantTrail, recordNewGrant } from "./grant-trail.ts";

const defaultVaultName = "default";

/** Makes the grantee an admin of the default vault, if it is there. */
export async function grantDefaultVault(trail: GrantTrail, nowMs: number): Promise<void> {
  const { tx, grantee } = trail;
  const vault = await tx.selectFrom("vaults").select("id").where("name", "=", defaultVaultName).executeTakeFirst();
  if (vault === undefined) return;
  await tx
    .insertInto("vault_grants")
    .values({
      id: uuidv7(nowMs),
      vault_id: vault.id,
      user_id: grantee.id,
      agent_id: null,
      role: "admin",
      created_at: new Date(nowMs).toISOString(),
    })
    .execute();
  recordNewGrant(trail, { vaultId: vault.id, role: "admin" });
}
