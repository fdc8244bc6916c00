import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { hosts, proxyAuthorization, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "connections held for ever without a request" });

// A socket costs its holder nothing. Whoever can hold ours open without a request takes them from everyone else.
describe("somebody who takes all the time in the world", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it.concurrent("is not waited for: a connection on which nothing comes", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    await endsOrRefuses(wire);
  });

  it.concurrent("is not waited for: half a head", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${hosts.api}:443 HTTP/1.1\r\nHost: `);
    await endsOrRefuses(wire);
  });

  it.concurrent("is not waited for: a head that drips byte by byte", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send(`CONNECT ${hosts.api}:443 HTTP/1.1\r\nX: `);
    const timer = setInterval(() => wire.send("y"), 200);
    await endsOrRefuses(wire).finally(() => clearInterval(timer));
  });

  it.concurrent("is not waited for: a tunnel without a ClientHello", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const target = `${hosts.api}:443`;
    wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    expect((await wire.answer("HEAD")).status).toBe(200);
    await endsOrRefuses(wire);
  });

  it.concurrent("is not waited for: a ClientHello that drips byte by byte", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const target = `${hosts.api}:443`;
    wire.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${proxyAuthorization({}, stage.token)}\r\n`);
    await wire.answer("HEAD");
    wire.send("\x16\x03\x01\x02\x00");
    const timer = setInterval(() => wire.send("\x00"), 500);
    await endsOrRefuses(wire).finally(() => clearInterval(timer));
  });

  it.concurrent("is not waited for: half a head inside a tunnel", async () => {
    using wire = await stage.tunnel();
    wire.send("GET / HTTP/1.1\r\nHost: ");
    await endsOrRefuses(wire);
  });

  it.concurrent("does not keep others from being served meanwhile", async () => {
    const holders = await Promise.all(Array.from({ length: 200 }, () => Wire.dial(stage.server.proxyPort)));
    for (const wire of holders) wire.send("CONNECT x:443 HTTP/1.1\r\n");
    expect((await stage.ask("/")).status).toBe(200);
    for (const wire of holders) wire.close();
  });
});

/** The connection ends, with or without a word; within the patience of a `Wire`. */
async function endsOrRefuses(wire: Wire): Promise<void> {
  const rest = await wire.untilClosed();
  if (rest !== "") expect(rest).toMatch(/^HTTP\/1\.1 4\d\d /);
}
