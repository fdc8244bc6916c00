import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";
import { valuesOf } from "../support/wire.ts";

defended({ wants: "its broker token, or what steers the broker, sent to the upstream" });

describe("an agent whose words for the broker reach the upstream", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each([
    { name: "Proxy-Authorization" },
    { name: "proxy-authorization" },
    { name: "Proxy_Authorization" },
    { name: "X-Vault" },
    { name: "X_Vault" },
  ])("never has what is meant for the broker forwarded: $name", async ({ name }) => {
    await stage.ask("/v1/me", { head: `${name}: Bearer av_sess_inside\r\n` });
    expect(stage.secure.heads).toHaveLength(1);
    expect(stage.secure.received.join()).not.toContain("av_sess_inside");
  });

  it("never sends its broker token upstream over plain http either", async () => {
    const answer = await stage.askPlain("/", { head: "Proxy_Authorization: Bearer av_sess_inside\r\n" });
    expect(answer.status).toBe(200);
    const text = stage.plain.received.join();
    expect(text).not.toContain("av_sess_");
    expect(text).not.toContain(Buffer.from(`${stage.token}:`).toString("base64").slice(0, 20));
    expect(valuesOf(stage.plain.heads[0] ?? "", "proxy-authorization")).toEqual([]);
  });
});
