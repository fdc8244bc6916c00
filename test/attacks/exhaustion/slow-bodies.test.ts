import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "to starve others with bodies that never end, in either direction" });

describe("an agent whose bodies never end", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage({
      env: { AGENT_VAULT_RATELIMIT_PROFILE: "default", AGENT_VAULT_RATELIMIT_PROXY_CONCURRENCY: "3" },
    });
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("has as many under way as its token may, and nobody else waits for them", async () => {
    stage.secure.script = (connection) => {
      if (connection.received.startsWith("GET ")) connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    };
    const greedy = await stage.newToken();
    const slow = await Promise.all([1, 2, 3].map(() => stage.tunnel({ token: greedy })));
    for (const wire of slow) wire.send(`POST / HTTP/1.1\r\nHost: ${api}\r\nContent-Length: 1000\r\n\r\n`);
    while (stage.secure.heads.length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    expect((await stage.ask("/", { token: greedy })).status).toBe(429);
    expect((await stage.ask("/", { token: await stage.newToken() })).status).toBe(200);
    for (const wire of slow) wire.close();
  });

  it("gives its place back when it goes away in the middle", async () => {
    stage.secure.script = () => undefined;
    const token = await stage.newToken();
    for (let round = 0; round < 3; round++) {
      const slow = await Promise.all([1, 2, 3].map(() => stage.tunnel({ token })));
      const before = stage.secure.received.join("").split("POST /").length;
      for (const wire of slow) wire.send(`POST / HTTP/1.1\r\nHost: ${api}\r\nContent-Length: 1000\r\n\r\nabc`);
      await expect.poll(() => stage.secure.received.join("").split("POST /").length).toBe(before + 3);
      for (const wire of slow) wire.close();
    }
  });

  it("hears an answer that the upstream gives before the body has ended", async () => {
    const answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
    stage.secure.script = (connection) => connection.send(answer);
    using wire = await stage.tunnel();
    wire.send(`POST / HTTP/1.1\r\nHost: ${api}\r\nContent-Length: 1000\r\n\r\nabc`);
    expect(await wire.answer()).toMatchObject({ status: 413, body: "no" });
  });
});
