/** Vaults: create, list, rename, delete, join, leave, context and settings (spec of accounts, section 6.7). */
import { type Access, seesNetworks } from "../../domain/actors/access.ts";
import type { Members } from "../../domain/vaults/member.ts";
import type {
  NetworkSettings,
  NetworkSettingsPatch,
  VaultNetworkSettings,
} from "../../domain/vaults/network-settings.ts";
import {
  checkVaultName,
  defaultVaultName,
  type ListedVault,
  refuseDefaultVault,
  type Vaults,
} from "../../domain/vaults/vault.ts";
import {
  parseScrubMode,
  parseUnmatchedHostPolicy,
  type VaultSettings,
  type VaultSettingsStore,
} from "../../domain/vaults/vault-settings.ts";
import { Forbidden, InvalidInput } from "../../errors.ts";
import { json, wireTime } from "../answer.ts";
import {
  changeVaultSettings,
  createVault,
  deleteVault,
  getVaultSettings,
  joinVault,
  leaveVault,
  listAllVaults,
  listVaults,
  renameVault,
  showContext,
} from "../contracts/vaults.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";
import { infisicalNotConfigured } from "./credential-stores.ts";

export interface VaultDependencies {
  readonly access: Access;
  readonly vaults: Vaults;
  readonly vaultSettings: VaultSettingsStore;
  readonly members: Members;
  readonly vaultNetworks: VaultNetworkSettings;
}

export function registerVaultRoutes(router: ApiRouter, dependencies: VaultDependencies): void {
  registerVaultLists(router, dependencies);
  registerVaultLife(router, dependencies);
  registerOwnMembership(router, dependencies);
  registerVaultSettings(router, dependencies);
}

function registerVaultLists(router: ApiRouter, { access, vaults }: VaultDependencies): void {
  router.on(listVaults, async (request) => {
    const actor = access.actor(request.principal);
    const wanted = parsePage(request);
    const page = await vaults.page(actor, wanted);
    return json({ vaults: page.items.map(formatListed), ...nextCursor(wanted, page) });
  });

  router.on(listAllVaults, async (request) => {
    access.owner(request.principal);
    const wanted = parsePage(request);
    const page = await vaults.pageOfAll(wanted);
    return json({
      vaults: page.items.map(({ id, name, createdAt }) => ({
        id,
        name,
        is_default: name === defaultVaultName,
        created_at: wireTime(createdAt),
      })),
      ...nextCursor(wanted, page),
    });
  });

  router.on(showContext, async (request) => {
    access.actor(request.principal);
    // Web clients tell "no grant" from "no such vault" here, so the difference stays visible.
    const found = await access.vault(request.principal, nameOf(request), "access", { hidesExistence: false });
    return json({ vault_name: found.vault.name, vault_role: found.role });
  });
}

function registerVaultLife(router: ApiRouter, { access, vaults }: VaultDependencies): void {
  router.on(createVault, async (request) => {
    const actor = access.instanceMember(request.principal);
    const body = await request.body();
    const name = body.name;
    if (name === "") throw new InvalidInput("name_required", "Name is required");
    // Before what only owners may do is looked at: a name is wrong for everybody.
    checkVaultName(name);
    if (body.credential_store?.kind) {
      if (actor.role !== "owner") {
        throw new Forbidden("owner_required", "Owner role required to create external-store vaults");
      }
      throw infisicalNotConfigured();
    }
    const vault = await vaults.create(actor, name);
    return json({ id: vault.id, name: vault.name, created_at: wireTime(vault.createdAt) }, { status: 201 });
  });

  router.on(deleteVault, async (request) => {
    refuseDefaultVault(nameOf(request), "delete");
    const { vault } = await access.vault(request.principal, nameOf(request), "admin-or-owner");
    await vaults.delete(request.principal, vault.id);
    return json({ name: vault.name, deleted: true });
  });

  router.on(renameVault, async (request) => {
    refuseDefaultVault(nameOf(request), "rename");
    const { vault } = await access.vault(request.principal, nameOf(request), "admin-or-owner");
    const { name } = await request.body();
    if (name === "") throw new InvalidInput("name_required", 'Request body must include {"name": "new-name"}');
    await vaults.rename(request.principal, vault, name);
    return json({
      message: `vault renamed from "${vault.name}" to "${name}"`,
      old_name: vault.name,
      new_name: name,
    });
  });
}

function registerOwnMembership(router: ApiRouter, { access, members }: VaultDependencies): void {
  router.on(joinVault, async (request) => {
    const owner = access.owner(request.principal);
    const { vault } = await access.vault(owner, nameOf(request), "admin-or-owner");
    await members.join(owner, vault.id);
    return json({ vault: vault.name, role: "admin", joined: true });
  });

  router.on(leaveVault, async (request) => {
    const { vault, actor } = await access.vault(request.principal, nameOf(request), "access");
    if (actor === undefined) throw new Forbidden("actor_required", "Scoped sessions cannot leave a vault");
    await members.leave(actor, vault.id);
    return json({ message: `left vault ${vault.name}` });
  });
}

function registerVaultSettings(router: ApiRouter, { access, vaultSettings, vaultNetworks }: VaultDependencies): void {
  router.on(getVaultSettings, async (request) => {
    const found = await access.vault(request.principal, nameOf(request), "access");
    return json({
      ...formatSettings(await vaultSettings.read(found.vault.id)),
      infisical_available: false,
      ...(seesNetworks(found) && formatNetworks(await vaultNetworks.read(found.vault.id))),
    });
  });

  router.on(changeVaultSettings, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin-or-owner");
    const body = await request.body();
    const policy = body.unmatched_host_policy;
    const scrub = body.scrub;
    const settings = {
      ...(policy !== undefined && { unmatchedHostPolicy: parseUnmatchedHostPolicy(policy) }),
      ...(scrub !== undefined && { scrubMode: parseScrubMode(scrub) }),
    };
    // All is checked before anything is written.
    const networks = vaultNetworks.check(readNetworksPatch(body));
    await vaultSettings.write(request.principal, vault, settings);
    if (Object.keys(networks).length > 0) await vaultNetworks.write(request.principal, vault, networks);
    return json({
      ...formatSettings(await vaultSettings.read(vault.id)),
      ...formatNetworks(await vaultNetworks.read(vault.id)),
    });
  });
}

/** As everywhere, `null` and an empty text mean the default. */
function readNetworksPatch(body: {
  readonly network_allowlist: readonly string[] | null | undefined;
  readonly upstream_ca: string | null | undefined;
}): NetworkSettingsPatch {
  const { network_allowlist: allowlist, upstream_ca: upstreamCa } = body;
  return {
    ...(allowlist !== undefined && { allowlist }),
    ...(upstreamCa !== undefined && { upstreamCa: upstreamCa?.trim() || null }),
  };
}

/** What was never set is left out, so that a client sees the shape that it knows. */
function formatNetworks({ allowlist, upstreamCa }: NetworkSettings): object {
  return {
    ...(allowlist !== undefined && { network_allowlist: allowlist }),
    ...(upstreamCa !== undefined && { upstream_ca: upstreamCa }),
  };
}

function formatSettings({ unmatchedHostPolicy, scrubMode }: VaultSettings): object {
  return { unmatched_host_policy: unmatchedHostPolicy, scrub: scrubMode };
}

function nameOf(request: ApiRequest<unknown, never, "name">): string {
  return request.params.name;
}

function formatListed({ id, name, role, createdAt, pendingProposals, store }: ListedVault): object {
  return {
    id,
    name,
    ...(role !== undefined && { role }),
    membership: role === undefined ? "implicit" : "explicit",
    is_default: name === defaultVaultName,
    created_at: wireTime(createdAt),
    pending_proposals: pendingProposals,
    ...(store !== undefined && {
      credential_store: {
        kind: store.kind,
        ...(store.lastSyncStatus !== null && { last_sync_status: store.lastSyncStatus }),
        ...(store.lastSyncedAt !== null && { last_synced_at: wireTime(store.lastSyncedAt) }),
      },
    }),
  };
}
