import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { ok, requestTo, until } from "../support/hostile.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";
import type { Wire } from "../support/wire.ts";

defended({ wants: "a request carried out twice, or half an upload taken for a whole one" });

describe("an upstream, or an agent, that goes away in the middle", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("has a request sent again only when that is safe: a POST that died is not repeated", async () => {
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/warm"));
    await wire.answer();
    stage.secure.script = (connection) => connection.reset();
    wire.send(requestTo(stage, "/pay", "POST", "Content-Length: 6\r\n", "amount"));
    expect((await wire.answer()).status).toBe(502);
    expect(stage.secure.heads.filter((head) => head.startsWith("POST /pay"))).toHaveLength(1);
  });

  it("has no request sent again that died on a new connection: it may have been carried out", async () => {
    stage.secure.script = (connection) => connection.reset();
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/fresh"));
    expect((await wire.answer()).status).toBe(502);
    expect(stage.secure.heads).toHaveLength(1);
  });

  it("has no request sent again that it began to answer", async () => {
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/warm"));
    await wire.answer();
    stage.secure.script = (connection) => {
      connection.send("HTTP/1.1 2");
      setTimeout(() => connection.reset(), 30);
    };
    wire.send(requestTo(stage, "/begun"));
    expect((await wire.answer()).status).toBe(502);
    expect(stage.secure.heads.filter((head) => head.startsWith("GET /begun"))).toHaveLength(1);
  });

  it("has it sent again where the kept connection was dead, so that the above means something", async () => {
    using wire = await stage.tunnel();
    wire.send(requestTo(stage, "/warm"));
    await wire.answer();
    let hasDied = false;
    stage.secure.script = (connection) => {
      if (hasDied) return connection.send(`${ok}Content-Length: 2\r\n\r\nok`);
      hasDied = true;
      connection.reset();
    };
    wire.send(requestTo(stage, "/again"));
    expect((await wire.answer()).status).toBe(200);
    expect(stage.secure.heads.filter((head) => head.startsWith("GET /again"))).toHaveLength(2);
  });

  it("is told apart from an agent that goes away: the upload is cut, never completed", async () => {
    stage.secure.script = () => undefined;
    const wire: Wire = await stage.tunnel();
    wire.send(requestTo(stage, "/upload", "POST", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"));
    await until(() => stage.secure.received.join("").includes("hello"));
    wire.close();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(stage.secure.received.join("")).not.toMatch(/\n0\r\n/);
  });
});
