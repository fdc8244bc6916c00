import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "all the connections that the proxy has, without a token or with one" });

// Everything that is shared can be used up by one for all. What one may take has an end.
describe("somebody who takes all the connections there are", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    // 128 are kept aside, and each connection may need two: 32 connections.
    stage = await setStage({ maxOpenFiles: 192 });
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each([
    { name: "connections on which nothing comes", opening: "" },
    { name: "heads that never end", opening: "CONNECT x:443 HTTP/1.1\r\nX: y" },
    { name: "connections that were refused", opening: "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" },
  ])("keeps nobody with a token from being served, nor the API: $name", async ({ opening }) => {
    using early = await stage.tunnel();
    const holders: Wire[] = [];
    for (let i = 0; i < 400; i++) {
      const wire = await Wire.dial(stage.server.proxyPort);
      wire.send(opening);
      holders.push(wire);
    }
    for (let i = 0; i < 5; i++) expect((await stage.ask("/")).status).toBe(200);
    early.send(`GET /early HTTP/1.1\r\nHost: ${api}\r\n\r\n`);
    expect((await early.answer()).status).toBe(200);
    expect((await fetch(`${stage.server.apiUrl}/health`)).status).toBe(200);
    for (const wire of holders) wire.close();
    expect(stage.server.log()).toContain("limits the proxy's connections");
  });

  it("keeps nobody out while the flood goes on", async () => {
    let isOver = false;
    const flood = async () => {
      while (!isOver) {
        const wire = await Wire.dial(stage.server.proxyPort).catch(() => undefined);
        wire?.send("CONNECT x:443 HTTP/1.1\r\n");
        setTimeout(() => wire?.close(), 2_000);
      }
    };
    const flooding = [flood(), flood()];
    let served = 0;
    for (let tries = 0; served < 5 && tries < 60; tries++) {
      // A connection may be among those that make room; who has a token just opens another.
      const answer = await stage.ask("/").catch(() => undefined);
      if (answer?.status === 200) served++;
    }
    isOver = true;
    await Promise.all(flooding);
    expect(served).toBe(5);
  });

  it("has half of them at most with one token, and another token has the rest", async () => {
    const greedy = await stage.newToken();
    const wires: Wire[] = [];
    let refusal: { status?: number } | undefined;
    while (refusal === undefined && wires.length < 64) {
      try {
        wires.push(await stage.tunnel({ token: greedy }));
      } catch (error) {
        refusal = error as { status?: number };
      }
    }
    expect(refusal).toMatchObject({ status: 429 });
    expect(wires).toHaveLength(16);
    expect((await stage.ask("/", { token: await stage.newToken() })).status).toBe(200);
    for (const wire of wires) wire.close();
  });
});
