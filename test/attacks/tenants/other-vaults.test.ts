import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "the credential of a vault that the token is not for" });

const otherSecret = "sk_live_OfTheOtherVault55";

describe("a token of one vault, used for another", () => {
  let stage: Stage;
  let api: string;
  let otherToken: string;
  let agentToken: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
    await stage.newVault("other", { UPSTREAM_TOKEN: otherSecret });
    await stage.services([bearerService(api)], "other");
    await stage.newVault("closed", { UPSTREAM_TOKEN: "sk_live_NobodyHasThis" });
    otherToken = await stage.newToken("other");
    const vaults = [
      { vault_name: "default", vault_role: "proxy" },
      { vault_name: "other", vault_role: "proxy" },
    ];
    const agent = (await stage.server.api("POST", "/v1/agents", { name: "two-vaults", vaults })) as {
      av_agent_token: string;
    };
    agentToken = agent.av_agent_token;
  });

  beforeEach(() => {
    stage.secure.forget();
    stage.plain.forget();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each([
    { vault: "other", status: 403, because: "it exists, and the token is for another" },
    { vault: "closed", status: 403, because: "it exists, and the token is for another" },
    { vault: "DEFAULT", status: 403, because: "names are compared to the letter" },
    { vault: "default ", status: 403, because: "names are compared to the letter" },
    { vault: "no-such-vault", status: 403, because: "what does not exist must look the same" },
  ])("does not turn a token of one vault into one of $vault: $because", async ({ vault, status }) => {
    await expect(stage.tunnel({ authority: api, vault })).rejects.toMatchObject({ status });
    expect(stage.secure.received).toEqual([]);
  });

  it("does not choose another vault by X-Vault", async () => {
    const answer = await stage.ask("/", { head: "X-Vault: other\r\n" });
    expect(answer.status).toBe(200);
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
  });

  it("gets the credential of the vault that its token is for, on one upstream connection after the other", async () => {
    for (const { token, value } of [
      { token: stage.token, value: secret },
      { token: otherToken, value: otherSecret },
      { token: stage.token, value: secret },
      { token: otherToken, value: otherSecret },
    ]) {
      stage.secure.forget();
      await stage.ask("/v1/me", { token });
      expect(stage.secure.values("authorization")).toEqual([`Bearer ${value}`]);
    }
  });

  it("gets the credential of the vault that an agent names, and of no vault when it names none of two", async () => {
    await stage.ask("/v1/me", { token: agentToken, vault: "other" });
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${otherSecret}`]);
    stage.secure.forget();
    await stage.ask("/v1/me", { token: agentToken, vault: "default" });
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
    await expect(stage.tunnel({ authority: api, token: agentToken })).rejects.toMatchObject({ status: 400 });
  });

  it("does not get into a vault that an agent has no grant on", async () => {
    const status = await stage.tunnel({ authority: api, token: agentToken, vault: "closed" }).then(
      () => 200,
      (error: { status?: number }) => error.status,
    );
    expect([403, 404]).toContain(status);
    expect(stage.secure.received).toEqual([]);
  });
});
