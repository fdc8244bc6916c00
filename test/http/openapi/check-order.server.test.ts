/** Which of several faults of one request decides (spec of accounts: the first failing check). */
import { afterAll, beforeAll, expect, it } from "vitest";
import { ApiServer, openScratchDatabase, type ScratchDatabase } from "../../support/api-server.ts";

let database: ScratchDatabase;
let api: ApiServer;
let owner: string;
beforeAll(async () => {
  database = await openScratchDatabase();
  api = await ApiServer.start(database);
  owner = await api.registerOwner();
});
afterAll(async () => {
  await api.close();
  await database[Symbol.asyncDispose]();
});

it("judges a new password before it asks who changes it, and the current one after", async () => {
  const agent = await api.addAgent(owner, "robot");
  const change = async (body: object) =>
    (await api.call("POST", "/v1/auth/change-password", { token: agent, body })).body.code;
  expect(await change({ new_password: "short" })).toBe("invalid_password");
  expect(await change({ new_password: "" })).toBe("missing_field");
  expect(await change({ new_password: "long enough" })).toBe("user_session_required");
});

it("judges the name of a vault before it asks who may have an external store", async () => {
  const member = await api.addUser("member@example.com");
  const create = async (name: string) => {
    const body = { name, credential_store: { kind: "infisical" } };
    return (await api.call("POST", "/v1/vaults", { token: member, body })).body.code;
  };
  expect(await create("Not A Slug")).toBe("invalid_name");
  expect(await create("users")).toBe("reserved_name");
  expect(await create("fine-name")).toBe("owner_required");
});
