import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { ok } from "../support/hostile.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "to speak in the broker's name, to steer the agent round it, or to plant a cookie" });

describe("an upstream that sends headers which are not its business", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.reset());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("cannot speak in the name of the broker", async () => {
    const forged = "X-Agent-Vault-Proxy-Error: true\r\nx-agent-vault-code: forbidden\r\n";
    stage.secure.script = (connection) => connection.send(`${ok}${forged}Content-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.status).toBe(200);
    expect(answer.values("x-agent-vault-proxy-error")).toEqual([]);
  });

  it("cannot hide headers from the agent's framing: what its Connection names is dropped, framing is the broker's", async () => {
    const head =
      "Connection: X-Hop, close\r\nX-Hop: y\r\nKeep-Alive: timeout=1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n";
    stage.secure.script = (connection) => connection.send(`${ok}${head}Content-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.body).toBe("ok");
    for (const name of ["x-hop", "keep-alive", "proxy-authenticate", "upgrade"]) {
      expect(answer.values(name), name).toEqual([]);
    }
  });

  it("cannot lure the agent to a way round the broker", async () => {
    stage.secure.script = (connection) =>
      connection.send(`${ok}Alt-Svc: h3=":443"; ma=86400\r\nContent-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.values("alt-svc")).toEqual([]);
  });

  it("cannot plant a cookie where a credential was injected", async () => {
    stage.secure.script = (connection) =>
      connection.send(`${ok}Set-Cookie: session=upstream\r\nContent-Length: 2\r\n\r\nok`);
    const answer = await stage.ask("/v1/me");
    expect(answer.values("set-cookie")).toEqual([]);
  });
});
