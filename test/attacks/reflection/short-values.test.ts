import { afterAll, beforeAll, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { fixed, hearAnswer } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to hear a credential that is too short, or too simple, to be looked for",
  consequence:
    "Values of less than 8 bytes, or of fewer than 4 different ones, would be found everywhere, so they are not looked for. They can also be guessed: use longer ones.",
});

describe("an upstream that returns a credential of seven letters", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  for (const value of ["Qz7!xYk", "abababababababab"]) {
    leak.stillLeaks(`is heard: ${value}`, async () => {
      await stage.credentials({ UPSTREAM_TOKEN: value });
      await stage.secure.reset();
      const heard = await hearAnswer(stage, fixed("", `{"token":"${value}"}`));
      expect(heard).toMatch(/^HTTP\/1\.1 200 /);
      return heard.includes(value);
    });
  }
});
