import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { containers, hearAnswer, holdsSecret, spellings } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to hear the credential in an answer, in any encoding and any container" });

describe("an upstream that returns the credential", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  it("would be heard without scrubbing, so that the rest of this file means something", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`, { scrub: "off" })]);
    for (const spell of Object.values(spellings)) {
      expect(holdsSecret(await hearAnswer(stage, containers["a body"]?.(spell(secret)) ?? ""))).toBe(true);
    }
  });

  for (const [container, wrap] of Object.entries(containers)) {
    it(`in ${container} is not heard, however it spells it`, async () => {
      await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
      for (const [spelling, spell] of Object.entries(spellings)) {
        const heard = await hearAnswer(stage, wrap(spell(secret)));
        expect(heard, spelling).toMatch(/^HTTP\/1\.1 /);
        expect(holdsSecret(heard), `${spelling}: ${heard}`).toBe(false);
      }
    });
  }
});
