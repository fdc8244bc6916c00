/** People and agents of a vault (spec of accounts, 6.8 and 6.9). */
import type { Access } from "../../domain/actors/access.ts";
import { parseEmail } from "../../domain/actors/email.ts";
import { parseUserVaultRole, parseVaultRole } from "../../domain/actors/roles.ts";
import type { Members } from "../../domain/vaults/member.ts";
import { json } from "../answer.ts";
import {
  addVaultAgent,
  addVaultUser,
  listVaultAgents,
  listVaultUsers,
  removeVaultAgent,
  removeVaultUser,
  setVaultAgentRole,
  setVaultUserRole,
} from "../contracts/vaults.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";
import { requireText } from "./agents.ts";

export interface VaultMemberDependencies {
  readonly access: Access;
  readonly members: Members;
}

export function registerVaultMemberRoutes(router: ApiRouter, dependencies: VaultMemberDependencies): void {
  registerVaultUsers(router, dependencies);
  registerVaultAgents(router, dependencies);
}

function registerVaultUsers(router: ApiRouter, { access, members }: VaultMemberDependencies): void {
  router.on(listVaultUsers, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "access");
    const wanted = parsePage(request);
    const page = await members.pageOfUsers(vault.id, wanted);
    return json({ users: page.items, ...nextCursor(wanted, page) });
  });

  router.on(addVaultUser, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const body = await request.body();
    const address = parseEmail(body.email);
    const role = parseUserVaultRole(body.role || "member");
    const email = await members.addUser(request.principal, vault.id, address, role);
    return json({ email, role }, { status: 201 });
  });

  router.on(removeVaultUser, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const email = request.params.email;
    await members.removeUser(request.principal, vault.id, email);
    return json({ message: `Removed ${email} from vault "${vault.name}"` });
  });

  router.on(setVaultUserRole, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const role = parseUserVaultRole((await request.body()).role);
    const email = await members.setUserRole(request.principal, vault.id, request.params.email, role);
    return json({ email, role, message: `${email} is now ${role} of vault "${vault.name}"` });
  });
}

function registerVaultAgents(router: ApiRouter, { access, members }: VaultMemberDependencies): void {
  router.on(listVaultAgents, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "access");
    const wanted = parsePage(request);
    const page = await members.pageOfAgents(vault.id, wanted);
    return json({
      agents: page.items.map((agent) => ({
        name: agent.name,
        agent_id: agent.agentId,
        vault_role: agent.role,
        status: agent.status,
      })),
      ...nextCursor(wanted, page),
    });
  });

  router.on(addVaultAgent, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const body = await request.body();
    const agent = requireText(body, "name");
    const role = parseVaultRole(body.role || "proxy");
    await members.addAgent(request.principal, vault.id, agent, role);
    return json({ message: `Agent "${agent}" added to vault "${vault.name}" as ${role}` }, { status: 201 });
  });

  router.on(removeVaultAgent, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const agent = request.params.agentName;
    await members.removeAgent(request.principal, vault.id, agent);
    return json({ message: `Agent "${agent}" removed from vault "${vault.name}"` });
  });

  router.on(setVaultAgentRole, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const role = parseVaultRole(requireText(await request.body(), "role"));
    const agent = request.params.agentName;
    const oldRole = await members.setAgentRole(request.principal, vault.id, agent, role);
    return json({ message: `Agent "${agent}" is now ${role}`, old_role: oldRole, new_role: role });
  });
}

function nameOf(request: ApiRequest<unknown, never, "name">): string {
  return request.params.name;
}
