import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "a path that is switched off, in capitals",
  consequence:
    "Paths are compared to the letter, as the standard says. A server that ignores case serves `/PRIVATE/a` as `/private/a`, so switching off a path there is no barrier.",
});

describe("a path in capitals, where it is switched off in small letters", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    const api = `${hosts.api}:${stage.secure.port}`;
    const off = bearerService(`${api}/private/*`, { name: "switched-off", enabled: false });
    await stage.services([off, bearerService(api)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("reaches the upstream with the credential", async () => {
    const { status } = await stage.ask("/PRIVATE/a");
    return status === 200 && stage.secure.values("authorization").join() === `Bearer ${secret}`;
  });

  it("is refused in small letters", async () => {
    expect((await stage.ask("/private/a")).status).toBe(403);
  });
});
