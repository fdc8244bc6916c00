/** Does what a plan says, vault by vault. Done twice it does nothing the second time. */
import type { Client } from "../../client/client.ts";
import { PreconditionFailed } from "../../errors.ts";
import type { Change, VaultPlan } from "./plan.ts";

/**
 * Settings and services come first: a grant must not open a vault that is not yet as it was reviewed.
 * @throws {PreconditionFailed} when the services are not any more what the plan was made from.
 */
export async function carryOut(client: Client, plan: VaultPlan): Promise<void> {
  const { vault, changes, services } = plan;
  const each = async (section: Change["section"], work: (change: Change) => Promise<unknown>) => {
    for (const change of changes.filter((candidate) => candidate.section === section)) await work(change);
  };
  await each("vault", ({ name }) => client.createVault({ name }));
  await each("setting", ({ name, after }) => client.changeVaultSettings(vault, { [name]: String(after) }));
  if (services) {
    await client.replaceServices(vault, services.list, services.replaces).catch((error: unknown) => {
      if (!(error instanceof PreconditionFailed)) throw error;
      throw new PreconditionFailed(error.code, `Somebody changed the services of the vault "${vault}" meanwhile`, {
        hint: "the same again, which compares anew",
        cause: error,
      });
    });
  }
  await each("user", (change) => grantUser(client, vault, change));
  await each("agent", (change) => grantAgent(client, vault, change));
}

function grantUser(client: Client, vault: string, { action, name, after }: Change): Promise<unknown> {
  const role = String(after);
  if (action === "add") return client.addVaultUser(vault, { email: name, role });
  if (action === "change") return client.setVaultUserRole(vault, name, role);
  return client.removeVaultUser(vault, name);
}

function grantAgent(client: Client, vault: string, { action, name, after }: Change): Promise<unknown> {
  const role = String(after);
  if (action === "add") return client.addVaultAgent(vault, { name, role });
  if (action === "change") return client.setVaultAgentRole(vault, name, role);
  return client.removeVaultAgent(vault, name);
}
