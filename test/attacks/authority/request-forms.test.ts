import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "a target that the proxy does not serve, read as one that it does" });

describe("an agent that asks for something that is no business of a proxy", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each([
    { target: "https://HOST/", because: "TLS would be stripped" },
    { target: "ftp://HOST/", because: "no such scheme" },
    { target: "ws://HOST/", because: "no such scheme" },
    { target: "file:///etc/passwd", because: "no such scheme" },
    { target: "gopher://HOST/", because: "no such scheme" },
    { target: "http:///", because: "no host" },
    { target: "http://user:pass@HOST/", because: "user info can make one host look like another" },
    { target: "/", because: "a proxy has no pages of its own" },
    { target: "*", because: "there is nothing to ask about" },
  ])("cannot send $target outside of a tunnel: $because", async ({ target }) => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const host = `${hosts.api}:${stage.plain.port}`;
    const method = target === "*" ? "OPTIONS" : "GET";
    wire.send(
      `${method} ${target.replace("HOST", host)} HTTP/1.1\r\nHost: ${host}\r\n${proxyAuthorization({}, stage.token)}\r\n`,
    );
    const answer = await wire.answer();
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(stage.plain.received).toEqual([]);
  });
});
