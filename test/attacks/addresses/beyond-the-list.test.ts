import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { expectRefusal } from "../support/inside.ts";
import { hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "what is not on the operator's list of exceptions" });

describe("an agent of a broker with a list of exceptions", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage({ env: { AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8" } });
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("reaches what is on the list", async () => {
    expect((await stage.askPlain("/", { authority: `127.0.0.1:${stage.plain.port}` })).status).toBe(200);
  });

  it.each(["127.0.0.1", "[::ffff:127.0.0.1]", hosts.api])("does not reach the broker's own API as %s", async (host) => {
    const answer = await stage.askPlain("/health", { authority: `${host}:${stage.server.apiPort}` });
    expectRefusal(answer.status);
  });

  it.each(["[::]", "[::1]", "10.0.0.1", "169.254.169.254"])("does not reach %s, which is not on it", async (host) => {
    expectRefusal((await stage.askPlain("/", { authority: `${host}:${stage.plain.port}` })).status);
  });
});
