/** Vault-scoped tokens (spec of accounts, 6.10). */
import type { Access } from "../../domain/actors/access.ts";
import { parseTokenRequest, type ScopedTokens } from "../../domain/actors/scoped-token.ts";
import { InvalidInput } from "../../errors.ts";
import { json, secretJson, wireTime } from "../answer.ts";
import { listTokens, mintToken, revokeToken } from "../contracts/tokens.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface SessionDependencies {
  readonly access: Access;
  readonly scopedTokens: ScopedTokens;
  readonly baseUrl: string;
}

export function registerSessionRoutes(router: ApiRouter, dependencies: SessionDependencies): void {
  const { access, scopedTokens, baseUrl } = dependencies;

  router.on(mintToken, async (request) => {
    const body = await request.body();
    const vaultName = body.vault;
    if (vaultName === "") throw new InvalidInput("missing_field", "vault is required");
    const wanted = parseTokenRequest({
      vaultRole: body.vault_role,
      ttlSeconds: body.ttl_seconds,
      label: body.label,
    });
    const { vault } = await access.vault(request.principal, vaultName, "member");
    const { id, token, expiresAt } = await scopedTokens.mint(request.principal, vault.id, wanted);
    return secretJson({ id, token, expires_at: wireTime(expiresAt), ...(baseUrl && { av_addr: baseUrl }) });
  });

  router.on(listTokens, async (request) => {
    const { vault } = await access.vault(request.principal, vaultQuery(request), "member");
    const wanted = parsePage(request);
    const page = await scopedTokens.page(vault.id, wanted);
    return json({
      sessions: page.items.map((token) => ({
        id: token.id,
        ...(token.label && { label: token.label }),
        vault_role: token.vaultRole,
        ...(token.createdBy && {
          created_by: {
            id: token.createdBy.id,
            type: token.createdBy.type,
            display_name: token.createdBy.displayName,
          },
        }),
        created_at: wireTime(token.createdAt),
        ...(token.expiresAt && { expires_at: wireTime(token.expiresAt) }),
      })),
      ...nextCursor(wanted, page),
    });
  });

  router.on(revokeToken, async (request) => {
    const { vault } = await access.vault(request.principal, vaultQuery(request), "member");
    await scopedTokens.revoke(request.principal, vault.id, request.params.id);
    return json({ status: "revoked" });
  });
}

function vaultQuery(request: ApiRequest<unknown, "vault">): string {
  const name = request.query("vault");
  if (!name) throw new InvalidInput("missing_field", "Name the vault in the query: ?vault=<name>");
  return name;
}
