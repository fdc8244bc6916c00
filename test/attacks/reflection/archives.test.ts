import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { fixed, hearAnswer } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to hear the credential inside of a compressed file",
  consequence:
    "Content codings are undone and searched; archives, images and documents are bytes. An upstream that packs what it was sent, such as logs to download, gives it away.",
});

describe("an upstream that packs the credential into a file", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("is heard by who unpacks it", async () => {
    const file = gzipSync(`GET /me\nAuthorization: Bearer ${secret}\n`).toString("latin1");
    const heard = await hearAnswer(stage, fixed("Content-Type: application/gzip\r\n", file));
    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
    const bytes = Buffer.from(heard.slice(heard.indexOf("\r\n\r\n") + 4), "latin1");
    return gunzipSync(bytes).toString().includes(secret);
  });
});
