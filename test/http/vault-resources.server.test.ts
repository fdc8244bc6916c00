import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiServer, openScratchDatabase } from "../support/api-server.ts";
import { TestAuthority } from "../support/test-authority.ts";

/**
 * One vault `alpha` with an admin, a member, an agent of role proxy, a scoped token, and an owner without a grant.
 * The rules themselves are tested below test/domain; here it is who may, and what goes over the wire.
 */
const tokens: Record<string, string> = {};
let database: Awaited<ReturnType<typeof openScratchDatabase>>;
let api: ApiServer;
let alpha: string;

beforeAll(async () => {
  database = await openScratchDatabase();
  api = await ApiServer.start(database);
  const owner = await api.registerOwner();
  const admin = await api.addUser("admin@example.com");
  alpha = await api.addVault(admin, "alpha");
  const member = await api.addUser("member@example.com");
  const users = { token: admin, body: { email: "member@example.com", role: "member" } };
  await api.expect(201, "POST", "/v1/vaults/alpha/users", users);
  const stranger = await api.addUser("stranger@example.com");
  const agent = await api
    .addAgent(owner, "runner", { vaults: [{ vault_name: "alpha", vault_role: "proxy" }] })
    .catch(async () => {
      const token = await api.addAgent(owner, "runner");
      await api.expect(201, "POST", "/v1/vaults/alpha/agents", {
        token: admin,
        body: { name: "runner", role: "proxy" },
      });
      return token;
    });
  Object.assign(tokens, { owner, admin, member, stranger, agent, scoped: await api.mint(admin, "alpha") });
});

afterAll(async () => {
  await api.close();
  await database[Symbol.asyncDispose]();
});

const service = { name: "github", host: "api.github.com", auth: { type: "bearer", token: "TOK" } };

describe("who may do what", () => {
  it.each([
    {
      call: ["GET", "/v1/vaults/alpha/services"],
      admin: 200,
      member: 200,
      agent: 200,
      scoped: 200,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["POST", "/v1/vaults/alpha/services", { services: [service] }],
      admin: 200,
      member: 403,
      agent: 403,
      scoped: 403,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["PUT", "/v1/vaults/alpha/services", { services: [service] }],
      admin: 200,
      member: 403,
      agent: 403,
      scoped: 403,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["PATCH", "/v1/vaults/alpha/services/github", { enabled: true }],
      admin: 200,
      member: 403,
      agent: 403,
      scoped: 403,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["GET", "/v1/vaults/alpha/services/credential-usage?key=TOK"],
      admin: 200,
      member: 200,
      agent: 200,
      scoped: 200,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["POST", "/v1/credentials", { vault: "alpha", credentials: { TOK: "sk_live_1" } }],
      admin: 200,
      member: 200,
      agent: 403,
      scoped: 403,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["GET", "/v1/credentials?vault=alpha"],
      admin: 200,
      member: 200,
      agent: 200,
      scoped: 200,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["GET", "/v1/credentials?vault=alpha&reveal=true"],
      admin: 200,
      member: 200,
      agent: 403,
      scoped: 403,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["GET", "/v1/vaults/alpha/logs"],
      admin: 200,
      member: 200,
      agent: 403,
      scoped: 403,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["GET", "/v1/vaults/alpha/discovered-hosts"],
      admin: 200,
      member: 200,
      agent: 403,
      scoped: 403,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["GET", "/v1/vaults/alpha/settings"],
      admin: 200,
      member: 200,
      agent: 200,
      scoped: 200,
      owner: 403,
      stranger: 404,
    },
    {
      call: ["PATCH", "/v1/vaults/alpha/settings", {}],
      admin: 200,
      member: 403,
      agent: 403,
      scoped: 403,
      owner: 200,
      stranger: 404,
    },
    {
      call: ["GET", "/v1/vaults/alpha/context"],
      admin: 200,
      member: 200,
      agent: 200,
      scoped: 403,
      owner: 403,
      stranger: 403,
    },
    { call: ["GET", "/v1/admin/vaults"], admin: 403, member: 403, agent: 403, scoped: 403, owner: 200, stranger: 403 },
    {
      call: ["POST", "/v1/vaults/alpha/rename", { name: "alpha" }],
      admin: 409,
      member: 403,
      agent: 403,
      scoped: 403,
      owner: 409,
      stranger: 404,
    },
    {
      call: ["DELETE", "/v1/vaults/default"],
      admin: 400,
      member: 400,
      agent: 400,
      scoped: 400,
      owner: 400,
      stranger: 400,
    },
    {
      call: ["GET", "/v1/service-catalog"],
      admin: 200,
      member: 200,
      agent: 200,
      scoped: 200,
      owner: 200,
      stranger: 200,
    },
  ] as const)("$call", async ({ call: [method, path, body], ...expected }) => {
    const answers = Object.keys(expected).map(async (who) => {
      const { status } = await api.call(method, path, { token: tokens[who], body });
      return [who, status];
    });
    expect(Object.fromEntries(await Promise.all(answers))).toEqual(expected);
  });

  it("is nobody without a token, where it is not public", async () => {
    for (const path of [
      "/v1/vaults",
      "/v1/credentials",
      "/discover",
      "/v1/vaults/alpha/services",
      "/v1/vaults/alpha/logs",
    ]) {
      expect((await api.call("GET", path)).status).toBe(401);
    }
    expect((await api.call("GET", "/v1/skills/cli")).headers.get("content-type")).toBe("text/markdown; charset=utf-8");
  });
});

describe("services over the wire", () => {
  const path = "/v1/vaults/alpha/services";
  const call = (method: string, ref: string, body?: unknown, headers: Record<string, string> = {}) =>
    api.call(method, path + ref, { token: tokens.admin, body, headers });

  it("come and go", async () => {
    await call("PUT", "", { services: null });
    const added = await call("POST", "", {
      services: [service, { ...service, name: "hub", host: "API.github.com/user/*" }],
    });
    expect(added.body).toEqual({ vault: "alpha", upserted: ["github", "hub"], services_count: 2 });
    expect((await call("GET", "")).body).toEqual({
      vault: "alpha",
      services: [service, { ...service, name: "hub", host: "api.github.com/user/*" }],
    });
    const off = await call("PATCH", `/${encodeURIComponent("api.github.com/user/*")}`, { enabled: false });
    expect(off.body).toEqual({ vault: "alpha", name: "hub", host: "api.github.com/user/*", enabled: false });
    expect((await call("DELETE", "/hub")).body).toEqual({
      vault: "alpha",
      removed: "hub",
      removed_host: "api.github.com/user/*",
      services_count: 1,
    });
    expect((await call("DELETE", "")).body).toEqual({ vault: "alpha", cleared: true });
  });

  it.each([
    { method: "POST", body: {}, says: "At least one service is required" },
    { method: "POST", body: { services: "all" }, says: "Invalid request body" },
    {
      method: "POST",
      body: { services: [{ ...service, host: "localhost" }] },
      says: "Invalid services: service 0: host",
    },
    { method: "POST", body: { services: [{ ...service, description: "" }] }, says: "services[0]: description" },
    { method: "PUT", body: {}, says: "Invalid services: " },
    { method: "PUT", body: { services: {} }, says: "Invalid services: " },
  ])("$method $body is refused", async ({ method, body, says }) => {
    const answer = await call(method, "", body);
    expect(answer.status).toBe(400);
    expect(answer.body.error).toContain(says);
  });

  it("are not replaced from a state that is gone", async () => {
    const etag = (await call("GET", "")).headers.get("etag") ?? "";
    expect((await call("PUT", "", { services: [service] }, { "if-match": etag })).status).toBe(200);
    expect((await call("PUT", "", { services: [] }, { "if-match": etag })).status).toBe(412);
    expect((await call("PUT", "", { services: [] }, { "if-match": `W/${etag}` })).status).toBe(412);
    expect((await call("PUT", "", { services: [] }, { "if-match": "*" })).status).toBe(200);
  });

  it("name the candidates of an ambiguous reference", async () => {
    await call("PUT", "", { services: [service, { ...service, name: "hub", host: "api.github.com/x" }] });
    const answer = await call("DELETE", "/api.github.com");
    expect(answer).toMatchObject({
      status: 409,
      body: {
        candidates: [
          { name: "github", host: "api.github.com" },
          { name: "hub", host: "api.github.com/x" },
        ],
      },
    });
  });
});

describe("credentials over the wire", () => {
  const set = (credentials: unknown, token = tokens.admin) =>
    api.call("POST", "/v1/credentials", { token, body: { vault: "alpha", credentials } });

  it("are listed without values, and revealed only to a cache-free answer", async () => {
    await set({ B_KEY: "sk_live_b", A_KEY: "", TOK: "sk_live_1" });
    const listed = await api.call("GET", "/v1/credentials?vault=alpha", { token: tokens.member });
    expect(listed.body).toMatchObject({
      keys: ["A_KEY", "B_KEY", "TOK"],
      credentials: ["A_KEY", "B_KEY", "TOK"].map((key) => ({ key, type: "static" })),
    });
    expect(listed.text).not.toContain("sk_live");
    const keysOnly = await api.call("GET", "/v1/credentials?vault=alpha", { token: tokens.agent });
    expect(keysOnly.body).toEqual({ keys: ["A_KEY", "B_KEY", "TOK"] });
    const revealed = await api.call("GET", "/v1/credentials?vault=alpha&reveal=true&key=B_KEY", {
      token: tokens.member,
    });
    expect(revealed.body.credentials).toMatchObject([{ key: "B_KEY", type: "static", value: "sk_live_b" }]);
    expect(revealed.headers.get("cache-control")).toBe("no-store");
    for (const reveal of ["1", "TRUE", ""]) {
      const answer = await api.call("GET", `/v1/credentials?vault=alpha&reveal=${reveal}`, { token: tokens.member });
      expect(answer.text).not.toContain("sk_live");
    }
  });

  it.each([{ A: 1 }, { A: { b: 1 } }, ["A"], "A"])("%j is no map of values", async (credentials) => {
    expect((await set(credentials)).status).toBe(400);
  });

  it("default to the vault of a scoped token", async () => {
    const answer = await api.call("GET", "/v1/credentials", { token: tokens.scoped });
    expect([answer.status, answer.body.keys]).toEqual([200, ["A_KEY", "B_KEY", "TOK"]]);
    expect((await api.call("GET", "/v1/credentials", { token: tokens.admin })).status).toBe(404);
  });
});

describe("discovery over the wire", () => {
  it("tells an agent what there is, by name", async () => {
    await api.call("PUT", "/v1/vaults/alpha/services", { token: tokens.admin, body: { services: [service] } });
    const expected = {
      vault: "alpha",
      services: [{ name: "github", host: "api.github.com" }],
      available_credentials: ["A_KEY", "B_KEY", "TOK"],
    };
    expect((await api.call("GET", "/discover", { token: tokens.scoped })).body).toEqual(expected);
    const named = { token: tokens.agent, headers: { "x-vault": "alpha" } };
    expect((await api.call("GET", "/discover", named)).body).toEqual(expected);
    expect((await api.call("GET", "/discover", { token: tokens.agent })).status).toBe(400);
    expect((await api.call("GET", "/discover", { token: tokens.admin })).status).toBe(403);
  });
});

describe("the network settings over the wire", () => {
  const path = "/v1/vaults/alpha/settings";
  const patch = (body: object) => api.call("PATCH", path, { token: tokens.admin, body });

  it("are left out until they are set, shown to members, and hidden from agents", async () => {
    const authority = await TestAuthority.create();
    const plain = { unmatched_host_policy: "passthrough", scrub: "redact", infisical_available: false };
    expect((await api.call("GET", path, { token: tokens.member })).body).toEqual(plain);
    const set = await patch({ network_allowlist: [], upstream_ca: authority.pem });
    const { unmatched_host_policy: _, scrub: __, ...networks } = set.body;
    expect([set.status, networks]).toEqual([200, { network_allowlist: [], upstream_ca: `${authority.pem.trim()}\n` }]);
    expect((await api.call("GET", path, { token: tokens.member })).body).toEqual({ ...plain, ...networks });
    for (const token of [tokens.agent, tokens.scoped]) {
      expect((await api.call("GET", path, { token })).body).toEqual(plain);
    }
    await patch({ network_allowlist: null, upstream_ca: "" });
    expect((await api.call("GET", path, { token: tokens.member })).body).toEqual(plain);
  });

  it.each([
    { body: { network_allowlist: ["10.0.0.0/8"] }, code: "network_not_offered" },
    { body: { network_allowlist: ["here"] }, code: "invalid_network" },
    { body: { network_allowlist: "10.0.0.0/8" }, code: "invalid_body" },
    { body: { upstream_ca: "nonsense" }, code: "invalid_certificate" },
    { body: { upstream_ca: 7 }, code: "invalid_body" },
  ])("refuse $body as $code, and change nothing else either", async ({ body, code }) => {
    const answer = await patch({ unmatched_host_policy: "deny", ...body });
    expect([answer.status, answer.body.code]).toEqual([400, code]);
    expect((await api.call("GET", path, { token: tokens.admin })).body.unmatched_host_policy).toBe("passthrough");
  });
});

describe("the request log over the wire", () => {
  it("shows rows and cursors, and refuses both cursors at once", async () => {
    api.domain.journal.record({
      requestId: "r1",
      vaultId: alpha,
      actorType: "agent",
      actorId: "gone",
      sessionId: "s1",
      method: "GET",
      scheme: "https",
      host: "api.stripe.com:443",
      path: "/v1/charges",
      matchedService: "",
      credentialKeys: [],
      status: 403,
      errorCode: "no_match",
      authScheme: "bearer",
      authHeader: "Authorization",
      clientIp: "127.0.0.1",
      bytesIn: 1,
      bytesOut: 2,
      startedAtMs: Date.parse("2026-01-31T12:00:00.250Z"),
      latencyMs: 3,
      upstreamMs: null,
    });
    await api.domain.journal.flush();
    const read = (query: string) => api.call("GET", `/v1/vaults/alpha/logs${query}`, { token: tokens.member });
    const { body } = await read("?limit=1&status_bucket=err&before=0");
    expect(body).toMatchObject({
      logs: [
        {
          ingress: "mitm",
          method: "GET",
          host: "api.stripe.com:443",
          path: "/v1/charges",
          matched_service: "",
          credential_keys: [],
          status: 403,
          latency_ms: 3,
          error_code: "no_match",
          actor_type: "agent",
          actor_id: "gone",
          created_at: "2026-01-31T12:00:00Z",
        },
      ],
    });
    const [row] = body.logs as { id: number }[];
    expect([body.next_cursor, body.latest_id]).toEqual([row?.id, row?.id]);
    expect(Object.keys(row ?? {})).not.toContain("actor_name");
    expect((await read(`?after=${row?.id}`)).body).toEqual({ logs: [], next_cursor: null, latest_id: row?.id });
    expect((await read("?before=5&after=5")).status).toBe(400);
    expect((await read("?limit=x&before=-1&after=y")).status).toBe(200);

    const hosts = await api.call("GET", "/v1/vaults/alpha/discovered-hosts", { token: tokens.member });
    expect(hosts.body).toEqual({
      hosts: [
        {
          host: "api.stripe.com",
          request_count: 1,
          last_seen: "2026-01-31T12:00:00Z",
          auth_scheme: "bearer",
          auth_header: "Authorization",
          templates: ["stripe"],
        },
      ],
      total: 1,
    });
    const counted = await api.call("GET", "/v1/vaults/alpha/discovered-hosts?limit=0", { token: tokens.member });
    expect(counted.body).toEqual({ hosts: [], total: 1 });
  });
});

describe("the settings of a vault", () => {
  const path = "/v1/vaults/alpha/settings";
  const change = (status: number, body: object, token = tokens.admin) =>
    api.expect(status, "PATCH", path, { token, body });

  it("are the defaults, until an admin changes one, which leaves the other alone", async () => {
    const defaults = { unmatched_host_policy: "passthrough", scrub: "redact" };
    expect(await api.expect(200, "GET", path, { token: tokens.member })).toMatchObject(defaults);
    expect(await change(200, { scrub: "block" })).toEqual({ ...defaults, scrub: "block" });
    expect(await change(200, { unmatched_host_policy: "deny" })).toEqual({
      unmatched_host_policy: "deny",
      scrub: "block",
    });
    expect(await change(200, {})).toEqual({ unmatched_host_policy: "deny", scrub: "block" });
    expect(await change(200, { scrub: "", unmatched_host_policy: "" })).toEqual(defaults);
  });

  it("refuse what they do not know, all of it or nothing, and whoever is no admin", async () => {
    expect(await change(400, { scrub: "loud", unmatched_host_policy: "deny" })).toMatchObject({
      code: "invalid_scrub",
    });
    expect(await change(400, { scrub: "off", unmatched_host_policy: "x" })).toMatchObject({ code: "invalid_policy" });
    await change(403, { scrub: "off" }, tokens.member);
    await change(403, { scrub: "off" }, tokens.agent);
    await change(404, { scrub: "off" }, tokens.stranger);
    expect(await api.expect(200, "GET", path, { token: tokens.admin })).toMatchObject({
      unmatched_host_policy: "passthrough",
      scrub: "redact",
    });
  });
});
