import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";

const token = "metrics-token-0123456789";

describeOnEachEngine("GET /metrics", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let owner = "";
  let member = "";

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database, {
      environment: { AGENT_VAULT_METRICS_TOKEN: token, AGENT_VAULT_RATELIMIT_PROFILE: "default" },
    });
    owner = await api.registerOwner();
    member = await api.addUser("member@example.com");
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it("answers an owner, and whoever has the configured token", async () => {
    for (const presented of [owner, token]) {
      const answer = await api.call("GET", "/metrics", { token: presented });
      expect(answer.status).toBe(200);
      expect(answer.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
      expect(answer.headers.get("cache-control")).toBe("no-store");
    }
  });

  it("refuses nobody, members, agents and tokens that only begin or end right", async () => {
    const agent = await api.addAgent(owner, "scraper");
    const wrong = [`${token}0`, token.slice(1), token.toUpperCase(), `${token} `.repeat(2)];
    const statuses: number[] = [];
    for (const presented of [undefined, member, agent, ...wrong]) {
      statuses.push((await api.call("GET", "/metrics", { token: presented })).status);
    }
    expect(statuses).toEqual([401, 403, 403, 401, 401, 401, 401]);
    expect((await api.call("GET", `/metrics?token=${token}`)).status).toBe(401);
    expect((await api.call("GET", "/metrics", { headers: { cookie: `av_session=${member}` } })).status).toBe(403);
  });

  it("lets nobody guess, and goes on serving who knows the token", async () => {
    const statuses = new Set<number>();
    for (let i = 0; i < 60; i++) statuses.add((await api.call("GET", "/metrics", { token: `guess-${i}` })).status);
    expect([...statuses]).toEqual([401, 429]);
    expect((await api.call("GET", "/metrics", { token })).status).toBe(200);
    for (let i = 0; i < 60; i++) expect((await api.call("GET", "/metrics", { token })).status).toBe(200);
  });
});
