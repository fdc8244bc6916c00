/**
 * Who may call what: every route of the API × every kind of actor, in a vault of theirs and in a foreign one. The grids
 * are those of the specification (accounts, sections 3 and 5; vault resources, section 0.3), with vaults that one has no
 * grant on hidden. A route that is not in the table fails the test.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { mintToken, randomHex, tokenDigest, uuidv4, uuidv7 } from "../../src/crypto/token.ts";
import type { InstanceRole, VaultRole } from "../../src/domain/actors/principal.ts";
import { insertSession } from "../../src/domain/actors/session-rows.ts";
import type { CallerKind } from "../../src/http/openapi/contract.ts";
import type { Database } from "../../src/storage/database.ts";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";

interface Kind {
  readonly type: "anonymous" | "user" | "agent" | "scoped";
  readonly role?: InstanceRole;
  /** Their role in the vault that is theirs. */
  readonly grant?: VaultRole;
}

/** In the order of the columns. A scoped token is one of the vault that is theirs. */
const actors = {
  anonymous: { type: "anonymous" },
  idle: { type: "user", role: "no-access" },
  person: { type: "user", role: "member" },
  proxy: { type: "user", role: "member", grant: "proxy" },
  member: { type: "user", role: "member", grant: "member" },
  admin: { type: "user", role: "member", grant: "admin" },
  owner: { type: "user", role: "owner", grant: "admin" },
  outsider: { type: "user", role: "owner" },
  "agent/none": { type: "agent", role: "member" },
  "agent/proxy": { type: "agent", role: "no-access", grant: "proxy" },
  "agent/member": { type: "agent", role: "no-access", grant: "member" },
  "agent/admin": { type: "agent", role: "no-access", grant: "admin" },
  "agent/owner": { type: "agent", role: "owner" },
  scoped: { type: "scoped", grant: "proxy" },
} as const satisfies Record<string, Kind>;
type ActorName = keyof typeof actors;

/** Outcome by actor: `ok` is whatever comes after the gate; a number is the status of a refusal. */
type Grid = Readonly<Record<ActorName, string>>;

const inAnyVault = readGrids(`
             | anonymous | idle | person | proxy | member | admin | owner | outsider | agent/none | agent/proxy | agent/member | agent/admin | agent/owner | scoped
  public     | ok        | ok   | ok     | ok    | ok     | ok    | ok    | ok       | ok         | ok          | ok           | ok          | ok          | ok
  actor      | 401       | ok   | ok     | ok    | ok     | ok    | ok    | ok       | ok         | ok          | ok           | ok          | ok          | 403
  me         | 401       | ok   | ok     | ok    | ok     | ok    | ok    | ok       | ok         | ok          | ok           | ok          | ok          | 401
  token      | 401       | ok   | ok     | ok    | ok     | ok    | ok    | ok       | ok         | ok          | ok           | ok          | ok          | ok
  user       | 401       | ok   | ok     | ok    | ok     | ok    | ok    | ok       | 403        | 403         | 403          | 403         | 403         | 403
  instance   | 401       | 403  | ok     | ok    | ok     | ok    | ok    | ok       | ok         | 403         | 403          | 403         | ok          | 403
  owner      | 401       | 403  | 403    | 403   | 403    | 403   | ok    | ok       | 403        | 403         | 403          | 403         | ok          | 403
  sees-agent | 401       | 403  | 404    | ok    | ok     | ok    | ok    | ok       | 404        | 403         | 403          | 403         | ok          | 403
  agent      | 401       | 403  | 404    | 403   | 403    | 403   | ok    | ok       | 404        | 403         | 403          | 403         | ok          | 403
  invite     | 401       | 403  | 403    | 403   | 403    | ok    | ok    | ok       | 403        | 403         | 403          | 403         | ok          | 403
  gives      | 401       | 403  | 404    | 403   | 403    | ok    | ok    | ok       | 404        | 403         | 403          | 403         | ok          | 403
`);

/** Of the vault that is theirs: what a grant, or its lack, opens. */
const inOwnVault = readGrids(`
             | anonymous | idle | person | proxy | member | admin | owner | outsider | agent/none | agent/proxy | agent/member | agent/admin | agent/owner | scoped
  access     | 401       | 404  | 404    | ok    | ok     | ok    | ok    | 403      | 404        | ok          | ok           | ok          | 403         | ok
  member     | 401       | 404  | 404    | 403   | ok     | ok    | ok    | 403      | 404        | 403         | ok           | ok          | 403         | 403
  admin      | 401       | 404  | 404    | 403   | 403    | ok    | ok    | 403      | 404        | 403         | 403          | ok          | 403         | 403
  a-or-owner | 401       | 404  | 404    | 403   | 403    | ok    | ok    | ok       | 404        | 403         | 403          | ok          | ok          | 403
  store      | 401       | 404  | 404    | 403   | 403    | 403   | ok    | ok       | 404        | 403         | 403          | 403         | ok          | 403
  context    | 401       | 403  | 403    | ok    | ok     | ok    | ok    | 403      | 403        | ok          | ok           | ok          | 403         | 403
  leave      | 401       | 404  | 404    | ok    | ok     | ok    | ok    | 403      | 404        | ok          | ok           | ok          | 403         | 403
  join       | 401       | 403  | 403    | 403   | 403    | 403   | ok    | ok       | 403        | 403         | 403          | 403         | ok          | 403
  session    | 401       | 403  | 403    | 403   | 403    | 403   | 403   | 403      | 403        | ok          | ok           | ok          | 403         | ok
`);

/** Of a vault that nobody here has a grant on. Nobody but owners learns that it is there. */
const inForeignVault = readGrids(`
             | anonymous | idle | person | proxy | member | admin | owner | outsider | agent/none | agent/proxy | agent/member | agent/admin | agent/owner | scoped
  access     | 401       | 404  | 404    | 404   | 404    | 404   | 403   | 403      | 404        | 404         | 404          | 404         | 403         | 404
  member     | 401       | 404  | 404    | 404   | 404    | 404   | 403   | 403      | 404        | 404         | 404          | 404         | 403         | 404
  admin      | 401       | 404  | 404    | 404   | 404    | 404   | 403   | 403      | 404        | 404         | 404          | 404         | 403         | 404
  a-or-owner | 401       | 404  | 404    | 404   | 404    | 404   | ok    | ok       | 404        | 404         | 404          | 404         | ok          | 404
  store      | 401       | 404  | 404    | 404   | 404    | 404   | ok    | ok       | 404        | 404         | 404          | 404         | ok          | 404
  context    | 401       | 403  | 403    | 403   | 403    | 403   | 403   | 403      | 403        | 403         | 403          | 403         | 403         | 403
  leave      | 401       | 404  | 404    | 404   | 404    | 404   | 403   | 403      | 404        | 404         | 404          | 404         | 403         | 404
  join       | 401       | 403  | 403    | 403   | 403    | 403   | ok    | ok       | 403        | 403         | 403          | 403         | ok          | 403
  session    | 401       | 403  | 403    | 403   | 403    | 403   | 403   | 403      | 403        | 403         | 403          | 403         | 403         | ok
`);

/** How the description of the API calls those whom a grid lets in. */
const callersOf: Readonly<Record<string, CallerKind>> = {
  public: "anybody",
  actor: "actor",
  me: "identity",
  token: "token",
  user: "person",
  instance: "instance-member",
  owner: "owner",
  "sees-agent": "instance-member",
  agent: "instance-member",
  invite: "instance-member",
  access: "vault-access",
  member: "vault-member",
  admin: "vault-admin",
  "a-or-owner": "vault-admin-or-owner",
  context: "actor",
  leave: "vault-access",
  join: "owner",
  session: "agent",
};

interface Row {
  readonly route: string;
  /** A grid: of all vaults, or the one of its name for one's own and for a foreign vault. */
  readonly needs: string;
  /** What makes this row different from another of the same route. */
  readonly when?: string;
  /** Values of the path's parameters besides the vault, in order. */
  readonly at?: readonly string[];
  /** `{vault}` stands for the vault's name. */
  readonly query?: string;
  readonly body?: object;
  /** A call that succeeds would spoil the actors for others, so each gets a world of its own. */
  readonly destroys?: true;
}

const nobody = "nobody@example.com";
const inVault = { vault: "{vault}" };
const oauthSettings = {
  key: "CONNECTED",
  authorization_url: "https://idp.example.com/authorize",
  token_url: "https://idp.example.com/token",
  client_id: "client",
};

const table: readonly Row[] = [
  { route: "GET /health", needs: "public" },
  { route: "GET /v1/status", needs: "public" },
  { route: "GET /openapi.json", needs: "public" },
  { route: "GET /openapi", needs: "public" },
  { route: "GET /v1/instance/version", needs: "token" },
  { route: "GET /setup/{secret}", needs: "public", at: ["none"] },
  { route: "GET /v1/mitm/ca.pem", needs: "public" },
  { route: "GET /v1/service-catalog", needs: "public" },
  { route: "GET /v1/skills/cli", needs: "public" },

  { route: "POST /v1/auth/register", needs: "public", body: {} },
  { route: "POST /v1/auth/verify", needs: "public", body: {} },
  { route: "POST /v1/auth/resend-verification", needs: "public", body: {} },
  { route: "POST /v1/auth/forgot-password", needs: "public", body: {} },
  { route: "POST /v1/auth/reset-password", needs: "public", body: {} },
  { route: "POST /v1/auth/login", needs: "public", body: {} },
  { route: "POST /v1/auth/logout", needs: "public", destroys: true },
  { route: "GET /v1/auth/me", needs: "me" },
  { route: "POST /v1/auth/change-password", needs: "user", body: { new_password: "long enough" } },
  { route: "DELETE /v1/auth/account", needs: "user", destroys: true },
  { route: "GET /v1/auth/sessions", needs: "user" },
  { route: "DELETE /v1/auth/sessions/{id}", needs: "user", at: ["ffffffffffffffffffff"] },

  { route: "GET /v1/users", needs: "instance" },
  { route: "GET /v1/admin/users/{email}", when: "oneself", needs: "actor", at: ["me"] },
  { route: "GET /v1/admin/users/{email}", when: "somebody else", needs: "owner", at: [nobody] },
  { route: "DELETE /v1/admin/users/{email}", needs: "owner", at: [nobody] },
  { route: "POST /v1/admin/users/{email}/role", needs: "owner", at: [nobody], body: { role: "member" } },
  { route: "POST /v1/users/invites", needs: "instance", body: {} },
  { route: "POST /v1/users/invites", when: "an owner", needs: "owner", body: { email: nobody, role: "owner" } },
  {
    route: "POST /v1/users/invites",
    when: "into the vault",
    needs: "gives",
    body: { email: "{fresh}@example.com", vaults: [{ vault_name: "{own}", vault_role: "member" }] },
  },
  { route: "GET /v1/users/invites", needs: "instance" },
  {
    route: "DELETE /v1/users/invites/{token}",
    when: "into the vault",
    needs: "invite",
    at: ["{invite}"],
    destroys: true,
  },
  {
    route: "POST /v1/users/invites/{token}/reinvite",
    when: "into the vault",
    needs: "invite",
    at: ["{invite}"],
    destroys: true,
  },
  { route: "GET /v1/users/invites/{token}/details", needs: "public", at: ["av_uinv_unknown"] },
  { route: "POST /v1/users/invites/{token}/accept", needs: "public", at: ["av_uinv_unknown"] },

  { route: "POST /v1/agents", needs: "instance", body: {} },
  { route: "POST /v1/agents", when: "an owner", needs: "owner", body: { name: "new-owner", role: "owner" } },
  {
    route: "POST /v1/agents",
    when: "into the vault",
    needs: "gives",
    body: { name: "{fresh}", vaults: [{ vault_name: "{own}", vault_role: "proxy" }] },
  },
  { route: "GET /v1/agents", needs: "instance" },
  { route: "GET /v1/agents/{name}", when: "one in the vault", needs: "sees-agent", at: ["{robot}"] },
  { route: "DELETE /v1/agents/{name}", when: "one's own", needs: "instance", at: ["{mine}"], destroys: true },
  { route: "DELETE /v1/agents/{name}", when: "one in the vault", needs: "agent", at: ["{robot}"], destroys: true },
  { route: "POST /v1/agents/{name}/delete", when: "one's own", needs: "instance", at: ["{mine}"], destroys: true },
  { route: "POST /v1/agents/{name}/delete", when: "one in the vault", needs: "agent", at: ["{robot}"], destroys: true },
  { route: "POST /v1/agents/{name}/rotate", when: "one's own", needs: "instance", at: ["{mine}"] },
  { route: "POST /v1/agents/{name}/rotate", when: "one in the vault", needs: "agent", at: ["{robot}"] },
  { route: "POST /v1/agents/{name}/rename", when: "one's own", needs: "instance", at: ["{mine}"], body: {} },
  { route: "POST /v1/agents/{name}/rename", when: "one in the vault", needs: "agent", at: ["{robot}"], body: {} },
  { route: "POST /v1/agents/{name}/role", needs: "owner", at: ["{robot}"], body: { role: "no-access" } },
  { route: "POST /v1/agent-invites", needs: "instance", body: { ttl_seconds: 1 } },
  { route: "POST /v1/agent-invites", when: "an owner", needs: "owner", body: { role: "owner", ttl_seconds: 1 } },
  {
    route: "POST /v1/agent-invites",
    when: "into the vault",
    needs: "gives",
    body: { vaults: [{ vault_name: "{own}", vault_role: "proxy" }], ttl_seconds: 1 },
  },
  {
    route: "POST /v1/agent-invites",
    when: "to a new token of one's own",
    needs: "instance",
    body: { name: "{mine}", rotate: true, ttl_seconds: 1 },
  },
  {
    route: "POST /v1/agent-invites",
    when: "to a new token of one in the vault",
    needs: "agent",
    body: { name: "{robot}", rotate: true, ttl_seconds: 1 },
  },
  { route: "GET /v1/agent-invites", needs: "instance" },
  { route: "DELETE /v1/agent-invites/{token}", needs: "instance", at: ["av_inv_unknown"] },
  { route: "POST /invite/{token}", needs: "public", at: ["av_inv_unknown"], body: {} },

  { route: "POST /v1/vaults", needs: "instance", body: {} },
  {
    route: "POST /v1/vaults",
    when: "with an external store",
    needs: "owner",
    body: { name: "external", credential_store: { kind: "infisical" } },
  },
  { route: "GET /v1/vaults", needs: "actor" },
  { route: "GET /v1/admin/vaults", needs: "owner" },
  { route: "GET /v1/vaults/{name}/context", needs: "context" },
  { route: "DELETE /v1/vaults/{name}", needs: "a-or-owner", destroys: true },
  { route: "POST /v1/vaults/{name}/rename", needs: "a-or-owner", body: {} },
  { route: "POST /v1/vaults/{name}/join", needs: "join", destroys: true },
  { route: "POST /v1/vaults/{name}/leave", needs: "leave", destroys: true },
  { route: "GET /v1/vaults/{name}/settings", needs: "access" },
  { route: "PATCH /v1/vaults/{name}/settings", needs: "a-or-owner", body: {} },
  { route: "PATCH /v1/vaults/{name}/credential-store", when: "back", needs: "a-or-owner", body: { kind: "builtin" } },
  {
    route: "PATCH /v1/vaults/{name}/credential-store",
    when: "to an external one",
    needs: "store",
    body: { kind: "infisical" },
  },
  { route: "POST /v1/vaults/{name}/sync", needs: "member" },
  { route: "GET /v1/instance/credential-stores", needs: "actor" },

  { route: "GET /v1/vaults/{name}/users", needs: "access" },
  { route: "POST /v1/vaults/{name}/users", needs: "admin", body: {} },
  { route: "DELETE /v1/vaults/{name}/users/{email}", needs: "admin", at: [nobody] },
  { route: "POST /v1/vaults/{name}/users/{email}/role", needs: "admin", at: [nobody], body: { role: "admin" } },
  { route: "GET /v1/vaults/{name}/agents", needs: "access" },
  { route: "POST /v1/vaults/{name}/agents", needs: "admin", body: {} },
  { route: "DELETE /v1/vaults/{name}/agents/{agentName}", needs: "admin", at: ["{mine}"] },
  { route: "POST /v1/vaults/{name}/agents/{agentName}/role", needs: "admin", at: ["{mine}"], body: {} },

  { route: "POST /v1/sessions", needs: "member", body: { vault: "{vault}" } },
  { route: "GET /v1/sessions", needs: "member", query: "?vault={vault}" },
  { route: "DELETE /v1/sessions/{id}", needs: "member", at: ["ffffffffffffffffffff"], query: "?vault={vault}" },

  { route: "GET /v1/admin/ca", needs: "owner" },
  { route: "POST /v1/admin/ca/rotation", needs: "owner", body: {} },
  { route: "POST /v1/admin/ca/rotation/activate", needs: "owner" },
  { route: "POST /v1/admin/ca/rotation/finish", needs: "owner" },
  { route: "DELETE /v1/admin/ca/rotation", needs: "owner" },
  { route: "GET /v1/admin/settings", needs: "owner" },
  { route: "PUT /v1/admin/settings", needs: "owner", body: {} },
  { route: "POST /v1/admin/settings/rate-limit/preview", needs: "owner", body: {} },
  { route: "POST /v1/admin/email/test", needs: "owner", body: {} },

  { route: "GET /v1/vaults/{name}/services", needs: "access" },
  { route: "GET /v1/vaults/{name}/services/credential-usage", needs: "access", query: "?key=TOK" },
  { route: "POST /v1/vaults/{name}/services", needs: "admin", body: {} },
  { route: "PUT /v1/vaults/{name}/services", needs: "admin", body: {} },
  { route: "DELETE /v1/vaults/{name}/services", needs: "admin" },
  { route: "PATCH /v1/vaults/{name}/services/{ref}", needs: "admin", at: ["none"], body: { enabled: true } },
  { route: "DELETE /v1/vaults/{name}/services/{ref}", needs: "admin", at: ["none"] },
  { route: "GET /v1/vaults/{name}/logs", needs: "member" },
  // A time that is none: else the answer would not end.
  { route: "GET /v1/vaults/{name}/logs/tail", needs: "member", query: "?since=never" },
  { route: "GET /v1/vaults/{name}/logs/export", needs: "member" },
  { route: "GET /v1/vaults/{name}/discovered-hosts", needs: "member" },

  { route: "GET /v1/credentials", needs: "access", query: "?vault={vault}" },
  { route: "GET /v1/credentials", when: "revealing", needs: "member", query: "?vault={vault}&reveal=true" },
  { route: "POST /v1/credentials", needs: "member", body: { vault: "{vault}", credentials: { "no key": "v" } } },
  { route: "DELETE /v1/credentials", needs: "member", body: { vault: "{vault}", keys: ["NOT_THERE"] } },
  { route: "PATCH /v1/credentials/{key}", needs: "member", at: ["NOT_THERE"], body: { ...inVault, description: "" } },
  { route: "GET /v1/credentials/{key}/versions", needs: "member", at: ["NOT_THERE"], query: "?vault={vault}" },
  { route: "POST /v1/credentials/{key}/restore", needs: "member", at: ["NOT_THERE"], body: { ...inVault, version: 1 } },
  { route: "GET /v1/oauth/providers", needs: "public" },
  { route: "POST /v1/credentials/oauth/connect", needs: "member", body: { ...inVault, ...oauthSettings } },
  { route: "POST /v1/credentials/oauth/confirm", needs: "member", body: { ...inVault, key: "NOT_THERE", code: "A" } },
  { route: "GET /v1/oauth/callback", needs: "public" },
  { route: "GET /oauth/complete", needs: "public" },
  { route: "GET /v1/credentials/oauth/status", needs: "member", query: "?vault={vault}&key=NOT_THERE" },
  {
    route: "POST /v1/credentials/oauth/tokens",
    needs: "member",
    body: { ...inVault, key: "NOT_THERE", access_token: "\u2022\u2022\u2022\u2022\u2022\u2022\u2022\u2022" },
  },
  { route: "POST /v1/credentials/oauth/disconnect", needs: "member", body: { ...inVault, key: "NOT_THERE" } },
  { route: "GET /discover", needs: "session" },

  { route: "POST /v1/proposals", needs: "session", body: {} },
  { route: "GET /v1/proposals", needs: "session" },
  { route: "GET /v1/proposals/{id}", needs: "session", at: ["999"] },
  { route: "GET /v1/proposals/approve-details", needs: "public", query: "?id=1&token=none" },
  { route: "GET /v1/admin/proposals", needs: "access", query: "?vault={vault}" },
  { route: "GET /v1/admin/proposals/{id}", needs: "access", at: ["999"], query: "?vault={vault}" },
  { route: "POST /v1/admin/proposals/{id}/approve", needs: "member", at: ["999"], body: inVault },
  { route: "POST /v1/admin/proposals/{id}/reject", needs: "member", at: ["999"], body: inVault },
  { route: "GET /v1/vaults/{name}/proposal-webhook", needs: "admin" },
  { route: "PUT /v1/vaults/{name}/proposal-webhook", needs: "admin", body: { url: "none" } },
  { route: "DELETE /v1/vaults/{name}/proposal-webhook", needs: "admin" },
  { route: "GET /metrics", needs: "owner" },

  { route: "GET /v1/audit", needs: "owner" },
  { route: "GET /v1/audit", when: "of a vault", needs: "owner", query: "?vault={own}" },
  { route: "GET /v1/audit/export", needs: "owner" },
  { route: "GET /v1/audit/checkpoints", needs: "owner" },
  { route: "GET /v1/audit/key", needs: "owner" },
  { route: "GET /v1/vaults/{name}/audit", needs: "a-or-owner" },
];

/** Answers that come from a gate. Whatever else a call ends with, the gate let it through. */
const refusals = new Set([
  "authorization_required",
  "not_authenticated",
  "actor_required",
  "member_required",
  "owner_required",
  "user_session_required",
  "vault_not_found",
  "no_vault_access",
  "vault_member_required",
  "vault_admin_required",
  "vault_scope_required",
  "agent_not_found",
  "agent_creator_required",
  "invite_forbidden",
]);

describeOnEachEngine("the permissions of the API", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let shared: World;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    shared = await buildWorld(database);
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it("are laid down for every route", () => {
    const known = new Set(table.map(({ route }) => route));
    const routes = api.routes.map(({ method, path }) => `${method} ${path}`);
    expect(routes.filter((route) => !known.has(route))).toEqual([]);
    expect([...known].filter((route) => !routes.includes(route))).toEqual([]);
  });

  it("are what the description of the API says", () => {
    // A route whose rows differ is described by the least that it asks for.
    const said = api.routes.map(({ method, path, contract }) => [`${method} ${path}`, contract.who] as const);
    const wrong = said.filter(
      ([route, who]) => !table.some((row) => row.route === route && callersOf[row.needs] === who),
    );
    expect(wrong).toEqual([]);
  });

  const places = table.flatMap((row) => {
    const title = row.when === undefined ? row.route : `${row.route}: ${row.when}`;
    const anywhere = inAnyVault[row.needs];
    if (anywhere !== undefined) return [{ ...row, title, grid: anywhere, vault: "own" as const }];
    return [
      { ...row, title: `${title}, in their vault`, grid: gridOf(inOwnVault, row.needs), vault: "own" as const },
      { ...row, title: `${title}, elsewhere`, grid: gridOf(inForeignVault, row.needs), vault: "foreign" as const },
    ];
  });

  it.each(places)("$title", async (row) => {
    const outcomes: Partial<Record<ActorName, string>> = {};
    for (const actor of Object.keys(actors) as ActorName[]) {
      const world = row.destroys ? await buildWorld(database) : shared;
      outcomes[actor] = await attempt(api, world, actor, row);
    }
    expect(outcomes).toEqual(row.grid);
  });

  it("let nobody learn from the answer whether a foreign vault is there", async () => {
    const strangers = (Object.keys(actors) as ActorName[]).filter(
      (name) => !["anonymous", "owner", "outsider", "agent/owner"].includes(name),
    );
    // `context` and `discover` tell, because clients rely on it (docs/security-model.md).
    const rows = places.filter(({ vault, needs }) => vault === "foreign" && needs !== "context" && needs !== "session");
    for (const row of rows) {
      for (const actor of strangers) {
        const there = await attempt(api, shared, actor, row);
        const absent = await attempt(api, { ...shared, foreign: "no-such-vault" }, actor, row);
        expect([row.route, actor, there]).toEqual([row.route, actor, absent]);
      }
    }
  });
});

/** What came of it: `ok`, or the status of the refusal. */
async function attempt(
  api: ApiServer,
  world: World,
  actor: ActorName,
  row: Row & { readonly vault: "own" | "foreign" },
): Promise<string> {
  const vault = world[row.vault];
  const fill = (text: string) =>
    text
      .replaceAll("{vault}", vault)
      .replaceAll("{own}", world.own)
      .replaceAll("{robot}", world.robot)
      .replaceAll("{mine}", world.mine[actor] ?? world.robot)
      .replaceAll("{invite}", world.invite)
      .replaceAll("{fresh}", `fresh-${randomHex(6)}`);
  const [method = "", path = ""] = row.route.split(" ");
  const values = [...(path.includes("/v1/vaults/{name}") ? [vault] : []), ...(row.at ?? []).map(fill)];
  const target = path.replace(/\{\w+\}/g, () => encodeURIComponent(values.shift() ?? "")) + fill(row.query ?? "");
  const answer = await api.call(method, target, {
    token: world.tokens[actor],
    ...(row.body !== undefined && { body: JSON.parse(fill(JSON.stringify(row.body))) as unknown }),
    headers: { "x-vault": vault },
  });
  const isRefused = refusals.has(String(answer.body.code));
  if (answer.status === 401 || answer.status === 403) expect(isRefused, `${row.route}: ${answer.text}`).toBe(true);
  expect(answer.status, answer.text).toBeLessThan(504);
  return isRefused ? String(answer.status) : "ok";
}

/** One of every kind of actor, each with a token; a vault that those with a role have it in, and a foreign one. */
interface World {
  readonly tokens: Readonly<Record<ActorName, string | undefined>>;
  readonly own: string;
  readonly foreign: string;
  /** An agent that an owner made, with a grant on the vault of the others. */
  readonly robot: string;
  /** The agent that each of those who can has made. */
  readonly mine: Readonly<Partial<Record<ActorName, string>>>;
  /** Handle of an invitation of an owner's into the vault. */
  readonly invite: string;
}

/** Written into the tables: the API's own way to make them is what is tested. */
async function buildWorld(database: Database): Promise<World> {
  const now = new Date().toISOString();
  const mark = randomHex(4);
  const [own, foreign, robot] = [`own-${mark}`, `foreign-${mark}`, `robot-${mark}`];
  const tokens: Partial<Record<ActorName, string | undefined>> = {};
  const mine: Partial<Record<ActorName, string>> = {};
  const vaultId = uuidv4();
  const inviteId = uuidv7();
  await database.transaction(async (tx) => {
    for (const [id, name] of [
      [vaultId, own],
      [uuidv4(), foreign],
    ] as const) {
      await tx.insertInto("vaults").values({ id, name, version: 1, created_at: now, updated_at: now }).execute();
    }
    const grant = (role: VaultRole, user_id: string | null, agent_id: string | null) =>
      tx
        .insertInto("vault_grants")
        .values({ id: uuidv7(), vault_id: vaultId, user_id, agent_id, role, created_at: now })
        .execute();
    const addAgent = async (name: string, role: InstanceRole, by: { type: string; id: string } | undefined) => {
      const id = uuidv7();
      const made = { created_by_type: by?.type ?? null, created_by_id: by?.id ?? null };
      const agent = { id, name, role, status: "active", ...made, created_at: now, updated_at: now, revoked_at: null };
      await tx.insertInto("agents").values(agent).execute();
      return id;
    };
    const addToken = async (kind: string, columns: object, prefix: "av_sess_" | "av_agt_" = "av_sess_") => {
      const token = mintToken(prefix);
      const row = { digest: tokenDigest(token), public_id: randomHex(10), kind, expires_at: null, created_at: now };
      await insertSession(tx, { ...row, ...columns });
      return token;
    };
    let minter = "";
    let ownerId = "";
    for (const [name, kind] of Object.entries(actors) as [ActorName, Kind][]) {
      if (kind.type === "anonymous") tokens[name] = undefined;
      if (kind.type === "user") {
        const id = uuidv7();
        const secret = { password_hash: new Uint8Array(32), password_salt: new Uint8Array(16) };
        const cost = { kdf_time: 3, kdf_memory: 65_536, kdf_threads: 4 };
        const person = { id, email: `${name}-${mark}@example.com`, role: kind.role ?? "member", is_active: 1 as const };
        await tx
          .insertInto("users")
          .values({ ...person, ...secret, ...cost, created_at: now, updated_at: now })
          .execute();
        if (kind.grant !== undefined) await grant(kind.grant, id, null);
        tokens[name] = await addToken("user", { user_id: id });
        if (name === "admin") minter = id;
        if (name === "owner") ownerId = id;
        mine[name] = `mine-${name}-${mark}`;
        await addAgent(mine[name] ?? "", "no-access", { type: "user", id });
      }
      if (kind.type === "agent") {
        const agent = name.replace("/", "-");
        const id = await addAgent(`${agent}-${mark}`, kind.role ?? "no-access", undefined);
        if (kind.grant !== undefined) await grant(kind.grant, null, id);
        tokens[name] = await addToken("agent", { agent_id: id }, "av_agt_");
        mine[name] = `mine-${agent}-${mark}`;
        await addAgent(mine[name] ?? "", "no-access", { type: "agent", id });
      }
      if (kind.type === "scoped") {
        const columns = { vault_id: vaultId, vault_role: kind.grant, created_by_user_id: minter };
        tokens[name] = await addToken("scoped", columns);
      }
    }
    await grant("proxy", null, await addAgent(robot, "no-access", { type: "user", id: ownerId }));
    await tx
      .insertInto("user_invites")
      .values({
        id: inviteId,
        token_digest: randomHex(32),
        token_suffix: "00000000",
        email: `invited-${mark}@example.com`,
        role: "member",
        status: "pending",
        created_by_type: "user",
        created_by_id: ownerId,
        created_at: now,
        expires_at: new Date(Date.now() + 3_600_000).toISOString(),
        accepted_at: null,
      })
      .execute();
    await tx
      .insertInto("user_invite_vaults")
      .values({ invite_id: inviteId, vault_id: vaultId, vault_role: "member" })
      .execute();
  });
  return { tokens: tokens as World["tokens"], own, foreign, robot, mine, invite: inviteId };
}

function readGrids(text: string): Readonly<Record<string, Grid>> {
  const [head, ...lines] = text
    .trim()
    .split("\n")
    .map((line) => line.split("|").map((cell) => cell.trim()));
  // The first line begins with the bar, because its first cell is empty.
  const names = head?.filter((name) => name !== "") ?? [];
  expect(names).toEqual(Object.keys(actors));
  return Object.fromEntries(
    lines.map(([grid = "", ...cells]) => [
      grid,
      Object.fromEntries(names.map((name, column) => [name, cells[column] ?? ""])) as Grid,
    ]),
  );
}

function gridOf(grids: Readonly<Record<string, Grid>>, name: string): Grid {
  const grid = grids[name];
  if (grid === undefined) throw new Error(`There is no grid "${name}"`);
  return grid;
}
