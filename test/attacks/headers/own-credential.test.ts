import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "its own value beside or in the place of the broker's" });

const injected = `Bearer ${secret}`;
const own = "sk_the_agents_own";

// An agent that can put its own value beside or in place of the broker's decides whose account is used, and one that
// can make the broker drop its value sees what an anonymous caller sees.
describe("an agent that sends a credential of its own", () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });

  beforeEach(() => stage.secure.forget());

  afterAll(() => stage[Symbol.asyncDispose]());

  it.each([
    { head: `Authorization: Bearer ${own}\r\n`, because: "the usual spelling" },
    { head: `authorization: Bearer ${own}\r\n`, because: "names have no case" },
    { head: `AUTHORIZATION: Bearer ${own}\r\n`, because: "names have no case" },
    { head: `aUtHoRiZaTiOn: Bearer ${own}\r\n`, because: "names have no case" },
    {
      head: `Authorization: Bearer ${own}\r\nAuthorization: Bearer ${own}\r\n`,
      because: "one may hide behind another",
    },
    { head: `Authorization: Bearer ${own}\r\nauthorization: Basic ${own}\r\n`, because: "one in each casing" },
    { head: `Authorization:${own}\r\n`, because: "no blank after the colon" },
    { head: `Authorization:\t ${own} \t\r\n`, because: "blanks of every kind around the value" },
    { head: "Authorization:\r\n", because: "an empty value is a value" },
    { head: `Authorization: ${own}, ${injected}\r\n`, because: "a list of both" },
  ])("cannot replace, join or remove the injected one: $because", async ({ head }) => {
    const answer = await stage.ask("/v1/me", { head });
    expect(answer.status).toBe(200);
    expect(stage.secure.values("authorization")).toEqual([injected]);
    expect(stage.secure.received.join()).not.toContain(own);
  });

  it("cannot use a spelling that servers behind CGI read as the same header", async () => {
    await stage.services([
      {
        name: "upstream",
        host: `${hosts.api}:${stage.secure.port}`,
        auth: { type: "api-key", key: "UPSTREAM_TOKEN", header: "X-Api-Key" },
      },
    ]);
    stage.secure.forget();
    const heads = [`X_Api_Key: ${own}\r\n`, `x-api_key: ${own}\r\n`, `X_API-KEY: ${own}\r\nX-Api-Key: ${own}\r\n`];
    for (const head of heads) await stage.ask("/v1/me", { head });
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    expect(stage.secure.values("x-api-key")).toEqual([secret, secret, secret]);
    expect(stage.secure.received.join()).not.toContain(own);
  });

  it.each([
    { name: "X-Api-Key", auth: { type: "api-key", key: "UPSTREAM_TOKEN", header: "X-Api-Key" }, sent: secret },
    {
      name: "Authorization",
      auth: { type: "api-key", key: "UPSTREAM_TOKEN", header: "Authorization", prefix: "Bot " },
      sent: `Bot ${secret}`,
    },
    {
      name: "X-Team",
      auth: { type: "custom", headers: { "X-Team": "team/{{ UPSTREAM_TOKEN }}" } },
      sent: `team/${secret}`,
    },
    {
      name: "Authorization",
      auth: { type: "basic", username: "UPSTREAM_TOKEN" },
      sent: `Basic ${Buffer.from(`${secret}:`).toString("base64")}`,
    },
    {
      name: "Cookie",
      auth: { type: "custom", headers: { Cookie: "session={{ UPSTREAM_TOKEN }}" } },
      sent: `session=${secret}`,
    },
  ])("cannot send the header $name of the service itself, $auth.type", async ({ name, auth, sent }) => {
    await stage.services([{ name: "upstream", host: `${hosts.api}:${stage.secure.port}`, auth }]);
    for (const spelling of [name, name.toUpperCase(), name.toLowerCase()]) {
      await stage.ask("/v1/me", { head: `${spelling}: ${own}\r\nConnection: ${name}\r\n` });
    }
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    expect(stage.secure.values(name)).toEqual([sent, sent, sent]);
    expect(stage.secure.received.join()).not.toContain(own);
  });

  it("cannot bring it in through trailers, which a server may merge into the headers", async () => {
    const head = "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n";
    const body = `2\r\nhi\r\n0\r\nAuthorization: Bearer ${own}\r\n\r\n`;
    using wire = await stage.tunnel();
    wire.send(`POST /v1/me HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${head}\r\n${body}`);
    await wire.answerOrEnd();
    expect(stage.secure.received.join()).not.toContain(own);
  });
});
