/** Contracts of vaults, who is in them, and their settings (spec of accounts, 6.7 to 6.9). */
import { body, integer, needed, object, resettable, string, strings } from "../openapi/body.ts";
import { answer, authed, pageQuery } from "../openapi/contract.ts";
import { choice, constant, flag, listOf, maybe, named, shape, text, time, uuid, whole } from "../openapi/schema.ts";
import { email, message, nextCursor, slug, userVaultRole, vaultRole } from "./common.ts";

const area = "Vaults" as const;
const reads = { area, who: "vault-access" } as const;
const administers = { area, who: "vault-admin" } as const;
const owns = { area, who: "vault-admin-or-owner" } as const;

/** Of a vault whose credentials come from somewhere else. */
const storeSummary = named(
  "CredentialStore",
  shape({ kind: text(), last_sync_status: maybe(choice(["ok", "error"])), last_synced_at: maybe(time()) }),
);
const storeConfig = object({
  project_id: string(),
  environment: string(),
  secret_path: string(),
});
const storeFields = {
  kind: string(text("`builtin` or `infisical`")),
  config: storeConfig,
  poll_interval_seconds: integer(whole("How often the store is asked", { minimum: 0 })),
};
const createdVault = shape({ id: uuid(), name: text(), created_at: time() });

export const createVault = authed({
  area,
  who: "instance-member",
  method: "POST",
  path: "/v1/vaults",
  operation: "createVault",
  does: "Create a vault; whoever creates it becomes its admin",
  body: body({
    name: needed(string(slug("Name of the vault"))),
    credential_store: object(storeFields, "For vaults whose credentials come from somewhere else"),
  }),
  answers: { 201: answer(createdVault, "Created") },
  errors: [
    "name_required",
    "invalid_name",
    "reserved_name",
    "owner_required",
    "vault_exists",
    "infisical_not_configured",
  ],
});

export const listVaults = authed({
  area,
  who: "actor",
  method: "GET",
  path: "/v1/vaults",
  operation: "listVaults",
  does: "List vaults",
  notes: "Owners see all of them, others those that they have a grant on.",
  query: pageQuery,
  answers: {
    200: answer(
      shape({
        vaults: listOf(
          named(
            "Vault",
            shape({
              id: uuid(),
              name: text(),
              role: maybe(vaultRole),
              membership: choice(["explicit", "implicit"], "`implicit` for an owner without a grant"),
              is_default: flag(),
              created_at: time(),
              pending_proposals: whole(),
              credential_store: maybe(storeSummary),
            }),
          ),
        ),
        next_cursor: nextCursor,
      }),
    ),
  },
});

export const listAllVaults = authed({
  area,
  who: "owner",
  method: "GET",
  path: "/v1/admin/vaults",
  operation: "listAllVaults",
  does: "List every vault by name",
  query: pageQuery,
  answers: {
    200: answer(
      shape({
        vaults: listOf(shape({ id: uuid(), name: text(), is_default: flag(), created_at: time() })),
        next_cursor: nextCursor,
      }),
    ),
  },
});

export const showContext = authed({
  area,
  who: "actor",
  method: "GET",
  path: "/v1/vaults/{name}/context",
  operation: "showVaultContext",
  does: "Say what one is in a vault",
  answers: {
    200: answer(shape({ vault_name: text(), vault_role: vaultRole, credential_store: maybe(storeSummary) })),
  },
  errors: ["vault_not_found", "no_vault_access"],
});

export const deleteVault = authed({
  ...owns,
  method: "DELETE",
  path: "/v1/vaults/{name}",
  operation: "deleteVault",
  does: "Delete a vault with everything in it",
  answers: { 200: answer(shape({ name: text(), deleted: constant(true) })) },
  errors: ["default_vault"],
});

export const renameVault = authed({
  ...owns,
  method: "POST",
  path: "/v1/vaults/{name}/rename",
  operation: "renameVault",
  does: "Rename a vault",
  body: body({ name: needed(string(slug("The new name"))) }),
  answers: { 200: answer(shape({ message: text(), old_name: text(), new_name: text() })) },
  errors: ["default_vault", "name_required", "invalid_name", "reserved_name", "vault_exists"],
});

export const joinVault = authed({
  area,
  who: "owner",
  method: "POST",
  path: "/v1/vaults/{name}/join",
  operation: "joinVault",
  does: "Become an admin of a vault",
  answers: { 200: answer(shape({ vault: text(), role: constant("admin"), joined: constant(true) })) },
  errors: ["vault_not_found", "already_member"],
});

export const leaveVault = authed({
  ...reads,
  method: "POST",
  path: "/v1/vaults/{name}/leave",
  operation: "leaveVault",
  does: "Give up one's own grant on a vault",
  answers: { 200: answer(message) },
  errors: ["actor_required", "last_admin", "grant_not_found"],
});

const settings = {
  unmatched_host_policy: choice(["passthrough", "deny"], "What happens to requests to hosts without a service"),
  scrub: choice(["off", "detect", "redact", "block"], "What happens to injected values in answers"),
  network_allowlist: maybe(listOf(text(), "Private networks that the vault may reach")),
  upstream_ca: maybe(text("PEM certificates that the vault trusts besides the usual ones")),
};

export const getVaultSettings = authed({
  ...reads,
  method: "GET",
  path: "/v1/vaults/{name}/settings",
  operation: "getVaultSettings",
  does: "Show the settings of a vault",
  notes: "Networks and certificates are shown to members and admins.",
  answers: { 200: answer(shape({ ...settings, infisical_available: flag() })) },
});

export const changeVaultSettings = authed({
  ...owns,
  method: "PATCH",
  path: "/v1/vaults/{name}/settings",
  operation: "changeVaultSettings",
  does: "Change settings of a vault",
  notes: "What is left out stays as it is; an empty text sets back to the default.",
  body: body({
    unmatched_host_policy: string(text("`passthrough`, `deny`, or empty for the default")),
    scrub: string(text("`off`, `detect`, `redact`, `block`, or empty for the default")),
    network_allowlist: resettable(strings(listOf(text(), "Addresses and networks, such as 10.1.0.0/16"))),
    upstream_ca: resettable(string(text("PEM certificates"))),
  }),
  answers: { 200: answer(shape(settings)) },
  errors: ["invalid_policy", "invalid_scrub", "invalid_network", "network_not_offered", "invalid_certificate"],
});

export const setCredentialStore = authed({
  ...owns,
  method: "PATCH",
  path: "/v1/vaults/{name}/credential-store",
  operation: "setCredentialStore",
  does: "Say where the credentials of a vault come from",
  body: body({ ...storeFields, kind: needed(storeFields.kind) }),
  answers: { 200: answer(shape({ credential_store: shape({ kind: constant("builtin") }) })) },
  errors: ["unknown_credential_store", "owner_required", "infisical_not_configured"],
});

export const syncVault = authed({
  area,
  who: "vault-member",
  method: "POST",
  path: "/v1/vaults/{name}/sync",
  operation: "syncVault",
  does: "Read the credentials of a vault from its external store now",
  answers: { 200: answer(shape({ credential_store: storeSummary })) },
  errors: ["no_external_store", "actor_required"],
});

export const listCredentialStores = authed({
  area: "Instance",
  who: "actor",
  method: "GET",
  path: "/v1/instance/credential-stores",
  operation: "listCredentialStores",
  does: "List where credentials of vaults can come from",
  answers: { 200: answer(shape({ available: listOf(text()) })) },
});

export const listVaultUsers = authed({
  ...reads,
  method: "GET",
  path: "/v1/vaults/{name}/users",
  operation: "listVaultUsers",
  does: "List the people of a vault, invited ones last",
  query: pageQuery,
  answers: {
    200: answer(
      shape({
        users: listOf(shape({ email, role: vaultRole, status: choice(["active", "pending"]) })),
        next_cursor: nextCursor,
      }),
    ),
  },
});

export const addVaultUser = authed({
  ...administers,
  method: "POST",
  path: "/v1/vaults/{name}/users",
  operation: "addVaultUser",
  does: "Give a person access to a vault",
  body: body({ email: needed(string(email)), role: string(userVaultRole) }),
  answers: { 201: answer(shape({ email, role: userVaultRole }), "Added") },
  errors: ["invalid_email", "invalid_role", "user_not_found", "already_member"],
});

export const removeVaultUser = authed({
  ...administers,
  method: "DELETE",
  path: "/v1/vaults/{name}/users/{email}",
  operation: "removeVaultUser",
  does: "Take the access of a person to a vault away",
  answers: { 200: answer(message) },
  errors: ["user_not_found", "grant_not_found", "last_admin"],
});

export const setVaultUserRole = authed({
  ...administers,
  method: "POST",
  path: "/v1/vaults/{name}/users/{email}/role",
  operation: "setVaultUserRole",
  does: "Give a person another role in a vault",
  body: body({ role: needed(string(userVaultRole)) }),
  answers: { 200: answer(shape({ email: text(), role: userVaultRole, message: text() })) },
  errors: ["invalid_role", "user_not_found", "grant_not_found", "last_admin"],
});

export const listVaultAgents = authed({
  ...reads,
  method: "GET",
  path: "/v1/vaults/{name}/agents",
  operation: "listVaultAgents",
  does: "List the agents of a vault by name",
  query: pageQuery,
  answers: {
    200: answer(
      shape({
        agents: listOf(
          shape({ name: text(), agent_id: uuid(), vault_role: vaultRole, status: choice(["active", "revoked"]) }),
        ),
        next_cursor: nextCursor,
      }),
    ),
  },
});

export const addVaultAgent = authed({
  ...administers,
  method: "POST",
  path: "/v1/vaults/{name}/agents",
  operation: "addVaultAgent",
  does: "Give an agent access to a vault",
  body: body({ name: needed(string(slug("Name of the agent"))), role: string(vaultRole) }),
  answers: { 201: answer(message, "Added") },
  errors: ["missing_field", "invalid_role", "agent_not_found", "agent_revoked", "already_member"],
});

export const removeVaultAgent = authed({
  ...administers,
  method: "DELETE",
  path: "/v1/vaults/{name}/agents/{agentName}",
  operation: "removeVaultAgent",
  does: "Take the access of an agent to a vault away",
  answers: { 200: answer(message) },
  errors: ["agent_not_found", "grant_not_found"],
});

export const setVaultAgentRole = authed({
  ...administers,
  method: "POST",
  path: "/v1/vaults/{name}/agents/{agentName}/role",
  operation: "setVaultAgentRole",
  does: "Give an agent another role in a vault",
  body: body({ role: needed(string(vaultRole)) }),
  answers: { 200: answer(shape({ message: text(), old_role: vaultRole, new_role: vaultRole })) },
  errors: ["missing_field", "invalid_role", "agent_not_found", "grant_not_found"],
});
