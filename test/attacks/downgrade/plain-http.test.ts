import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "the credential sent without TLS" });

// http:// instead of https:// is one letter less to type, and everyone on the way reads the credential.
describe("an agent that asks for the same service without TLS", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
  });

  beforeEach(() => stage.plain.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each([
    { name: "without a port", service: () => bearerService(hosts.api) },
    { name: "with the very port", service: () => bearerService(`${hosts.api}:${stage.plain.port}`) },
    { name: "with a wildcard", service: () => bearerService("*.upstream.test") },
    { name: "with a path", service: () => bearerService(`${hosts.api}/v1/*`) },
    { name: "that names https", service: () => bearerService(hosts.api, { schemes: ["https"] }) },
  ])("is refused by a service $name, and nothing is sent", async ({ service }) => {
    await stage.services([service()]);
    const answer = await stage.askPlain("/v1/me", { head: "Authorization: Bearer mine\r\n" });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ error: "scheme_not_allowed" });
    expect(stage.plain.received).toEqual([]);
  });

  it("gets the credential sent where the service opted in", async () => {
    await stage.services([bearerService(hosts.api, { schemes: ["https", "http"] })]);
    expect((await stage.askPlain("/v1/me")).status).toBe(200);
    expect(stage.plain.values("authorization")).toEqual([`Bearer ${secret}`]);
  });

  it("is refused where the service is for http only and it comes over TLS", async () => {
    await stage.services([bearerService(hosts.api, { schemes: ["http"] })]);
    expect((await stage.ask("/v1/me")).status).toBe(403);
    expect(stage.secure.received).toEqual([]);
  });

  it("does not get round a switched-off service", async () => {
    await stage.services([bearerService(hosts.api, { enabled: false })]);
    expect((await stage.askPlain("/v1/me")).status).toBe(403);
    expect(stage.plain.received).toEqual([]);
  });

  it("may go on without a credential where no service is, and is refused there too once the vault denies", async () => {
    await stage.services([bearerService(hosts.api)]);
    const authority = `${hosts.other}:${stage.plain.port}`;
    expect((await stage.askPlain("/", { authority })).status).toBe(200);
    expect(stage.plain.received.join()).not.toContain(secret);
    stage.plain.forget();
    await stage.unmatchedHosts("deny");
    const answer = await stage.askPlain("/", { authority });
    await stage.unmatchedHosts("passthrough");
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ error: "forbidden" });
    expect(stage.plain.received).toEqual([]);
  });
});
