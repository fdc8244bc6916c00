import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { basic, bearerService, hosts, type Stage, secret, setStage } from "./support/stage.ts";
import { Wire } from "./support/wire.ts";

const otherSecret = "sk_live_OfTheOtherVault55";

describe("somebody without the right token", () => {
  let stage: Stage;
  let api: string;
  let otherToken: string;
  let agentToken: string;
  let personToken: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
    await stage.newVault("other", { UPSTREAM_TOKEN: otherSecret });
    await stage.services([bearerService(api)], "other");
    await stage.newVault("closed", { UPSTREAM_TOKEN: "sk_live_NobodyHasThis" });
    otherToken = await stage.newToken("other");
    const vaults = [
      { vault_name: "default", vault_role: "proxy" },
      { vault_name: "other", vault_role: "proxy" },
    ];
    const agent = (await stage.server.api("POST", "/v1/agents", { name: "two-vaults", vaults })) as {
      av_agent_token: string;
    };
    agentToken = agent.av_agent_token;
    const session = await readFile(join(stage.server.home, ".agent-vault", "session.json"), "utf8");
    personToken = (JSON.parse(session) as { token: string }).token;
  });

  beforeEach(() => {
    stage.secure.forget();
    stage.plain.forget();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  const strangers: readonly { readonly name: string; readonly header: (token: string) => string | undefined }[] = [
    { name: "nothing", header: () => undefined },
    { name: "an empty value", header: () => "" },
    { name: "Bearer alone", header: () => "Bearer" },
    { name: "Bearer and a blank", header: () => "Bearer " },
    { name: "Basic alone", header: () => "Basic" },
    { name: "Basic that is no base64", header: () => "Basic %%%" },
    {
      name: "Basic without padding",
      header: (token) => basic(token).replace(/=*$/, "") + (basic(token).endsWith("=") ? "" : "!"),
    },
    { name: "the token as password", header: (token) => basic("", token) },
    { name: "the token as password of a user", header: (token) => basic("agent", token) },
    { name: "another scheme", header: (token) => `Digest ${token}` },
    { name: "the token without a scheme", header: (token) => token },
    { name: "a token that never was", header: () => basic(`av_sess_${"0".repeat(64)}`) },
    {
      name: "a token with another last digit",
      header: (token) => basic(token.replace(/.$/, (c) => (c === "0" ? "1" : "0"))),
    },
    { name: "a token in capitals", header: (token) => basic(token.toUpperCase()) },
    { name: "a token that is cut", header: (token) => basic(token.slice(0, -1)) },
    { name: "a token and more", header: (token) => basic(`${token}0`) },
    { name: "a token and a NUL", header: (token) => basic(`${token}\0`) },
    { name: "a pattern", header: () => basic("%") },
    { name: "a quote", header: () => basic("' OR '1'='1") },
    { name: "10,000 bytes", header: () => basic("a".repeat(10_000)) },
  ];

  it.each(strangers)("opens no tunnel with $name", async ({ header }) => {
    const value = header(stage.token);
    using wire = await Wire.dial(stage.server.proxyPort);
    const line = value === undefined ? "" : `Proxy-Authorization: ${value}\r\n`;
    wire.send(`CONNECT ${api} HTTP/1.1\r\nHost: ${api}\r\n${line}\r\n`);
    const answer = await wire.answer();
    expect(answer.status).toBe(407);
    expect(answer.values("proxy-authenticate")).toEqual(['Basic realm="agent-vault"']);
  });

  it.each(strangers)("sends no request in absolute form with $name", async ({ header }) => {
    const value = header(stage.token);
    using wire = await Wire.dial(stage.server.proxyPort);
    const host = `${hosts.other}:${stage.plain.port}`;
    const line = value === undefined ? "" : `Proxy-Authorization: ${value}\r\n`;
    wire.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${line}\r\n`);
    expect((await wire.answer()).status).toBe(407);
    expect(stage.plain.received).toEqual([]);
  });

  it("cannot sit on a connection that somebody else opened the door of: every plain request shows its token", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const host = `${hosts.other}:${stage.plain.port}`;
    const head = `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n`;
    wire.send(`${head}Proxy-Authorization: ${basic(stage.token)}\r\n\r\n`);
    expect((await wire.answer()).status).toBe(200);
    wire.send(`${head}\r\n`);
    expect((await wire.answer()).status).toBe(407);
    expect(stage.plain.heads).toHaveLength(1);
  });

  it("cannot hide behind a second Proxy-Authorization", async () => {
    using wire = await Wire.dial(stage.server.proxyPort);
    const wrong = basic(`av_sess_${"0".repeat(64)}`);
    const lines = `Proxy-Authorization: ${wrong}\r\nProxy-Authorization: ${basic(stage.token)}\r\n`;
    wire.send(`CONNECT ${api} HTTP/1.1\r\nHost: ${api}\r\n${lines}\r\n`);
    expect([400, 407]).toContain((await wire.answer()).status);
  });

  it.each([
    { vault: "other", status: 403, because: "it exists, and the token is for another" },
    { vault: "closed", status: 403, because: "it exists, and the token is for another" },
    { vault: "DEFAULT", status: 403, because: "names are compared to the letter" },
    { vault: "default ", status: 403, because: "names are compared to the letter" },
    { vault: "no-such-vault", status: 403, because: "what does not exist must look the same" },
  ])("does not turn a token of one vault into one of $vault: $because", async ({ vault, status }) => {
    await expect(stage.tunnel({ authority: api, vault })).rejects.toMatchObject({ status });
    expect(stage.secure.received).toEqual([]);
  });

  it("does not choose another vault by X-Vault", async () => {
    const answer = await stage.ask("/", { head: "X-Vault: other\r\n" });
    expect(answer.status).toBe(200);
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
  });

  it("gets the credential of the vault that its token is for, on one upstream connection after the other", async () => {
    for (const { token, value } of [
      { token: stage.token, value: secret },
      { token: otherToken, value: otherSecret },
      { token: stage.token, value: secret },
      { token: otherToken, value: otherSecret },
    ]) {
      stage.secure.forget();
      await stage.ask("/v1/me", { token });
      expect(stage.secure.values("authorization")).toEqual([`Bearer ${value}`]);
    }
  });

  it("gets the credential of the vault that an agent names, and of no vault when it names none of two", async () => {
    await stage.ask("/v1/me", { token: agentToken, vault: "other" });
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${otherSecret}`]);
    stage.secure.forget();
    await stage.ask("/v1/me", { token: agentToken, vault: "default" });
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
    await expect(stage.tunnel({ authority: api, token: agentToken })).rejects.toMatchObject({ status: 400 });
  });

  it("does not get into a vault that an agent has no grant on", async () => {
    const status = await stage.tunnel({ authority: api, token: agentToken, vault: "closed" }).then(
      () => 200,
      (error: { status?: number }) => error.status,
    );
    expect([403, 404]).toContain(status);
    expect(stage.secure.received).toEqual([]);
  });

  it("does not proxy as a person: a login is for people", async () => {
    for (const vault of [undefined, "default"]) {
      const how = { authority: api, token: personToken, ...(vault !== undefined && { vault }) };
      const status = await stage.tunnel(how).then(
        () => 200,
        (error: { status?: number }) => error.status,
      );
      expect(status).toBeGreaterThanOrEqual(400);
    }
  });

  it("learns nothing with a proxy token at the API's doors for people", async () => {
    const headers = { authorization: `Bearer ${stage.token}` };
    const reveal = await fetch(`${stage.server.apiUrl}/v1/credentials?vault=default&reveal=true`, { headers });
    expect(reveal.status).toBe(403);
    expect(await reveal.text()).not.toContain(secret);
    const list = await fetch(`${stage.server.apiUrl}/v1/credentials?vault=default`, { headers });
    expect(await list.text()).not.toContain(secret);
    const other = await fetch(`${stage.server.apiUrl}/v1/credentials?vault=other`, { headers });
    expect([403, 404]).toContain(other.status);
    const write = await fetch(`${stage.server.apiUrl}/v1/vaults/default/services`, {
      method: "PUT",
      headers,
      body: JSON.stringify({ services: [] }),
    });
    expect(write.status).toBe(403);
  });
});
