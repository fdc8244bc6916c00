import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "all the connections that the proxy has" });

// Everything that is shared can be used up by one for all. What one may take has an end.
describe("somebody who takes all the connections there are", () => {
  let stage: Stage;

  beforeAll(async () => {
    // 128 are kept aside, and each connection may need two.
    stage = await setStage({ maxOpenFiles: 192 });
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("is told to go away, leaves descriptors to the API, and ends nobody's server", async () => {
    const holders: Wire[] = [];
    for (let i = 0; i < 400; i++) holders.push(await Wire.dial(stage.server.proxyPort));
    expect((await fetch(`${stage.server.apiUrl}/health`)).status).toBe(200);
    const last = await Wire.dial(stage.server.proxyPort);
    const answer = await last.answerOrEnd();
    if (answer) expect(answer.status).toBe(503);
    last.close();
    for (const wire of holders) wire.close();
    await untilServed();
    expect(stage.server.log()).toContain("limits the proxy's connections");
  });

  it("cannot do it in slow motion either: heads that never end", async () => {
    const holders: Wire[] = [];
    for (let i = 0; i < 100; i++) {
      const wire = await Wire.dial(stage.server.proxyPort);
      wire.send("CONNECT x:443 HTTP/1.1\r\nX: y");
      holders.push(wire);
    }
    // They are cut after their ten seconds, and nobody has to close them.
    await untilServed();
    for (const wire of holders) wire.close();
  });

  async function untilServed(): Promise<void> {
    for (let status = 0; status !== 200; ) {
      try {
        ({ status } = await stage.ask("/"));
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
});
