/**
 * Every route that changes something leaves exactly the entries that it should, by whom and from where; what changes
 * nothing leaves none. A route that is not in the table fails the test, so a new one cannot be forgotten.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { AuditRow } from "../../src/domain/audit/entry.ts";
import { establishRoots } from "../../src/domain/authority-rows.ts";
import { ApiServer, type Call, describeOnEachEngine, password, type ScratchDatabase } from "../support/api-server.ts";
import { OAuthProvider } from "../support/oauth-provider.ts";
import { makeKeyring } from "../support/vault-world.ts";

/** Planted wherever a secret can be written; none of it may ever be in an entry. */
const secrets = {
  value: "sk_live_PLANTED_credential_value",
  header: "PLANTED-literal-header-key",
  prefix: "PLANTEDprefix ",
  newPassword: "PLANTED-password-2",
  wrongPassword: "PLANTED-wrong-password",
  strangerEmail: "PLANTED-password-typed-as-address",
};

const keyring = await makeKeyring();

interface World {
  readonly api: ApiServer;
  readonly provider: OAuthProvider;
  readonly owner: string;
  /** A fresh name. */
  name(): string;
  /** A fresh vault that the owner administers. */
  vault(): Promise<string>;
  /** A fresh agent of the owner's. */
  agent(): Promise<string>;
  /** A fresh person: address and token. */
  person(role?: string): Promise<{ readonly email: string; readonly token: string }>;
  /** A fresh invitation. */
  invite(): Promise<{ readonly email: string; readonly token: string }>;
  /** The token of a fresh invitation of an agent into the default vault, or of one that rotates the token of another. */
  agentInvite(rotates?: string): Promise<string>;
  credential(vault: string): Promise<void>;
  /** Begins an OAuth connection of `TOK`. @returns where the person goes to consent. */
  connect(vault: string): Promise<string>;
  service(vault: string, name?: string): Promise<void>;
}

/** One request, made ready: only what it writes is looked at. */
interface Prepared extends Call {
  /** Parameters of the path, in order. */
  readonly at?: readonly string[];
  readonly query?: string;
  readonly status?: number;
  /** Who the entries must be attributed to; the owner when absent. */
  readonly by?: { readonly type: string; readonly name: string; readonly hasNoSession?: true };
}

interface Row {
  readonly route: string;
  readonly case?: string;
  /** The actions of the entries, in order. */
  readonly writes: readonly string[];
  prepare(world: World): Promise<Prepared>;
}

const nobody = { type: "anonymous", name: "" };
const service = (name: string) => ({
  name,
  host: `${name}.example.com`,
  auth: { type: "custom", headers: { "X-Key": `${secrets.header} {{ TOK }}` } },
});
const apiKey = (name: string) => ({
  name,
  host: `${name}.example.com`,
  auth: { type: "api-key", key: "TOK", prefix: secrets.prefix },
});

const table: readonly Row[] = [
  {
    route: "POST /v1/auth/register",
    case: "of an address that is new",
    writes: ["account.register"],
    prepare: async ({ name }) => ({
      body: { email: `${name()}@example.com`, password: secrets.newPassword },
      status: 201,
      by: nobody,
    }),
  },
  {
    route: "POST /v1/auth/register",
    case: "of an address that is known",
    writes: ["account.register_again"],
    prepare: async ({ person }) => ({
      body: { email: (await person()).email, password: secrets.newPassword },
      status: 201,
      by: nobody,
    }),
  },
  {
    route: "POST /v1/auth/verify",
    writes: ["account.verify"],
    async prepare({ api, name }) {
      const email = `${name()}@example.com`;
      await api.expect(201, "POST", "/v1/auth/register", { body: { email, password } });
      return { body: { email, code: api.codeFor(email) }, by: { type: "user", name: email } };
    },
  },
  {
    route: "POST /v1/auth/verify",
    case: "with a wrong code",
    writes: ["account.verify_failed"],
    prepare: async ({ person }) => ({
      body: { email: (await person()).email, code: "999999x" },
      status: 400,
      by: nobody,
    }),
  },
  {
    route: "POST /v1/auth/resend-verification",
    writes: ["account.request_verification"],
    async prepare({ api, name }) {
      const email = `${name()}@example.com`;
      await api.expect(201, "POST", "/v1/auth/register", { body: { email, password } });
      return { body: { email }, by: nobody };
    },
  },
  {
    route: "POST /v1/auth/forgot-password",
    writes: ["account.request_reset"],
    prepare: async ({ person }) => ({ body: { email: (await person()).email }, by: nobody }),
  },
  {
    route: "POST /v1/auth/forgot-password",
    case: "for an address that has no account, like for one that has",
    writes: ["account.request_reset"],
    prepare: async () => ({ body: { email: secrets.strangerEmail }, by: nobody }),
  },
  {
    route: "POST /v1/auth/reset-password",
    writes: ["account.reset_password"],
    async prepare({ api, person }) {
      const { email } = await person();
      await api.expect(200, "POST", "/v1/auth/forgot-password", { body: { email } });
      const body = { email, code: api.codeFor(email), new_password: secrets.newPassword };
      return { body, by: { type: "user", name: email } };
    },
  },
  {
    route: "POST /v1/auth/reset-password",
    case: "with a wrong code",
    writes: ["account.reset_failed"],
    prepare: async ({ person }) => ({
      body: { email: (await person()).email, code: "999999x", new_password: secrets.newPassword },
      status: 400,
      by: nobody,
    }),
  },
  {
    route: "POST /v1/auth/login",
    writes: ["account.login"],
    async prepare({ person }) {
      const { email } = await person();
      return { body: { email, password }, by: { type: "user", name: email } };
    },
  },
  {
    route: "POST /v1/auth/login",
    case: "with a wrong password",
    writes: ["account.login_failed"],
    prepare: async ({ person }) => ({
      body: { email: (await person()).email, password: secrets.wrongPassword },
      status: 401,
      by: nobody,
    }),
  },
  {
    route: "POST /v1/auth/login",
    case: "with a password where the address belongs",
    writes: ["account.login_failed"],
    prepare: async () => ({
      body: { email: secrets.strangerEmail, password: secrets.wrongPassword },
      status: 401,
      by: nobody,
    }),
  },
  {
    route: "POST /v1/auth/logout",
    writes: ["account.logout"],
    async prepare({ person }) {
      const { email, token } = await person();
      return { token, by: { type: "user", name: email } };
    },
  },
  {
    route: "POST /v1/auth/logout",
    case: "with an unknown token",
    writes: [],
    prepare: async () => ({ token: "av_sess_unknown" }),
  },
  {
    route: "POST /v1/auth/change-password",
    writes: ["account.change_password"],
    async prepare({ person }) {
      const { email, token } = await person();
      const body = { current_password: password, new_password: secrets.newPassword };
      return { token, body, by: { type: "user", name: email } };
    },
  },
  {
    route: "POST /v1/auth/change-password",
    case: "with a wrong one",
    writes: ["account.change_password_failed"],
    async prepare({ person }) {
      const { email, token } = await person();
      const body = { current_password: secrets.wrongPassword, new_password: secrets.newPassword };
      return { token, body, status: 401, by: { type: "user", name: email } };
    },
  },
  {
    route: "DELETE /v1/auth/account",
    case: "with a grant on a vault",
    writes: ["member.remove", "account.delete"],
    async prepare({ api, owner, person, vault }) {
      const { email, token } = await person();
      await api.expect(201, "POST", `/v1/vaults/${await vault()}/users`, { token: owner, body: { email } });
      return { token, by: { type: "user", name: email } };
    },
  },
  {
    route: "DELETE /v1/auth/sessions/{id}",
    writes: ["session.revoke"],
    async prepare({ api, person }) {
      const { email, token } = await person();
      const { sessions } = await api.expect(200, "GET", "/v1/auth/sessions", { token });
      return { token, at: [(sessions as { id: string }[])[0]?.id ?? ""], by: { type: "user", name: email } };
    },
  },
  {
    route: "DELETE /v1/admin/users/{email}",
    case: "with a grant on a vault",
    writes: ["member.remove", "user.remove"],
    async prepare({ api, owner, person, vault }) {
      const { email } = await person();
      await api.expect(201, "POST", `/v1/vaults/${await vault()}/users`, { token: owner, body: { email } });
      return { token: owner, at: [email] };
    },
  },
  {
    route: "POST /v1/admin/users/{email}/role",
    writes: ["user.set_role"],
    prepare: async ({ owner, person }) => ({ token: owner, at: [(await person()).email], body: { role: "no-access" } }),
  },
  {
    route: "POST /v1/admin/users/{email}/role",
    case: "to the role that it is already",
    writes: [],
    prepare: async ({ owner, person }) => ({ token: owner, at: [(await person()).email], body: { role: "member" } }),
  },
  {
    route: "POST /v1/users/invites",
    writes: ["invite.create"],
    prepare: async ({ owner, name, vault }) => ({
      token: owner,
      body: { email: `${name()}@example.com`, vaults: [{ vault_name: await vault(), vault_role: "admin" }] },
      status: 201,
    }),
  },
  {
    route: "DELETE /v1/users/invites/{token}",
    writes: ["invite.revoke"],
    prepare: async ({ owner, invite }) => ({ token: owner, at: [(await invite()).token] }),
  },
  {
    route: "POST /v1/users/invites/{token}/reinvite",
    writes: ["invite.reinvite"],
    prepare: async ({ owner, invite }) => ({ token: owner, at: [(await invite()).token], status: 201 }),
  },
  {
    route: "POST /v1/users/invites/{token}/accept",
    case: "with a vault",
    writes: ["invite.accept", "member.add"],
    prepare: async ({ invite }) => ({
      at: [(await invite()).token],
      body: { password: secrets.newPassword },
      by: nobody,
    }),
  },
  {
    route: "POST /v1/agents",
    case: "with a grant on a vault",
    writes: ["agent.create", "member.add"],
    prepare: async ({ owner, name }) => ({
      token: owner,
      body: { name: name(), vaults: [{ vault_name: "default" }] },
      status: 201,
    }),
  },
  {
    route: "POST /v1/agents",
    case: "with a name that is taken: nothing happened, so nothing is written",
    writes: [],
    prepare: async ({ owner, agent }) => ({ token: owner, body: { name: await agent() }, status: 409 }),
  },
  {
    route: "DELETE /v1/agents/{name}",
    writes: ["agent.revoke"],
    prepare: async ({ owner, agent }) => ({ token: owner, at: [await agent()] }),
  },
  {
    route: "POST /v1/agents/{name}/delete",
    case: "with a grant on a vault",
    writes: ["member.remove", "agent.delete"],
    async prepare({ api, owner, agent, vault }) {
      const name = await agent();
      await api.expect(201, "POST", `/v1/vaults/${await vault()}/agents`, { token: owner, body: { name } });
      return { token: owner, at: [name] };
    },
  },
  {
    route: "POST /v1/agents/{name}/rotate",
    writes: ["agent.rotate"],
    prepare: async ({ owner, agent }) => ({ token: owner, at: [await agent()] }),
  },
  {
    route: "POST /v1/agents/{name}/rename",
    writes: ["agent.rename"],
    prepare: async ({ owner, agent, name }) => ({ token: owner, at: [await agent()], body: { name: name() } }),
  },
  {
    route: "POST /v1/agents/{name}/role",
    writes: ["agent.set_role"],
    prepare: async ({ owner, agent }) => ({ token: owner, at: [await agent()], body: { role: "member" } }),
  },
  {
    route: "POST /v1/agent-invites",
    writes: ["agent_invite.create"],
    prepare: async ({ owner, name, vault }) => ({
      token: owner,
      body: { name: name(), vaults: [{ vault_name: await vault() }] },
      status: 201,
    }),
  },
  {
    route: "POST /v1/agent-invites",
    case: "to a new token",
    writes: ["agent_invite.create"],
    prepare: async ({ owner, agent }) => ({ token: owner, body: { name: await agent(), rotate: true }, status: 201 }),
  },
  {
    route: "DELETE /v1/agent-invites/{token}",
    writes: ["agent_invite.revoke"],
    prepare: async ({ owner, agentInvite }) => ({ token: owner, at: [await agentInvite()] }),
  },
  {
    route: "POST /invite/{token}",
    case: "with a vault",
    writes: ["agent_invite.redeem", "agent.create", "member.add"],
    prepare: async ({ agentInvite, name }) => ({ at: [await agentInvite()], body: { name: name() }, by: nobody }),
  },
  {
    route: "POST /invite/{token}",
    case: "to a new token",
    writes: ["agent_invite.redeem", "agent.rotate"],
    prepare: async ({ agent, agentInvite }) => ({ at: [await agentInvite(await agent())], body: {}, by: nobody }),
  },
  {
    route: "POST /invite/{token}",
    case: "with a name that is taken: the invitation stays open, so nothing is written",
    writes: [],
    prepare: async ({ agent, agentInvite }) => ({
      at: [await agentInvite()],
      body: { name: await agent() },
      status: 409,
    }),
  },
  {
    route: "POST /v1/vaults",
    writes: ["vault.create"],
    prepare: async ({ owner, name }) => ({ token: owner, body: { name: name() }, status: 201 }),
  },
  {
    route: "DELETE /v1/vaults/{name}",
    writes: ["vault.delete"],
    async prepare({ owner, vault, credential, service: addService }) {
      const at = await vault();
      await credential(at);
      await addService(at);
      return { token: owner, at: [at] };
    },
  },
  {
    route: "POST /v1/vaults/{name}/rename",
    writes: ["vault.rename"],
    prepare: async ({ owner, vault, name }) => ({ token: owner, at: [await vault()], body: { name: name() } }),
  },
  {
    route: "POST /v1/vaults/{name}/join",
    writes: ["vault.join"],
    async prepare({ api, person, owner, name }) {
      const { token } = await person();
      const vault = name();
      await api.addVault(token, vault);
      return { token: owner, at: [vault] };
    },
  },
  {
    route: "POST /v1/vaults/{name}/leave",
    writes: ["vault.leave"],
    async prepare({ api, person, owner, vault }) {
      const { email, token } = await person();
      const at = await vault();
      await api.expect(201, "POST", `/v1/vaults/${at}/users`, { token: owner, body: { email } });
      return { token, at: [at], by: { type: "user", name: email } };
    },
  },
  {
    route: "PATCH /v1/vaults/{name}/settings",
    writes: ["vault.set_policy"],
    prepare: async ({ owner, vault }) => ({
      token: owner,
      at: [await vault()],
      body: { unmatched_host_policy: "deny" },
    }),
  },
  {
    route: "PATCH /v1/vaults/{name}/settings",
    case: "of answers with credentials",
    writes: ["vault.set_policy"],
    prepare: async ({ owner, vault }) => ({ token: owner, at: [await vault()], body: { scrub: "block" } }),
  },
  {
    route: "POST /v1/proposals",
    writes: ["proposal.create"],
    prepare: async ({ owner, vault, api }) => ({
      token: await api.mint(owner, await vault()),
      body: { credentials: [{ action: "set", key: "TOK", value: secrets.value }] },
      status: 201,
      by: { type: "user", name: "" },
    }),
  },
  {
    route: "POST /v1/admin/proposals/{id}/approve",
    writes: ["credential.set", "proposal.approve"],
    prepare: async ({ owner, vault, api }) => {
      const name = await vault();
      await propose(api, owner, name);
      return { token: owner, at: ["1"], body: { vault: name, credentials: { TOK: secrets.value } } };
    },
  },
  {
    route: "POST /v1/admin/proposals/{id}/reject",
    writes: ["proposal.reject"],
    prepare: async ({ owner, vault, api }) => {
      const name = await vault();
      await propose(api, owner, name);
      return { token: owner, at: ["1"], body: { vault: name, reason: "no" } };
    },
  },
  {
    route: "PUT /v1/vaults/{name}/proposal-webhook",
    writes: ["webhook.set"],
    prepare: async ({ owner, vault }) => ({
      token: owner,
      at: [await vault()],
      body: { url: `https://hooks.example.com/${secrets.header}` },
    }),
  },
  {
    route: "DELETE /v1/vaults/{name}/proposal-webhook",
    writes: ["webhook.remove"],
    prepare: async ({ owner, vault, api }) => {
      const name = await vault();
      const body = { url: "https://hooks.example.com/x" };
      await api.expect(200, "PUT", `/v1/vaults/${name}/proposal-webhook`, { token: owner, body });
      return { token: owner, at: [name] };
    },
  },
  {
    route: "PATCH /v1/vaults/{name}/settings",
    case: "of its networks",
    writes: ["vault.set_network"],
    prepare: async ({ owner, vault }) => ({ token: owner, at: [await vault()], body: { network_allowlist: [] } }),
  },
  {
    route: "PATCH /v1/vaults/{name}/settings",
    case: "that names no setting",
    writes: [],
    prepare: async ({ owner, vault }) => ({ token: owner, at: [await vault()], body: {} }),
  },
  {
    route: "PATCH /v1/vaults/{name}/credential-store",
    case: "to the store that it has",
    writes: [],
    prepare: async ({ owner, vault }) => ({ token: owner, at: [await vault()], body: { kind: "builtin" } }),
  },
  {
    route: "POST /v1/vaults/{name}/sync",
    case: "without an external store",
    writes: [],
    prepare: async ({ owner, vault }) => ({ token: owner, at: [await vault()], status: 400 }),
  },
  {
    route: "POST /v1/vaults/{name}/users",
    writes: ["member.add"],
    prepare: async ({ owner, vault, person }) => ({
      token: owner,
      at: [await vault()],
      body: { email: (await person()).email },
      status: 201,
    }),
  },
  {
    route: "DELETE /v1/vaults/{name}/users/{email}",
    writes: ["member.remove"],
    async prepare({ api, owner, vault, person }) {
      const [at, { email }] = [await vault(), await person()];
      await api.expect(201, "POST", `/v1/vaults/${at}/users`, { token: owner, body: { email } });
      return { token: owner, at: [at, email] };
    },
  },
  {
    route: "POST /v1/vaults/{name}/users/{email}/role",
    writes: ["member.set_role"],
    async prepare({ api, owner, vault, person }) {
      const [at, { email }] = [await vault(), await person()];
      await api.expect(201, "POST", `/v1/vaults/${at}/users`, { token: owner, body: { email } });
      return { token: owner, at: [at, email], body: { role: "admin" } };
    },
  },
  {
    route: "POST /v1/vaults/{name}/agents",
    writes: ["member.add"],
    prepare: async ({ owner, vault, agent }) => ({
      token: owner,
      at: [await vault()],
      body: { name: await agent() },
      status: 201,
    }),
  },
  {
    route: "DELETE /v1/vaults/{name}/agents/{agentName}",
    writes: ["member.remove"],
    async prepare({ api, owner, vault, agent }) {
      const [at, robot] = [await vault(), await agent()];
      await api.expect(201, "POST", `/v1/vaults/${at}/agents`, { token: owner, body: { name: robot } });
      return { token: owner, at: [at, robot] };
    },
  },
  {
    route: "POST /v1/vaults/{name}/agents/{agentName}/role",
    writes: ["member.set_role"],
    async prepare({ api, owner, vault, agent }) {
      const [at, robot] = [await vault(), await agent()];
      await api.expect(201, "POST", `/v1/vaults/${at}/agents`, { token: owner, body: { name: robot } });
      return { token: owner, at: [at, robot], body: { role: "admin" } };
    },
  },
  {
    route: "POST /v1/sessions",
    writes: ["token.mint"],
    prepare: async ({ owner, vault }) => ({ token: owner, body: { vault: await vault(), label: "ci" } }),
  },
  {
    route: "DELETE /v1/sessions/{id}",
    writes: ["token.revoke"],
    async prepare({ api, owner, vault }) {
      const at = await vault();
      const { id } = await api.expect(200, "POST", "/v1/sessions", { token: owner, body: { vault: at } });
      return { token: owner, at: [String(id)], query: `?vault=${at}` };
    },
  },
  {
    route: "POST /v1/admin/ca/rotation",
    writes: ["authority.rotate"],
    async prepare({ api, owner }) {
      await establishRoots(api.database, keyring, api.clock);
      return { token: owner, body: { overlap_seconds: 60 }, status: 201 };
    },
  },
  {
    route: "POST /v1/admin/ca/rotation",
    case: "while one is under way",
    writes: [],
    prepare: async ({ owner }) => ({ token: owner, body: {}, status: 409 }),
  },
  {
    route: "DELETE /v1/admin/ca/rotation",
    writes: ["authority.cancel"],
    prepare: async ({ owner }) => ({ token: owner }),
  },
  {
    route: "POST /v1/admin/ca/rotation/activate",
    case: "without a new root",
    writes: [],
    prepare: async ({ owner }) => ({ token: owner, status: 409 }),
  },
  {
    route: "POST /v1/admin/ca/rotation/activate",
    writes: ["authority.activate"],
    async prepare({ api, owner }) {
      await api.expect(201, "POST", "/v1/admin/ca/rotation", { token: owner, body: {} });
      return { token: owner };
    },
  },
  {
    route: "POST /v1/admin/ca/rotation/finish",
    writes: ["authority.finish"],
    prepare: async ({ owner }) => ({ token: owner }),
  },
  {
    route: "PUT /v1/admin/settings",
    writes: ["settings.change"],
    prepare: async ({ owner }) => ({ token: owner, body: { allowed_email_domains: ["example.com"] } }),
  },
  {
    route: "PUT /v1/admin/settings",
    case: "that names no setting",
    writes: [],
    prepare: async ({ owner }) => ({ token: owner, body: {} }),
  },
  {
    route: "POST /v1/admin/settings/rate-limit/preview",
    writes: [],
    prepare: async ({ owner }) => ({ token: owner, body: { profile: "strict" } }),
  },
  {
    route: "POST /v1/admin/email/test",
    case: "without a mail server",
    writes: [],
    prepare: async ({ owner }) => ({ token: owner, body: {}, status: 400 }),
  },
  {
    route: "POST /v1/vaults/{name}/services",
    case: "of one that is new and one that is there",
    writes: ["service.set", "service.set"],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "first");
      return { token: owner, at: [at], body: { services: [apiKey("first"), service("second")] } };
    },
  },
  {
    route: "POST /v1/vaults/{name}/services",
    case: "of what is there already",
    writes: [],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "first");
      return { token: owner, at: [at], body: { services: [service("first")] } };
    },
  },
  {
    route: "PUT /v1/vaults/{name}/services",
    case: "that drops one, adds one and keeps one",
    writes: ["service.remove", "service.set"],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "kept");
      await addService(at, "dropped");
      return { token: owner, at: [at], body: { services: [service("kept"), service("added")] } };
    },
  },
  {
    route: "PUT /v1/vaults/{name}/services",
    case: "in another order",
    writes: ["service.reorder"],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "one");
      await addService(at, "two");
      return { token: owner, at: [at], body: { services: [service("two"), service("one")] } };
    },
  },
  {
    route: "DELETE /v1/vaults/{name}/services",
    writes: ["service.remove", "service.remove"],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "one");
      await addService(at, "two");
      return { token: owner, at: [at] };
    },
  },
  {
    route: "PATCH /v1/vaults/{name}/services/{ref}",
    writes: ["service.disable"],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "one");
      return { token: owner, at: [at, "one"], body: { enabled: false } };
    },
  },
  {
    route: "PATCH /v1/vaults/{name}/services/{ref}",
    case: "on",
    writes: ["service.enable"],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "one");
      return { token: owner, at: [at, "one"], body: { enabled: true } };
    },
  },
  {
    route: "DELETE /v1/vaults/{name}/services/{ref}",
    writes: ["service.remove"],
    async prepare({ owner, vault, service: addService }) {
      const at = await vault();
      await addService(at, "one");
      return { token: owner, at: [at, "one"] };
    },
  },
  {
    route: "POST /v1/credentials",
    writes: ["credential.set", "credential.set"],
    async prepare({ owner, vault, credential }) {
      const at = await vault();
      await credential(at);
      const credentials = { TOK: `${secrets.value}-2`, OTHER: `${secrets.value}-3` };
      return { token: owner, body: { vault: at, credentials } };
    },
  },
  {
    route: "DELETE /v1/credentials",
    writes: ["credential.delete"],
    async prepare({ owner, vault, credential }) {
      const at = await vault();
      await credential(at);
      return { token: owner, body: { vault: at, keys: ["TOK"] } };
    },
  },
  {
    route: "PATCH /v1/credentials/{key}",
    writes: ["credential.annotate"],
    async prepare({ owner, vault, credential }) {
      const at = await vault();
      await credential(at);
      return { token: owner, at: ["TOK"], body: { vault: at, description: "of the shop", expires_at: "2030-01-31" } };
    },
  },
  {
    route: "POST /v1/credentials/{key}/restore",
    writes: ["credential.restore"],
    async prepare({ owner, vault, credential }) {
      const at = await vault();
      await credential(at);
      return { token: owner, at: ["TOK"], body: { vault: at, version: 1 } };
    },
  },
  {
    route: "POST /v1/credentials/oauth/connect",
    writes: ["credential.connect"],
    prepare: async ({ owner, provider, vault }) => ({ token: owner, body: oauthSettings(provider, await vault()) }),
  },
  {
    route: "GET /v1/oauth/callback",
    case: "of a program",
    writes: ["credential.connected"],
    async prepare({ provider, vault, connect }) {
      const { search } = provider.consent(await connect(await vault()));
      return { query: search, status: 302, by: { type: "user", name: "owner@example.com", hasNoSession: true } };
    },
  },
  {
    route: "GET /v1/oauth/callback",
    case: "with a state that nobody began",
    writes: [],
    prepare: async () => ({ query: "?code=c&state=av_oast_unknown", status: 302 }),
  },
  {
    route: "POST /v1/credentials/oauth/confirm",
    writes: ["credential.connected"],
    async prepare({ api, owner, provider, vault, connect }) {
      const at = await vault();
      const { search } = provider.consent(await connect(at));
      const page = await api.call("GET", `/v1/oauth/callback${search}`, {
        headers: { "sec-fetch-site": "cross-site" },
      });
      const [code = ""] = page.text.match(/[0-9A-Z]{4}-[0-9A-Z]{4}/) ?? [];
      return { token: owner, body: { vault: at, key: "TOK", code } };
    },
  },
  {
    route: "POST /v1/credentials/oauth/confirm",
    case: "with a code that nobody was shown",
    writes: [],
    async prepare({ owner, vault, connect }) {
      const at = await vault();
      await connect(at);
      return { token: owner, body: { vault: at, key: "TOK", code: "AAAA-AAAA" }, status: 400 };
    },
  },
  {
    route: "POST /v1/credentials/oauth/tokens",
    writes: ["credential.upload_tokens"],
    prepare: async ({ owner, vault }) => ({
      token: owner,
      body: { vault: await vault(), key: "TOK", access_token: secrets.value },
    }),
  },
  {
    route: "POST /v1/credentials/oauth/disconnect",
    writes: ["credential.disconnect"],
    async prepare({ owner, vault, connect }) {
      const at = await vault();
      await connect(at);
      return { token: owner, body: { vault: at, key: "TOK" } };
    },
  },
  {
    route: "GET /v1/credentials",
    case: "when it reveals",
    writes: ["credential.reveal"],
    async prepare({ owner, vault, credential }) {
      const at = await vault();
      await credential(at);
      return { token: owner, query: `?vault=${at}&reveal=true` };
    },
  },
  {
    route: "GET /v1/credentials",
    case: "when it does not",
    writes: [],
    async prepare({ owner, vault, credential }) {
      const at = await vault();
      await credential(at);
      return { token: owner, query: `?vault=${at}` };
    },
  },
];

describeOnEachEngine("the audit trail of the API", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let provider: OAuthProvider;
  let world: World;
  /** Every answer, in which tokens are; and every code that was sent. */
  const answers: string[] = [];

  beforeAll(async () => {
    database = await openScratch();
    provider = await OAuthProvider.start();
    api = await ApiServer.start(database, { outbound: provider.outbound(), keyring });
    world = await buildWorld(api, provider);
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
    await provider[Symbol.asyncDispose]();
  });

  const entriesAfter = (id: number) =>
    database.db.selectFrom("audit_log").selectAll().where("id", ">", id).orderBy("id").execute();
  const lastId = async () => (await database.db.selectFrom("audit_head").select("last_id").executeTakeFirst())?.last_id;

  it("begins with the first owner", async () => {
    const owner = { actor_type: "user", actor_name: "owner@example.com", client_ip: "127.0.0.1" };
    expect(await entriesAfter(0)).toMatchObject([
      { id: 1, action: "account.register", ...owner },
      { id: 2, action: "member.add", target_name: "owner@example.com", ...owner },
    ]);
  });

  it("knows every route that changes something", () => {
    const changing = api.routes.filter(({ method }) => method !== "GET").map(({ method, path }) => `${method} ${path}`);
    const known = new Set(table.map(({ route }) => route));
    expect(changing.filter((route) => !known.has(route))).toEqual([]);
  });

  const named = table.map((row) => ({ ...row, title: [row.route, row.case ?? ""].join(" ").trim() }));
  it.each(named)("$title", async ({ route, writes, prepare }) => {
    const prepared = await prepare(world);
    const before = (await lastId()) ?? 0;
    const [method = "", path = ""] = route.split(" ");
    const values = [...(prepared.at ?? [])];
    const target = path.replace(/\{\w+\}/g, () => encodeURIComponent(values.shift() ?? "")) + (prepared.query ?? "");
    const answer = await api.call(method, target, prepared);
    answers.push(answer.text);
    expect(answer.status, answer.text).toBe(prepared.status ?? 200);
    const entries = await entriesAfter(before);
    expect(entries.map(({ action }) => action)).toEqual(writes);
    const { type, name, hasNoSession } = prepared.by ?? { type: "user", name: "owner@example.com" };
    for (const entry of entries) {
      expect(entry).toMatchObject({ actor_type: type, actor_name: name, client_ip: "127.0.0.1" });
      const hasSession = type !== "anonymous" && !hasNoSession;
      expect(entry.session_id !== "", "whoever is somebody has a session").toBe(hasSession);
    }
  });

  it("grows by no read, except of the values of credentials and of itself", async () => {
    const before = await lastId();
    // The log that is followed never ends.
    const others = ["/v1/audit/export", "/v1/vaults/{name}/logs/tail"];
    const reads = api.routes.filter(({ method, path }) => method === "GET" && !others.includes(path));
    for (const { path } of reads) {
      const target = path.replace(/\{\w+\}/g, "default");
      await api.call("GET", `${target}?vault=default&key=TOK`, { token: world.owner });
    }
    expect(reads.length).toBeGreaterThan(30);
    // The key that signs is made when it is first asked for.
    expect((await entriesAfter(before ?? 0)).map(({ action }) => action)).toEqual(["audit_key.create"]);
  });

  it("names the vault of everything that happened in one", async () => {
    const inVaults = /^(vault|member|service|credential|token|proposal|webhook)\./;
    const entries = await entriesAfter(0);
    expect(entries.filter((entry) => (entry.vault_id !== null) !== inVaults.test(entry.action))).toEqual([]);
  });

  it("holds no secret that went in or came out", async () => {
    const entries = await entriesAfter(0);
    const text = entries.map((entry: AuditRow) => JSON.stringify(entry)).join("\n");
    const tokens = [...answers.join("\n").matchAll(/av_[a-z]+_[0-9a-f]{16,}/g)].map(([token]) => token);
    const codes = api.output.flatMap((line) => [...line.matchAll(/(?<!\d)\d{6}(?!\d)/g)].map(([code]) => code));
    expect([tokens.length, codes.length].every((count) => count > 5)).toBe(true);
    const ofProvider = [provider.clientSecret, ...provider.tokenRequests.map(({ form }) => form.get("code") ?? "none")];
    const planted = [...Object.values(secrets), password, "PLANTED", ...ofProvider, ...tokens];
    expect(planted.filter((secret) => text.includes(secret))).toEqual([]);
    // Six digits are part of many a hash; as a word of their own they would be a code.
    expect(codes.filter((code) => new RegExp(`"[^"]*(?<![0-9a-f])${code}(?![0-9a-f])`).test(text))).toEqual([]);
  });
});

/** A proposal, number 1, of a fresh vault. */
async function propose(api: ApiServer, owner: string, vault: string): Promise<void> {
  const body = { credentials: [{ action: "set", key: "TOK" }] };
  await api.expect(201, "POST", "/v1/proposals", { token: await api.mint(owner, vault), body });
}

function oauthSettings(provider: OAuthProvider, vault: string) {
  return {
    vault,
    key: "TOK",
    authorization_url: provider.authorizationUrl,
    token_url: provider.tokenUrl,
    client_id: provider.clientId,
    client_secret: provider.clientSecret,
  };
}

async function buildWorld(api: ApiServer, provider: OAuthProvider): Promise<World> {
  const owner = await api.registerOwner();
  let count = 0;
  const name = () => `fresh-${++count}`;
  const world: World = {
    api,
    provider,
    owner,
    name,
    async vault() {
      const vault = name();
      await api.addVault(owner, vault);
      return vault;
    },
    async agent() {
      const agent = name();
      await api.addAgent(owner, agent);
      return agent;
    },
    async person(role = "member") {
      const email = `${name()}@example.com`;
      return { email, token: await api.addUser(email, role) };
    },
    async invite() {
      const email = `${name()}@example.com`;
      const body = { email, vaults: [{ vault_name: "default" }] };
      const sent = await api.expect(201, "POST", "/v1/users/invites", { token: owner, body });
      return { email, token: String(sent.invite_link).split("/").at(-1) ?? "" };
    },
    async agentInvite(rotates) {
      const body = rotates ? { name: rotates, rotate: true } : { vaults: [{ vault_name: "default" }] };
      return String((await api.expect(201, "POST", "/v1/agent-invites", { token: owner, body })).token);
    },
    async connect(vault) {
      const body = oauthSettings(provider, vault);
      const answer = await api.expect(200, "POST", "/v1/credentials/oauth/connect", { token: owner, body });
      return String(answer.authorization_url);
    },
    async credential(vault) {
      const body = { vault, credentials: { TOK: secrets.value } };
      await api.expect(200, "POST", "/v1/credentials", { token: owner, body });
    },
    async service(vault, serviceName = "svc") {
      const body = { services: [service(serviceName)] };
      await api.expect(200, "POST", `/v1/vaults/${vault}/services`, { token: owner, body });
    },
  };
  return world;
}
