import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { requestTo } from "../support/hostile.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "the broker or the agent kept busy for ever with interim answers" });

describe("an upstream that never comes to the point", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("cannot flood the agent with interim answers and never finish", async () => {
    stage.secure.script = (connection) => {
      connection.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(5_000));
      setTimeout(() => connection.end(), 50);
    };
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/v1/me"));
    let answer = await wire.answerOrEnd();
    while (answer !== undefined && answer.status < 200) answer = await wire.answerOrEnd();
    if (answer !== undefined) expect(answer.status).toBe(502);
  });

  it("is cut off when it neither finishes nor closes", async () => {
    let isOver = false;
    stage.secure.script = (connection) => {
      const flood = () => {
        if (isOver) return;
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".repeat(10));
        setTimeout(flood, 5);
      };
      flood();
    };
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/v1/me"));
    let interim = 0;
    let answer = await wire.answerOrEnd();
    for (; answer !== undefined && answer.status < 200; interim++) answer = await wire.answerOrEnd();
    isOver = true;
    expect(interim).toBeLessThan(100);
    expect(answer?.status).toBe(502);
  });
});
