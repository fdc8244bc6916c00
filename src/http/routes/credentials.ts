/** Credentials of a vault (spec of the API, section 5). The only route that answers with values says so by `reveal()`. */
import { Secret } from "../../crypto/secret.ts";
import type { Access, VaultAccess, VaultNeed } from "../../domain/actors/access.ts";
import { hasVaultRole } from "../../domain/actors/principal.ts";
import type { Credentials, RevealedCredential } from "../../domain/credentials/credential.ts";
import { InputObject } from "../../domain/input.ts";
import { defaultVaultName } from "../../domain/vaults/vault.ts";
import { InvalidInput } from "../../errors.ts";
import { json, secretJson } from "../answer.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface CredentialDependencies {
  readonly access: Access;
  readonly credentials: Credentials;
}

const authed = { access: "session", tier: "authed" } as const;
const withBody = { ...authed, body: true } as const;

export function registerCredentialRoutes(router: ApiRouter, { access, credentials }: CredentialDependencies): void {
  router.on("GET", "/v1/credentials", authed, async (request) => {
    const isRevealing = request.query("reveal") === "true";
    const { vault, role } = await vaultOf(access, request, request.query("vault"), isRevealing ? "member" : "access");
    if (isRevealing) {
      const revealed = await credentials.reveal(request.principal, vault.id, request.query("key") || undefined);
      return secretJson(listing(revealed.map(formatRevealed)));
    }
    const entries = await credentials.list(vault.id);
    const seesEntries = role !== undefined && hasVaultRole(role, "member");
    return json(seesEntries ? listing(entries) : { keys: entries.map(({ key }) => key) });
  });

  router.on("POST", "/v1/credentials", withBody, async (request) => {
    const body = await readBody(request);
    const given = body.texts("credentials") ?? {};
    if (Object.keys(given).length === 0) throw new InvalidInput("credentials_required", "Credentials map is required");
    const { vault } = await vaultOf(access, request, body.string("vault"), "member");
    const values = new Map(Object.entries(given).map(([key, value]) => [key, new Secret(value)]));
    return json({ set: await credentials.set(request.principal, vault.id, values) });
  });

  router.on("DELETE", "/v1/credentials", withBody, async (request) => {
    const body = await readBody(request);
    const keys = body.strings("keys") ?? [];
    if (keys.length === 0) throw new InvalidInput("keys_required", "Keys list is required");
    const { vault } = await vaultOf(access, request, body.string("vault"), "member");
    return json({ deleted: await credentials.delete(request.principal, vault.id, keys) });
  });
}

/** The vault that was named; else a scoped token's own, or the default one. */
async function vaultOf(
  access: Access,
  { principal }: ApiRequest,
  name: string | undefined,
  need: VaultNeed,
): Promise<VaultAccess> {
  if (name) return access.vault(principal, name, need);
  if (principal.kind !== "scoped") return access.vault(principal, defaultVaultName, need);
  const own = await access.sessionVault(principal, undefined);
  return access.vault(principal, own.vault.name, need);
}

async function readBody(request: ApiRequest): Promise<InputObject> {
  return new InputObject(await request.json(), "invalid_body", "Invalid request body: ");
}

/** Without entries the second list is left out (spec of the API, section 5.1). */
function listing<T extends { readonly key: string }>(entries: readonly T[]): object {
  const keys = entries.map(({ key }) => key);
  return entries.length === 0 ? { keys } : { keys, credentials: entries };
}

function formatRevealed({ key, type, value }: RevealedCredential) {
  const plain = value?.reveal() ?? "";
  return { key, type, ...(plain !== "" && { value: plain }) };
}
