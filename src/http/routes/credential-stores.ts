/** Where a vault's credentials come from (spec of the API, section 12). Only the built-in store exists so far. */
import type { Access } from "../../domain/actors/access.ts";
import { quote } from "../../domain/input.ts";
import { Forbidden, InvalidInput, Unavailable } from "../../errors.ts";
import { json } from "../answer.ts";
import { listCredentialStores, setCredentialStore, syncVault } from "../contracts/vaults.ts";
import type { ApiRouter } from "../router.ts";

export function registerCredentialStoreRoutes(router: ApiRouter, { access }: { readonly access: Access }): void {
  router.on(listCredentialStores, ({ principal }) => {
    access.actor(principal);
    return json({ available: ["builtin"] });
  });

  router.on(setCredentialStore, async (request) => {
    const { actor } = await access.vault(request.principal, request.params.name, "admin-or-owner");
    const { kind } = await request.body();
    if (kind === "builtin") return json({ credential_store: { kind } });
    if (kind !== "infisical") {
      throw new InvalidInput(
        "unknown_credential_store",
        `Unknown credential store kind ${quote(kind)} (expected "builtin" or "infisical")`,
      );
    }
    if (actor?.role !== "owner") {
      throw new Forbidden("owner_required", "Owner role required to connect a vault to an external store");
    }
    throw infisicalNotConfigured();
  });

  router.on(syncVault, async ({ principal, params }) => {
    await access.vault(principal, params.name, "member");
    access.actor(principal);
    throw new InvalidInput("no_external_store", "Vault has no external credential store");
  });
}

export function infisicalNotConfigured(): Unavailable {
  return new Unavailable(
    "infisical_not_configured",
    "Infisical is not configured on this Agent Vault instance. Set INFISICAL_URL and a supported auth method's env vars.",
  );
}
