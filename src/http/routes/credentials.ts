/** Credentials of a vault (spec of the API, section 5). The only route that answers with values says so by `reveal()`. */
import { Secret } from "../../crypto/secret.ts";
import type { Access, VaultAccess, VaultNeed } from "../../domain/actors/access.ts";
import { hasVaultRole } from "../../domain/actors/principal.ts";
import type { Credentials, RevealedCredential } from "../../domain/credentials/credential.ts";
import {
  type CredentialDescription,
  type CredentialDetails,
  type OAuthDescription,
  parseDescription,
  parseExpiry,
} from "../../domain/credentials/details.ts";
import { secretMask } from "../../domain/credentials/oauth-settings.ts";
import { defaultVaultName } from "../../domain/vaults/vault.ts";
import { InvalidInput } from "../../errors.ts";
import { json, secretJson, wireTime } from "../answer.ts";
import {
  deleteCredentials,
  describeCredential,
  listCredentials,
  listVersions,
  restoreVersion,
  setCredentials,
} from "../contracts/credentials.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";

export interface CredentialDependencies {
  readonly access: Access;
  readonly credentials: Credentials;
}

export function registerCredentialRoutes(router: ApiRouter, dependencies: CredentialDependencies): void {
  registerValues(router, dependencies);
  registerHistory(router, dependencies);
}

function registerValues(router: ApiRouter, { access, credentials }: CredentialDependencies): void {
  router.on(listCredentials, async (request) => {
    const isRevealing = request.query("reveal") === "true";
    const { vault, role } = await vaultOf(access, request, request.query("vault"), isRevealing ? "member" : "access");
    const key = request.query("key");
    if (isRevealing && key) {
      const [revealed] = await credentials.reveal(request.principal, vault.id, key);
      const described = await credentials.describe(vault.id, key);
      return secretJson(listing(revealed === undefined ? [] : [formatRevealed(revealed, described)]));
    }
    const wanted = parsePage(request);
    if (isRevealing) {
      const page = await credentials.revealPage(request.principal, vault.id, wanted);
      const described = await credentials.describePage(vault.id, wanted);
      const byKey = new Map(described.items.map((one) => [one.key, one]));
      const entries = page.items.map((one) => formatRevealed(one, byKey.get(one.key)));
      return secretJson({ ...listing(entries), ...nextCursor(wanted, page) });
    }
    if (role === undefined || !hasVaultRole(role, "member")) {
      const page = await credentials.page(vault.id, wanted);
      return json({ keys: page.items.map((entry) => entry.key), ...nextCursor(wanted, page) });
    }
    const page = await credentials.describePage(vault.id, wanted);
    return json({ ...listing(page.items.map(formatCredential)), ...nextCursor(wanted, page) });
  });

  router.on(setCredentials, async (request) => {
    const body = await request.body();
    const given = body.credentials ?? {};
    if (Object.keys(given).length === 0) throw new InvalidInput("credentials_required", "Credentials map is required");
    const details = readDetailsMap(body.details, Object.keys(given));
    const { vault } = await vaultOf(access, request, body.vault, "member");
    const values = new Map(Object.entries(given).map(([key, value]) => [key, new Secret(value)]));
    return json({ set: await credentials.set(request.principal, vault.id, values, { details }) });
  });

  router.on(deleteCredentials, async (request) => {
    const body = await request.body();
    const keys = body.keys ?? [];
    if (keys.length === 0) throw new InvalidInput("keys_required", "Keys list is required");
    const { vault } = await vaultOf(access, request, body.vault, "member");
    return json({ deleted: await credentials.delete(request.principal, vault.id, keys) });
  });

  router.on(describeCredential, async (request) => {
    const body = await request.body();
    const details = readDetails(body);
    if (details.description === undefined && details.expiresAt === undefined) {
      throw new InvalidInput("details_required", "At least one field is required (description, expires_at)");
    }
    const { vault } = await vaultOf(access, request, body.vault, "member");
    const key = request.params.key;
    await credentials.annotate(request.principal, vault.id, key, details);
    return json(formatCredential(await credentials.describe(vault.id, key)));
  });
}

function registerHistory(router: ApiRouter, { access, credentials }: CredentialDependencies): void {
  router.on(listVersions, async (request) => {
    const { vault } = await vaultOf(access, request, request.query("vault"), "member");
    const key = request.params.key;
    const versions = await credentials.versions(vault.id, key);
    return json({
      key,
      versions: versions.map(({ version, createdAt, createdBy, isCurrent }) => ({
        version,
        created_at: wireTime(createdAt),
        ...(createdBy !== undefined && { created_by: createdBy }),
        current: isCurrent,
      })),
    });
  });

  router.on(restoreVersion, async (request) => {
    const body = await request.body();
    const version = body.version;
    if (version === undefined || version < 1 || version > maxVersion) {
      throw new InvalidInput("version_required", '"version" must be the number of a version');
    }
    const { vault } = await vaultOf(access, request, body.vault, "member");
    const key = request.params.key;
    const restored = await credentials.restore(request.principal, vault.id, key, version);
    return json({ key, restored: version, version: restored });
  });
}

/** What fits the column. */
const maxVersion = 2_147_483_647;

interface DetailsInput {
  readonly description: string | undefined;
  readonly expires_at: string | undefined;
}

/** @param keys those that are set; what is said of others is ignored, like every unknown field. */
function readDetailsMap(
  map: ReadonlyMap<string, DetailsInput> | undefined,
  keys: readonly string[],
): ReadonlyMap<string, CredentialDetails> | undefined {
  if (map === undefined) return undefined;
  return new Map(
    keys.flatMap((key) => {
      const input = map.get(key);
      return input === undefined ? [] : [[key, readDetails(input)] as const];
    }),
  );
}

function readDetails(input: DetailsInput): CredentialDetails {
  const { description, expires_at: expiresAt } = input;
  return {
    description: description === undefined ? undefined : parseDescription(description),
    expiresAt: expiresAt === undefined ? undefined : parseExpiry(expiresAt),
  };
}

/** The vault that was named; else a scoped token's own, or the default one. */
export async function vaultOf(
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

/** Without entries the second list is left out (spec of the API, section 5.1). */
function listing<T extends { readonly key: string }>(entries: readonly T[]): object {
  const keys = entries.map(({ key }) => key);
  return entries.length === 0 ? { keys } : { keys, credentials: entries };
}

function formatRevealed({ key, type, value }: RevealedCredential, described: CredentialDescription | undefined) {
  const plain = value?.reveal() ?? "";
  const known = described === undefined ? { key, type } : formatCredential(described);
  return { ...known, ...(plain !== "" && { value: plain }) };
}

/** Empty fields are left out (spec of the API, section 5.1). */
function formatCredential(entry: CredentialDescription) {
  const { key, type, version, description, expiresAt, lastUsedAt, updatedAt, oauth } = entry;
  return {
    key,
    type,
    version,
    ...(description !== undefined && { description }),
    ...time("expires_at", expiresAt),
    ...time("last_used_at", lastUsedAt),
    updated_at: wireTime(updatedAt),
    ...(oauth !== undefined && formatOAuth(oauth)),
  };
}

function formatOAuth(oauth: OAuthDescription): object {
  const { authorizationUrl = "", tokenUrl, clientId, scopes, scopeSeparator, tokenAuthMethod } = oauth.settings;
  const texts = {
    authorization_url: authorizationUrl,
    token_url: tokenUrl,
    client_id: clientId,
    scopes,
    token_auth_method: tokenAuthMethod,
    client_secret: oauth.hasClientSecret ? secretMask : "",
    access_token: oauth.connectedAt === undefined ? "" : secretMask,
    refresh_token: oauth.hasRefreshToken ? secretMask : "",
    last_refresh_error: oauth.lastRefreshError ?? "",
    scope_separator: scopeSeparator === " " ? "" : scopeSeparator,
  };
  return {
    ...time("connected_at", oauth.connectedAt),
    ...time("last_refreshed_at", oauth.lastRefreshedAt),
    ...time("token_expires_at", oauth.tokenExpiresAt),
    ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")),
    ...(oauth.settings.disablePkce && { disable_pkce: true }),
  };
}

function time(name: string, timestamp: string | undefined): Readonly<Record<string, string>> {
  return timestamp === undefined ? {} : { [name]: wireTime(timestamp) };
}
