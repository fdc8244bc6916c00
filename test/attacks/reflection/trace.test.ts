import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "an upstream made to echo the request, credential and all" });

describe("an agent that asks for its request to be echoed", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each(["TRACE", "trace", "Trace", "TRACK", "track"])("is not reflected with %s", async (method) => {
    using wire = await stage.tunnel();
    wire.send(`${method} /v1/me HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n\r\n`);
    expect((await wire.answer()).status).toBe(405);
    expect(stage.secure.received).toEqual([]);
  });
});
