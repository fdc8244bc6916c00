import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newAgent } from "../support/agents.ts";
import { knownLeak } from "../support/declaration.ts";
import { hosts, type Stage, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to learn which vaults there are that it has no grant on",
  consequence:
    "The token of an agent is told `vault_not_found` or `forbidden`, so names can be guessed. They are no secrets; give vaults names that tell nothing.",
});

describe("an agent that guesses the names of vaults", () => {
  let stage: Stage;
  let token: string;
  beforeAll(async () => {
    stage = await setStage();
    await stage.newVault("acquisition");
    token = await newAgent(stage, "curious");
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  leak.stillLeaks("tells one that exists from one that does not", async () => {
    const [there, notThere] = [await statusOf("acquisition"), await statusOf("acquisitions")];
    return there !== notThere;
  });

  it("gets into neither", async () => {
    expect(await statusOf("acquisition")).toBeGreaterThanOrEqual(400);
    expect(await statusOf("acquisitions")).toBeGreaterThanOrEqual(400);
  });

  function statusOf(vault: string): Promise<number> {
    return stage.tunnel({ authority: `${hosts.api}:${stage.secure.port}`, token, vault }).then(
      () => 200,
      (error: { status: number }) => error.status,
    );
  }
});
