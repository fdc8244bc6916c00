import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { fixed, hearAnswer } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to hear the credential in a text of two bytes per letter",
  consequence: "Answers in UTF-16 or UTF-32 are not searched for values.",
});

describe("an upstream that answers in UTF-16", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("is heard", async () => {
    const body = Buffer.from(`{"token":"${secret}"}`, "utf16le").toString("latin1");
    const heard = await hearAnswer(stage, fixed("Content-Type: application/json; charset=utf-16le\r\n", body));
    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
    const text = Buffer.from(heard.slice(heard.indexOf("\r\n\r\n") + 4), "latin1").toString("utf16le");
    return text.includes(secret);
  });
});
