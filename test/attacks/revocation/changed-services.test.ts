import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";
import type { Wire } from "../support/wire.ts";

defended({ wants: "a service or a credential as it was, in a tunnel that was opened before it changed" });

// A tunnel can stay open for days. What it was opened with must not be what it lives on.
describe("a tunnel that stays open when its service changes", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
  });

  beforeEach(async () => {
    await stage.services([bearerService(api)]);
    stage.secure.forget();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("stops at a service that is switched off", async () => {
    using wire = await open();
    await stage.server.api("PATCH", "/v1/vaults/default/services/upstream", { enabled: false });
    wire.send(request());
    const answer = await wire.answer();
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ error: "service_disabled" });
    expect(stage.secure.heads).toHaveLength(1);
  });

  it("stops at a service that is removed, once the vault denies unknown hosts", async () => {
    using wire = await open();
    await stage.unmatchedHosts("deny");
    await stage.server.api("DELETE", "/v1/vaults/default/services/upstream");
    wire.send(request());
    const answer = await wire.answer();
    await stage.unmatchedHosts("passthrough");
    expect(answer.status).toBe(403);
    expect(stage.secure.heads).toHaveLength(1);
  });

  it("sends the new value of a credential, never again the old one", async () => {
    using wire = await open();
    await stage.credentials({ UPSTREAM_TOKEN: "sk_live_Rotated0001" });
    wire.send(request());
    await wire.answer();
    await stage.credentials({ UPSTREAM_TOKEN: secret });
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`, "Bearer sk_live_Rotated0001"]);
  });

  it("sends nothing once the credential is deleted", async () => {
    using wire = await open();
    await stage.server.api("DELETE", "/v1/credentials", { vault: "default", keys: ["UPSTREAM_TOKEN"] });
    wire.send(request());
    const answer = await wire.answer();
    await stage.credentials({ UPSTREAM_TOKEN: secret });
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.body)).toMatchObject({ error: "credential_not_found" });
    expect(stage.secure.heads).toHaveLength(1);
  });

  /** A tunnel on which one request went through. */
  async function open(): Promise<Wire> {
    const wire = await stage.tunnel({ authority: api });
    wire.send(request());
    expect((await wire.answer()).status).toBe(200);
    return wire;
  }

  function request(): string {
    return `GET /v1/me HTTP/1.1\r\nHost: ${api}\r\n\r\n`;
  }
});
