import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { ok, requestTo } from "../support/hostile.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({
  wants: "its bytes read by somebody else as the answer to another request, on a connection that is used again",
});

describe("an upstream that says more than it is asked", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("cannot leave an answer for somebody else on a connection that is used again", async () => {
    let served = 0;
    stage.secure.script = (connection) => {
      served += 1;
      const forged = `${ok}Content-Length: 6\r\n\r\nforged`;
      connection.send(`${ok}Content-Length: 2\r\n\r\n${served === 1 ? `ok${forged}` : "ok"}`);
    };
    using wire = await stage.tunnel();
    for (let i = 0; i < 4; i += 1) {
      wire.send(requestTo(stage, `/${i}`));
      expect((await wire.answer()).body).toBe("ok");
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    expect(served).toBe(4);
  });

  it("cannot send an answer before it is asked", async () => {
    stage.secure.script = (connection) => {
      connection.send(`${ok}Content-Length: 2\r\n\r\nok`);
      // While the connection idles in the pool.
      setTimeout(() => connection.send(`${ok}Content-Length: 6\r\n\r\nforged`), 60);
    };
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/first"));
    expect((await wire.answer()).body).toBe("ok");
    await new Promise((resolve) => setTimeout(resolve, 200));
    wire.send(requestTo(stage, "/second"));
    expect((await wire.answer()).body).toBe("ok");
    expect(stage.secure.heads).toHaveLength(2);
    // Whatever it said, that connection is not believed any more.
    expect(stage.secure.received).toHaveLength(2);
  });
});
