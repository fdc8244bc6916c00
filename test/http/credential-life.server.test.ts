import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, openScratchDatabase } from "../support/api-server.ts";

const tokens: Record<string, string> = {};
let database: Awaited<ReturnType<typeof openScratchDatabase>>;
let api: ApiServer;

beforeAll(async () => {
  database = await openScratchDatabase();
  api = await ApiServer.start(database);
  tokens.owner = await api.registerOwner();
  tokens.admin = await api.addUser("admin@example.com");
  await api.addVault(tokens.admin, "alpha");
  tokens.member = await api.addUser("member@example.com");
  const member = { token: tokens.admin, body: { email: "member@example.com", role: "member" } };
  await api.expect(201, "POST", "/v1/vaults/alpha/users", member);
  tokens.stranger = await api.addUser("stranger@example.com");
  tokens.scoped = await api.mint(tokens.admin, "alpha");
  await set({ KEY: "sk_live_one" });
  await set({ KEY: "sk_live_two" }, { KEY: { description: "the live key", expires_at: "2099-01-31" } });
});

afterAll(async () => {
  await api.close();
  await database[Symbol.asyncDispose]();
});

const set = (credentials: object, details?: object) =>
  api.expect(200, "POST", "/v1/credentials", {
    token: tokens.member,
    body: { vault: "alpha", credentials, details },
  });

it("shows versions to members, without a value", async () => {
  const answer = await api.call("GET", "/v1/credentials/KEY/versions?vault=alpha", { token: tokens.member });
  const by = { type: "user", name: "member@example.com" };
  expect(answer.body).toEqual({
    key: "KEY",
    versions: [
      { version: 2, created_at: expect.stringMatching(/Z$/), created_by: by, current: true },
      { version: 1, created_at: expect.stringMatching(/Z$/), created_by: by, current: false },
    ],
  });
  expect(answer.text).not.toContain("sk_live");
});

it("takes details with the value, and changes them later", async () => {
  const list = await api.call("GET", "/v1/credentials?vault=alpha", { token: tokens.member });
  expect(list.body.credentials).toMatchObject([
    { key: "KEY", version: 2, description: "the live key", expires_at: "2099-01-31T00:00:00Z" },
  ]);
  const patch = (body: object) =>
    api.call("PATCH", "/v1/credentials/KEY", { token: tokens.member, body: { vault: "alpha", ...body } });
  expect((await patch({ description: "", expires_at: "2098-01-31T12:00:00Z" })).body).toEqual({
    key: "KEY",
    type: "static",
    version: 2,
    expires_at: "2098-01-31T12:00:00Z",
    updated_at: expect.any(String),
  });
  expect((await patch({})).status).toBe(400);
  expect((await patch({ expires_at: "tomorrow" })).status).toBe(400);
  expect((await patch({ description: "a\u0007b" })).status).toBe(400);
});

it("does not show a proxy what is noted", async () => {
  const answer = await api.call("GET", "/v1/credentials?vault=alpha", { token: tokens.scoped });
  expect(answer.body).toEqual({ keys: ["KEY"] });
});

it.each([
  ["GET", "/v1/credentials/KEY/versions?vault=alpha", undefined],
  ["POST", "/v1/credentials/KEY/restore", { vault: "alpha", version: 1 }],
  ["PATCH", "/v1/credentials/KEY", { vault: "alpha", description: "x" }],
] as const)("%s %s is for members of the vault", async (method, path, body) => {
  for (const [who, expected] of [
    ["stranger", 404],
    ["scoped", 403],
    ["owner", 403],
  ] as const) {
    expect((await api.call(method, path, { token: tokens[who], body })).status).toBe(expected);
  }
  expect((await api.call(method, path, { body })).status).toBe(401);
});

it.each([0, -1, 1.5, "1", 2 ** 53, 77, null])("restores no version %j", async (version) => {
  const body = { vault: "alpha", version };
  const { status } = await api.call("POST", "/v1/credentials/KEY/restore", { token: tokens.member, body });
  expect(status).toBe(version === 77 ? 404 : 400);
});

it("restores a version, but not that of another vault's credential", async () => {
  await api.addVault(tokens.admin ?? "", "beta");
  const other = { token: tokens.admin, body: { vault: "beta", version: 1 } };
  expect((await api.call("POST", "/v1/credentials/KEY/restore", other)).status).toBe(404);
  const own = { token: tokens.member, body: { vault: "alpha", version: 1 } };
  expect((await api.call("POST", "/v1/credentials/KEY/restore", own)).body).toEqual({
    key: "KEY",
    restored: 1,
    version: 3,
  });
  const path = "/v1/credentials?vault=alpha&reveal=true&key=KEY";
  const { body } = await api.call("GET", path, { token: tokens.member });
  expect(body.credentials).toMatchObject([{ key: "KEY", version: 3, value: "sk_live_one" }]);
});
