import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, proxyAuthorization, type Stage, secret, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "a certificate for, or a request judged as, another host than the one of its CONNECT" });

describe("an agent whose ClientHello names another host", () => {
  let stage: Stage;
  let api: string;
  let other: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    other = `${hosts.other}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it("cannot name another host in the ClientHello than in CONNECT", async () => {
    const attempt = async () => {
      using wire = await stage.tunnel({ authority: api, servername: hosts.other });
      wire.send(`GET / HTTP/1.1\r\nHost: ${other}\r\n\r\n`);
      return await wire.answer();
    };
    await expect(attempt()).rejects.toThrow();
    expect(stage.secure.received).toEqual([]);
  });

  it("may name the same host in other letters, or none", async () => {
    for (const servername of [hosts.api.toUpperCase(), null]) {
      const answer = await stage.ask("/", { authority: api, servername });
      expect(answer.status).toBe(200);
    }
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`, `Bearer ${secret}`]);
  });

  it("gets a certificate for the host of CONNECT and nothing else", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${api} HTTP/1.1\r\nHost: ${api}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    await wire.answer("HEAD");
    const names = await wire.certificateNames({ ca: stage.ca, servername: hosts.api });
    expect(names).toContain(`DNS:${hosts.api}`);
    expect(names).not.toContain(hosts.other);
  });
});
