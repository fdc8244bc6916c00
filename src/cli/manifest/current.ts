/** What is on the server, in the form of a manifest. */
import type { Client } from "../../client/client.ts";
import { InvalidInput } from "../../errors.ts";
import type { VaultManifest, WireService } from "./manifest.ts";
import type { ServiceRules } from "./service-rules.ts";

/** A vault as it is now. */
export interface CurrentVault extends Required<VaultManifest> {
  /** The state of its services, for a change that must not overwrite somebody else's. */
  readonly servicesTag: string | undefined;
  /** Credentials that are stored, whether anything uses them or not. */
  readonly stored: readonly string[];
}

/** @throws {AppError} when the caller may not see all of it. */
export async function readVault(client: Client, name: string, rules: ServiceRules): Promise<CurrentVault> {
  const [listed, settings, { users }, { agents }, { keys }] = await Promise.all([
    client.listTaggedServices(name),
    client.vaultSettings(name),
    client.listVaultUsers(name),
    client.listVaultAgents(name),
    client.listCredentials(name),
  ]);
  const services = listed.services.map((service) => asListed(service, rules));
  return {
    name,
    settings: { unmatched_host_policy: settings.unmatched_host_policy },
    services,
    // An invitation that nobody has accepted yet is no grant.
    users: (users ?? [])
      .filter(({ status }) => status !== "pending")
      .map(({ email, role }) => ({ email, role }))
      .sort((a, b) => compare(a.email, b.email)),
    agents: (agents ?? [])
      .map(({ name: agent, vault_role: role }) => ({ name: agent, role }))
      .sort((a, b) => compare(a.name, b.name)),
    credentials: rules.neededKeys(services),
    servicesTag: listed.tag,
    stored: keys ?? [],
  };
}

/** A service that only a newer server understands is kept as it came. */
function asListed(service: WireService, rules: ServiceRules): WireService {
  try {
    return rules.canonical(service);
  } catch (error) {
    if (error instanceof InvalidInput) return service;
    throw error;
  }
}

/** What `export` writes of it. */
export function toManifest({ servicesTag: _, stored: __, ...vault }: CurrentVault): VaultManifest {
  return vault;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
