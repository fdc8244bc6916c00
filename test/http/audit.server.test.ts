import { afterAll, beforeAll, expect, it } from "vitest";
import { verifyExport } from "../../src/domain/audit/verify.ts";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";

interface Entry {
  readonly id: number;
  readonly action: string;
  readonly actor: { readonly name: string };
  readonly target: { readonly name: string };
  readonly vault_name: string | null;
  readonly before: unknown;
  readonly after: unknown;
}

describeOnEachEngine("the audit log over the API", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let owner: string;
  let admin: string;
  const list = async (query = "", token = owner, path = "/v1/audit") =>
    (await api.expect(200, "GET", `${path}${query}`, { token })).entries as Entry[];

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    owner = await api.registerOwner();
    admin = await api.addUser("admin@example.com");
    await api.addVault(admin, "billing");
    await api.addVault(owner, "other");
    const body = { vault: "billing", credentials: { STRIPE_KEY: "sk_live_1" } };
    await api.expect(200, "POST", "/v1/credentials", { token: admin, body });
    await api.expect(200, "POST", "/v1/vaults/other/rename", { token: owner, body: { name: "renamed" } });
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it("says who did what to what, with the state before and after, newest first", async () => {
    const [entry] = (await list("?limit=1")) as unknown as Record<string, unknown>[];
    expect(entry).toMatchObject({
      id: 6,
      actor: { type: "user", name: "owner@example.com" },
      client_ip: "127.0.0.1",
      action: "vault.rename",
      target: { type: "vault", name: "renamed" },
      vault_name: "renamed",
      before: { name: "other" },
      after: { name: "renamed" },
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it.each([
    { query: "?action=vault.create", ids: [4, 3], because: "an action is exact" },
    { query: "?action=vault", ids: [6, 4, 3], because: "a noun stands for all its actions" },
    { query: "?action=vaul", ids: [], because: "half a noun is none" },
    { query: "?actor=admin@example.com", ids: [5, 3], because: "people are found by their address" },
    { query: "?target=STRIPE_KEY", ids: [5], because: "who touched a credential is the usual question" },
    { query: "?vault=billing", ids: [5, 3], because: "an owner may ask about a vault without a grant on it" },
    { query: "?since=2000-01-01&until=2001-01-01T00:00:00Z", ids: [], because: "times are a range" },
    { query: "?since=2000-01-01", ids: [6, 5, 4, 3, 2, 1], because: "either end may be open" },
    { query: "?limit=2&before=5", ids: [4, 3], because: "pages follow the cursor" },
  ])("filters by $query: $because", async ({ query, ids }) => {
    expect((await list(query)).map(({ id }) => id)).toEqual(ids);
  });

  it("gives a cursor until the last page", async () => {
    const next = async (query: string) =>
      (await api.expect(200, "GET", `/v1/audit${query}`, { token: owner })).next_cursor;
    expect(await next("?limit=2")).toBe(5);
    expect(await next("?limit=6")).toBe(null);
  });

  it.each(["limit=0", "limit=x", "before=-1", "since=yesterday", "until=2026-13-01"])(
    "refuses ?%s, because a filter that is misread would hide entries",
    async (query) => {
      expect((await api.call("GET", `/v1/audit?${query}`, { token: owner })).status).toBe(400);
    },
  );

  it("shows an admin what happened in their vault, and nothing of others", async () => {
    expect((await list("", admin, "/v1/vaults/billing/audit")).map(({ id }) => id)).toEqual([5, 3]);
    const ofOther = await list("?vault=renamed", admin, "/v1/vaults/billing/audit");
    expect(ofOther.map(({ vault_name }) => vault_name)).toEqual(["billing", "billing"]);
    expect((await api.call("GET", "/v1/vaults/renamed/audit", { token: admin })).status).toBe(404);
    for (const path of ["/v1/audit", "/v1/audit/export", "/v1/audit/key", "/v1/audit/checkpoints"]) {
      expect((await api.call("GET", path, { token: admin })).status, path).toBe(403);
    }
  });

  it("is exported whole, signed and with who exported it, and the export holds by itself", async () => {
    const { public_key_pem: pem } = await api.expect(200, "GET", "/v1/audit/key", { token: owner });
    expect((await api.call("HEAD", "/v1/audit/export", { token: owner })).status).toBe(200);
    expect((await list("?action=audit")).length, "a HEAD exports nothing").toBe(0);
    const answer = await api.call("GET", "/v1/audit/export", { token: owner });
    expect(answer.headers.get("content-type")).toBe("application/x-ndjson");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const [newest] = await list("?limit=1&action=audit.export");
    expect(newest).toMatchObject({ actor: { name: "owner@example.com" } });
    const verdict = await verifyExport(linesOf(answer.text), { trustedKeyPem: String(pem) });
    expect(verdict).toMatchObject({ problem: undefined, lastId: newest?.id, signedId: newest?.id });
    const { checkpoints } = await api.expect(200, "GET", "/v1/audit/checkpoints?limit=1", { token: owner });
    expect(checkpoints).toMatchObject([{ audit_id: newest?.id }]);
  });
});

async function* linesOf(text: string): AsyncGenerator<string> {
  yield* text.split("\n");
}
