import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, describeOnEachEngine, type ScratchDatabase } from "../support/api-server.ts";

// PostgreSQL breaks a query that holds a NUL: an error of ours, with a stack in the log, for a stranger's request.
describeOnEachEngine("a text that no database stores", (openScratch) => {
  let database: ScratchDatabase;
  let api: ApiServer;
  let token: string;

  beforeAll(async () => {
    database = await openScratch();
    api = await ApiServer.start(database);
    token = await api.registerOwner();
  });
  afterAll(async () => {
    await api.close();
    await database[Symbol.asyncDispose]();
  });

  it.each(["/v1/auth/login", "/v1/auth/forgot-password", "/v1/auth/resend-verification", "/v1/sessions"])(
    "is refused in the body of %s",
    async (path) => {
      for (const text of ["a\u0000b@example.com", "\ud800@example.com"]) {
        const body = { email: text, password: "a-password", vault: text };
        expect((await api.call("POST", path, { token, body })).status).toBe(400);
      }
    },
  );

  it.each(["/v1/agents/a%00", "/v1/vaults/a%00/services"])("is refused in the path %s", async (path) => {
    expect((await api.call("GET", path, { token })).status).toBe(400);
  });

  it.each(["/v1/vaults/default/logs?service=%00", "/v1/credentials?vault=%00"])(
    "is as good as absent in the query of %s",
    async (path) => {
      expect((await api.call("GET", path, { token })).status).toBeLessThan(500);
    },
  );
});
