import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "a request inside of a tunnel led to another host than the one of its CONNECT" });

// Who is being talked to is said up to four times: CONNECT, SNI, request target, Host. A credential goes by the first,
// and no later one may lead the request, or the upstream's idea of it, somewhere else.
describe("an agent whose words about the target disagree", () => {
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

  it.each([
    { target: "/", host: () => other, because: "Host names another service" },
    { target: "/", host: () => hosts.other, because: "Host names another one, without port" },
    { target: "/", host: () => `${hosts.api}:1`, because: "Host names another port" },
    { target: "/", host: () => `${hosts.api}.`, because: "a dot more" },
    { target: "/", host: () => "", because: "an empty Host" },
    { target: "ABSOLUTE", host: () => api, because: "the target names another host" },
    { target: "ABSOLUTE-HTTP", host: () => api, because: "the target names another scheme and host" },
  ])("cannot lead a request inside a tunnel elsewhere: $because", async ({ target, host }) => {
    using wire = await stage.tunnel({ authority: api });
    const path = { ABSOLUTE: `https://${other}/x`, "ABSOLUTE-HTTP": `http://${other}/x` }[target] ?? target;
    wire.send(`GET ${path} HTTP/1.1\r\nHost: ${host()}\r\n\r\n`);
    const answer = await wire.answer();
    // Refused, or sent to where CONNECT said with a Host that says so, too.
    if (answer.status === 200) {
      expect(stage.secure.values("host")).toEqual([api]);
      expect(stage.secure.received.join()).not.toContain(hosts.other);
    } else {
      expect([400, 421]).toContain(answer.status);
      expect(stage.secure.received).toEqual([]);
    }
  });

  it("is told when Host names another port of the same machine, and nothing is sent", async () => {
    using wire = await stage.tunnel({ authority: api });
    wire.send(`GET / HTTP/1.1\r\nHost: ${hosts.api}:1\r\n\r\n`);
    expect((await wire.answer()).status).toBe(421);
    expect(stage.secure.received).toEqual([]);
  });

  it("cannot do it with a nested CONNECT", async () => {
    using wire = await stage.tunnel({ authority: api });
    wire.send(`CONNECT ${other} HTTP/1.1\r\nHost: ${other}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    expect((await wire.answer("HEAD")).status).toBeGreaterThanOrEqual(400);
    expect(stage.secure.received).toEqual([]);
  });

  it("cannot do it in absolute form: the URL counts, and Host follows it", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const url = `http://${hosts.api}:${stage.plain.port}/`;
    wire.send(`GET ${url} HTTP/1.1\r\nHost: internal.test\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    const answer = await wire.answer();
    const seen = stage.plain.values("host");
    if (answer.status === 200) expect(seen).toEqual([`${hosts.api}:${stage.plain.port}`]);
    else expect(seen).toEqual([]);
    stage.plain.forget();
  });
});
