import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "the injected header dropped as hop-by-hop because the agent's Connection names it" });

const injected = `Bearer ${secret}`;
const own = "sk_the_agents_own";

describe("an agent whose Connection names what the broker injects", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each([
    { head: `Connection: Authorization\r\nAuthorization: Bearer ${own}\r\n`, because: "nominated as hop-by-hop" },
    { head: `Connection: close, authorization\r\nAuthorization: Bearer ${own}\r\n`, because: "nominated in a list" },
    { head: "Connection: authorization\r\n", because: "nominated without being sent" },
    { head: `Proxy-Connection: Authorization\r\nAuthorization: Bearer ${own}\r\n`, because: "an old Connection" },
  ])("cannot replace, join or remove the injected one: $because", async ({ head }) => {
    const answer = await stage.ask("/v1/me", { head });
    expect(answer.status).toBe(200);
    expect(stage.secure.values("authorization")).toEqual([injected]);
    expect(stage.secure.received.join()).not.toContain(own);
  });
});
