/** People and agents of a vault (spec of accounts, 6.8 and 6.9). */
import type { Access } from "../../domain/actors/access.ts";
import { parseEmail } from "../../domain/actors/email.ts";
import { parseUserVaultRole, parseVaultRole } from "../../domain/actors/roles.ts";
import type { Members } from "../../domain/vaults/member.ts";
import { json } from "../answer.ts";
import { Fields } from "../fields.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRequest, ApiRouter } from "../router.ts";
import { requireText } from "./agents.ts";

export interface VaultMemberDependencies {
  readonly access: Access;
  readonly members: Members;
}

const authed = { access: "session", tier: "authed" } as const;
const withBody = { ...authed, body: true } as const;

export function registerVaultMemberRoutes(router: ApiRouter, dependencies: VaultMemberDependencies): void {
  registerVaultUsers(router, dependencies);
  registerVaultAgents(router, dependencies);
}

function registerVaultUsers(router: ApiRouter, { access, members }: VaultMemberDependencies): void {
  router.on("GET", "/v1/vaults/{name}/users", authed, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "access");
    const wanted = parsePage(request);
    const page = await members.pageOfUsers(vault.id, wanted);
    return json({ users: page.items, ...nextCursor(wanted, page) });
  });

  router.on("POST", "/v1/vaults/{name}/users", withBody, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const fields = new Fields(await request.json());
    const address = parseEmail(fields.string("email"));
    const role = parseUserVaultRole(fields.string("role") || "member");
    const email = await members.addUser(request.principal, vault.id, address, role);
    return json({ email, role }, { status: 201 });
  });

  router.on("DELETE", "/v1/vaults/{name}/users/{email}", authed, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const email = request.params.email ?? "";
    await members.removeUser(request.principal, vault.id, email);
    return json({ message: `Removed ${email} from vault "${vault.name}"` });
  });

  router.on("POST", "/v1/vaults/{name}/users/{email}/role", withBody, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const role = parseUserVaultRole(new Fields(await request.json()).string("role") ?? "");
    const email = await members.setUserRole(request.principal, vault.id, request.params.email ?? "", role);
    return json({ email, role, message: `${email} is now ${role} of vault "${vault.name}"` });
  });
}

function registerVaultAgents(router: ApiRouter, { access, members }: VaultMemberDependencies): void {
  router.on("GET", "/v1/vaults/{name}/agents", authed, async (request) => {
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

  router.on("POST", "/v1/vaults/{name}/agents", withBody, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const fields = new Fields(await request.json());
    const agent = requireText(fields, "name");
    const role = parseVaultRole(fields.string("role") || "proxy");
    await members.addAgent(request.principal, vault.id, agent, role);
    return json({ message: `Agent "${agent}" added to vault "${vault.name}" as ${role}` }, { status: 201 });
  });

  router.on("DELETE", "/v1/vaults/{name}/agents/{agentName}", authed, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const agent = request.params.agentName ?? "";
    await members.removeAgent(request.principal, vault.id, agent);
    return json({ message: `Agent "${agent}" removed from vault "${vault.name}"` });
  });

  router.on("POST", "/v1/vaults/{name}/agents/{agentName}/role", withBody, async (request) => {
    const { vault } = await access.vault(request.principal, nameOf(request), "admin");
    const role = parseVaultRole(requireText(new Fields(await request.json()), "role"));
    const agent = request.params.agentName ?? "";
    const oldRole = await members.setAgentRole(request.principal, vault.id, agent, role);
    return json({ message: `Agent "${agent}" is now ${role}`, old_role: oldRole, new_role: role });
  });
}

function nameOf(request: ApiRequest): string {
  return request.params.name ?? "";
}
