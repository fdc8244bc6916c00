/** People, for members and owners (spec of accounts, 6.4). */
import type { Access } from "../../domain/actors/access.ts";
import { parseInstanceRole } from "../../domain/actors/roles.ts";
import type { User, Users, VaultGrant } from "../../domain/actors/user.ts";
import { InvalidInput } from "../../errors.ts";
import { json, wireTime } from "../answer.ts";
import { getUser, listUsers, removeUser, setUserRole } from "../contracts/users.ts";
import { nextCursor, parsePage } from "../page.ts";
import type { ApiRouter } from "../router.ts";

export interface UserDependencies {
  readonly access: Access;
  readonly users: Users;
}

export function registerUserRoutes(router: ApiRouter, { access, users }: UserDependencies): void {
  router.on(listUsers, async (request) => {
    const actor = access.instanceMember(request.principal);
    const wanted = parsePage(request);
    const page = await users.page(wanted);
    return json({
      users: page.items.map((user) => ({
        email: user.email,
        role: user.role,
        ...(actor.role === "owner" && { vaults: user.vaults.map(formatGrant) }),
        created_at: wireTime(user.createdAt),
      })),
      ...nextCursor(wanted, page),
    });
  });

  router.on(getUser, async (request) => {
    const actor = access.actor(request.principal);
    const email = request.params.email;
    if (email !== "me") return json(formatUser(await users.get(actor, email), "objects"));
    if (actor.kind !== "user") throw new InvalidInput("no_own_record", "An agent has no user record");
    return json(formatUser(await users.get(actor, actor.email), "names"));
  });

  router.on(removeUser, async (request) => {
    const owner = access.owner(request.principal);
    const email = request.params.email;
    const agents = await users.remove(owner, email);
    return json({ status: "removed", email, ...(agents.length > 0 && { agents }) });
  });

  router.on(setUserRole, async (request) => {
    const owner = access.owner(request.principal);
    const role = parseInstanceRole((await request.body()).role);
    const email = request.params.email;
    await users.setRole(owner, email, role);
    return json({ email, role });
  });
}

export function formatGrant(grant: VaultGrant): object {
  return { vault_name: grant.vaultName, vault_role: grant.vaultRole };
}

/** The existing command line reads names in one's own record, and objects in somebody else's. */
function formatUser(user: User, vaults: "names" | "objects"): object {
  return {
    email: user.email,
    role: user.role,
    vaults: vaults === "names" ? user.vaults.map(({ vaultName }) => vaultName) : user.vaults.map(formatGrant),
    created_at: wireTime(user.createdAt),
  };
}
