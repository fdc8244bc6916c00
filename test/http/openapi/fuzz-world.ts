import { randomHex } from "../../../src/crypto/token.ts";
import { type ApiServer, password } from "../../support/api-server.ts";

/** One of every kind of actor, a vault with something in it that is theirs, and one that is not. */
export interface FuzzWorld {
  readonly tokens: Readonly<Record<ActorName, string | undefined>>;
  readonly vault: string;
  readonly agent: string;
  /** Somebody with an account, without a grant on the vault. */
  readonly stranger: string;
  readonly member: string;
  /** What no answer and no line of the log may hold. */
  readonly secrets: readonly string[];
  /** Of `secrets`, those that members of the vault may ask for. */
  readonly values: readonly string[];
}

export const actorNames = ["anonymous", "idle", "member", "admin", "owner", "agent", "agent-admin", "scoped"] as const;
export type ActorName = (typeof actorNames)[number];

/** May see values of credentials. */
export const revealers: ReadonlySet<ActorName> = new Set(["member", "admin", "owner", "agent-admin"]);

/** @param founder makes it all, and is none of the actors. */
export async function buildFuzzWorld(api: ApiServer, founder: string): Promise<FuzzWorld> {
  const mark = randomHex(4);
  const [vault, foreign, agent] = [`own-${mark}`, `foreign-${mark}`, `robot-${mark}`];
  const secret = (what: string) => `seeded-${what}-${randomHex(12)}`;
  const values = [secret("value"), secret("second"), secret("access")];
  const hidden = [secret("foreign"), secret("client"), secret("asked"), password];
  await api.addVault(founder, vault);
  await api.addVault(founder, foreign);
  const nameOf = (kind: string) => `${kind}-${mark}@example.com`;
  const idle = await api.addUser(nameOf("idle"), "no-access");
  const member = await api.addUser(nameOf("member"));
  const admin = await api.addUser(nameOf("admin"));
  const owner = await api.addUser(nameOf("owner"), "owner");
  for (const [kind, role] of [
    ["member", "member"],
    ["admin", "admin"],
    ["owner", "admin"],
  ] as const) {
    const body = { email: nameOf(kind), role };
    await api.expect(201, "POST", `/v1/vaults/${vault}/users`, { token: founder, body });
  }
  const grant = (vault_role: string) => ({ vaults: [{ vault_name: vault, vault_role }] });
  const robot = await api.addAgent(founder, agent, grant("proxy"));
  const chief = await api.addAgent(founder, `chief-${mark}`, { role: "member", ...grant("admin") });
  const scoped = await api.mint(founder, vault);
  const set = (name: string, credentials: object) =>
    api.expect(200, "POST", "/v1/credentials", { token: founder, body: { vault: name, credentials } });
  await set(vault, { SEEDED_KEY: values[0], SECOND_KEY: values[1] });
  await set(foreign, { SEEDED_KEY: hidden[0] });
  const oauth = { vault, key: "OAUTH_KEY", client_id: "client", token_url: "https://idp.example.com/token" };
  await api.expect(200, "POST", "/v1/credentials/oauth/connect", {
    token: founder,
    body: { ...oauth, authorization_url: "https://idp.example.com/authorize", client_secret: hidden[1] },
  });
  await api.expect(200, "POST", "/v1/credentials/oauth/tokens", {
    token: founder,
    body: { vault, key: "OAUTH_KEY", access_token: values[2] },
  });
  const service = { name: "seeded", host: "api.example.com", auth: { type: "bearer", token: "SEEDED_KEY" } };
  await api.expect(200, "POST", `/v1/vaults/${vault}/services`, { token: founder, body: { services: [service] } });
  await api.expect(201, "POST", "/v1/proposals", {
    token: robot,
    headers: { "x-vault": vault },
    body: { credentials: [{ action: "set", key: "ASKED_KEY", value: hidden[2] }] },
  });
  const tokens = { anonymous: undefined, idle, member, admin, owner, agent: robot, "agent-admin": chief, scoped };
  const secrets = [...values, ...hidden, ...Object.values(tokens).flatMap((token) => token ?? [])];
  return {
    tokens,
    vault,
    agent,
    stranger: nameOf("idle"),
    member: nameOf("member"),
    secrets,
    values,
  };
}

/** Is everything still there that calls of the next operation build on? */
export async function isWhole(api: ApiServer, { tokens, vault, agent, values }: FuzzWorld): Promise<boolean> {
  const services = `/v1/vaults/${vault}/services`;
  for (const [name, token] of Object.entries(tokens)) {
    if (token === undefined) continue;
    const { status, body } = await api.call("GET", name === "idle" ? "/v1/vaults" : services, { token });
    if (status !== 200) return false;
    if (name === "owner" && !JSON.stringify(body).includes('"seeded"')) return false;
  }
  const seeded = `/v1/credentials?vault=${vault}&reveal=true&key=SEEDED_KEY`;
  if (!(await api.call("GET", seeded, { token: tokens.owner })).text.includes(values[0] ?? "")) return false;
  const { body } = await api.call("GET", `/v1/credentials?vault=${vault}`, { token: tokens.owner });
  const keys = (body.keys ?? []) as readonly string[];
  if (!["SEEDED_KEY", "SECOND_KEY", "OAUTH_KEY"].every((key) => keys.includes(key))) return false;
  const robot = await api.call("GET", `/v1/agents/${agent}`, { token: tokens.owner });
  return robot.body.status === "active";
}

export interface Prepared {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** What a call of an operation needs beforehand to have a chance, for operations whose values cannot be made up. */
export async function prepare(api: ApiServer, world: FuzzWorld, founder: string, operation: string): Promise<Prepared> {
  const { vault, agent, member, stranger, tokens } = world;
  const fresh = `fresh-${randomHex(6)}`;
  const expect = (status: number, method: string, path: string, body?: object) =>
    api.expect(status, method, path, { token: founder, ...(body !== undefined && { body }) });
  const proposal = async () => {
    const body = { credentials: [{ action: "set", key: "ASKED_KEY" }], message: "please" };
    const asked = { token: tokens.agent, headers: { "x-vault": vault }, body };
    return api.expect(201, "POST", "/v1/proposals", asked);
  };
  const inviteUser = () => expect(201, "POST", "/v1/users/invites", { email: `${fresh}@example.com` });
  const lastOf = (link: unknown) => String(link).split("/").at(-1) ?? "";
  switch (operation) {
    case "verifyAccount":
      await expect(201, "POST", "/v1/auth/register", { email: `${fresh}@example.com`, password });
      return { body: { email: `${fresh}@example.com`, code: api.codeFor(fresh) } };
    case "resetPassword":
      await expect(200, "POST", "/v1/auth/forgot-password", { email: stranger });
      return { body: { email: stranger, code: api.codeFor(stranger), new_password: password } };
    case "login":
      return { body: { email: member, password } };
    case "changePassword":
      return { body: { current_password: password, new_password: password } };
    case "revokeLogin": {
      await api.login(member);
      const { body } = await api.call("GET", "/v1/auth/sessions", { token: tokens.member });
      const [other] = (body.sessions as { id: string; current: boolean }[]).filter(({ current }) => !current);
      return { params: { id: other?.id ?? "" } };
    }
    case "revokeUserInvite":
    case "reinviteUser":
    case "showUserInvite":
    case "acceptUserInvite":
      return { params: { token: lastOf((await inviteUser()).invite_link) }, body: { password } };
    case "revokeAgentInvite":
    case "redeemAgentInvite":
      return {
        params: { token: String((await expect(201, "POST", "/v1/agent-invites", { name: fresh })).token) },
        body: {},
      };
    case "createAgentInvite":
      return { body: { name: fresh, vaults: [{ vault_name: vault, vault_role: "proxy" }], ttl_seconds: 600 } };
    case "createAgent":
      return { body: { name: fresh, vaults: [{ vault_name: vault, vault_role: "proxy" }] } };
    case "renameAgent":
    case "renameVault":
      return { body: { name: fresh } };
    case "createVault":
      return { body: { name: fresh } };
    case "inviteUser":
      return { body: { email: `${fresh}@example.com`, vaults: [{ vault_name: vault, vault_role: "member" }] } };
    case "removeUser":
      await api.addUser(`${fresh}@example.com`);
      return { params: { email: `${fresh}@example.com` } };
    case "addVaultUser":
      return { body: { email: stranger, role: "member" } };
    case "addVaultAgent":
      await api.addAgent(founder, fresh);
      return { body: { name: fresh, role: "member" } };
    case "joinVault":
      await api.call("POST", `/v1/vaults/${vault}/leave`, { token: tokens.owner });
      return {};
    case "leaveVault":
    case "setVaultUserRole":
      return { params: { email: member }, body: { role: "member" } };
    case "setCredentialStore":
      return { body: { kind: "builtin" } };
    case "changeVaultSettings":
      return { body: { unmatched_host_policy: "deny", scrub: "", network_allowlist: null, upstream_ca: null } };
    case "changeSettings":
      return { body: { invite_only: false, allowed_email_domains: [], rate_limit: { profile: "off" } } };
    case "showCredentialUsage":
    case "showOAuthStatus":
      return { query: { vault, key: operation === "showOAuthStatus" ? "OAUTH_KEY" : "SEEDED_KEY" } };
    case "restoreCredential":
      return { body: { vault, version: 1 } };
    case "deleteCredentials":
      await expect(200, "POST", "/v1/credentials", { vault, credentials: { PASSING_KEY: "passing" } });
      return { body: { vault, keys: ["PASSING_KEY"] } };
    case "describeCredential":
      return { body: { vault, description: "what it is", expires_at: "2030-01-31" } };
    case "setCredentials":
      return {
        body: { vault, credentials: { PASSING_KEY: "passing" }, details: { PASSING_KEY: { description: "x" } } },
      };
    case "connectOAuth":
      return { body: { vault, key: "CONNECTED_KEY", provider: "github", client_id: "client" } };
    case "uploadOAuthTokens":
      return { body: { vault, key: "UPLOADED_KEY", access_token: "passing" } };
    case "disconnectOAuth":
      return { body: { vault, key: "OAUTH_KEY" } };
    case "createProposal":
      return { body: { credentials: [{ action: "set", key: "ASKED_KEY" }], message: "please" } };
    case "showApproval": {
      const link = new URL(String((await proposal()).approval_url));
      return { query: { id: lastOf(link.pathname), token: link.searchParams.get("token") ?? "" } };
    }
    case "getProposal":
    case "getProposalForReview":
      return { params: { id: String((await proposal()).id) }, query: { vault, wait: "1ms" } };
    case "approveProposal":
      return {
        params: { id: String((await proposal()).id) },
        body: { vault, credentials: { ASKED_KEY: "passing" } },
      };
    case "rejectProposal":
      return { params: { id: String((await proposal()).id) }, body: { vault, reason: "no" } };
    case "getProposalWebhook":
    case "removeProposalWebhook":
      await expect(200, "PUT", `/v1/vaults/${vault}/proposal-webhook`, { url: "https://hooks.example.com/x" });
      return {};
    case "setProposalWebhook":
      return { body: { url: "https://hooks.example.com/x" } };
    case "mintVaultToken":
      return { body: { vault, ttl_seconds: 600, label: "a label" } };
    case "revokeVaultToken": {
      const { id } = await expect(200, "POST", "/v1/sessions", { vault });
      return { params: { id: String(id) }, query: { vault } };
    }
    case "upsertServices":
    case "replaceServices": {
      const seeded = { name: "seeded", host: "api.example.com", auth: { type: "bearer", token: "SEEDED_KEY" } };
      return { body: { services: [seeded, { ...seeded, name: fresh, host: `${fresh}.example.com` }] } };
    }
    case "revokeAgent":
    case "deleteAgent":
      await api.addAgent(founder, fresh);
      return { params: { name: fresh } };
    case "setAgentRole":
      return { params: { name: agent }, body: { role: "no-access" } };
    default:
      return {};
  }
}
