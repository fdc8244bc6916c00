import { deflateRawSync, inflateRawSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { fixed, hearAnswer } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to hear the credential in a content coding that the broker does not know",
  consequence:
    "The broker asks for no such coding, but an upstream may use one unasked. With `scrub` set to `block` it is refused; with `redact` it passes.",
});

describe("an upstream that answers in a coding of its own", () => {
  let stage: Stage;
  const packed = deflateRawSync(`{"token":"${secret}"}`).toString("latin1");
  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(async () => {
    await stage.secure.reset();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  leak.stillLeaks("is heard by who knows the coding", async () => {
    const heard = await hearAnswer(stage, fixed("Content-Encoding: x-own\r\n", packed));
    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
    const bytes = Buffer.from(heard.slice(heard.indexOf("\r\n\r\n") + 4), "latin1");
    return inflateRawSync(bytes).toString().includes(secret);
  });

  it("is not asked for it, whatever the agent says it takes", async () => {
    await stage.ask("/me", { head: "Accept-Encoding: x-own, dcb, compress;q=0.5, gzip\r\nAccept-Encoding: x-own\r\n" });
    expect(stage.secure.values("accept-encoding").join()).not.toMatch(/x-own|dcb|compress/);
  });

  it("is refused where the service blocks", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`, { scrub: "block" })]);
    const heard = await hearAnswer(stage, fixed("Content-Encoding: x-own\r\n", packed));
    expect(heard).toMatch(/^HTTP\/1\.1 502 /);
    expect(heard).toContain("answer_not_scannable");
  });
});
