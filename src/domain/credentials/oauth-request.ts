/** An OAuth credential that was asked for and that a person has yet to connect. */
import { uuidv7 } from "../../crypto/token.ts";
import type { CredentialKey } from "../services/service.ts";
import type { VaultWrite } from "../vaults/vault-writer.ts";

/** How a credential is to be connected; no secret is among it. */
export interface OAuthConfiguration {
  readonly tokenUrl: string;
  readonly authorizationUrl?: string;
  readonly clientId?: string;
  readonly scopes?: string;
  readonly scopeSeparator?: string;
  readonly disablePkce?: boolean;
  readonly tokenAuthMethod?: "client_secret_post" | "client_secret_basic";
}

/**
 * Makes `key` an OAuth credential with this configuration. While the token address stays the same, a connection that
 * exists keeps its secret and its tokens; another address must never receive them, so they go.
 */
export async function storeOAuthRequest(
  { tx, now }: VaultWrite,
  vaultId: string,
  key: CredentialKey,
  configuration: OAuthConfiguration,
): Promise<void> {
  const existing = await tx
    .selectFrom("credentials")
    .leftJoin("credential_oauth", "credential_oauth.credential_id", "credentials.id")
    .select(["credentials.id", "credentials.type", "credential_oauth.token_url"])
    .where("credentials.vault_id", "=", vaultId)
    .where("credentials.key", "=", key)
    .executeTakeFirst();
  const settings = {
    authorization_url: configuration.authorizationUrl ?? null,
    token_url: configuration.tokenUrl,
    client_id: configuration.clientId ?? "",
    scopes: configuration.scopes ?? "",
    scope_separator: configuration.scopeSeparator ?? "",
    disable_pkce: configuration.disablePkce === true ? (1 as const) : (0 as const),
    token_auth_method: configuration.tokenAuthMethod ?? "client_secret_post",
  };
  if (existing?.type === "oauth" && existing.token_url === configuration.tokenUrl) {
    await tx.updateTable("credential_oauth").set(settings).where("credential_id", "=", existing.id).execute();
    await tx.updateTable("credentials").set({ updated_at: now }).where("id", "=", existing.id).execute();
    return;
  }
  const id = existing?.id ?? uuidv7();
  if (existing === undefined) {
    await tx
      .insertInto("credentials")
      .values({
        id,
        vault_id: vaultId,
        key,
        type: "oauth",
        value_sealed: null,
        version: 1,
        created_at: now,
        updated_at: now,
      })
      .execute();
  } else {
    await tx.deleteFrom("credential_oauth").where("credential_id", "=", id).execute();
    await tx
      .updateTable("credentials")
      .set((row) => ({ type: "oauth", value_sealed: null, version: row("version", "+", 1), updated_at: now }))
      .where("id", "=", id)
      .execute();
  }
  await tx
    .insertInto("credential_oauth")
    .values({ credential_id: id, ...settings })
    .execute();
}
