import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { basic, bearerService, hosts, type Stage, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "a tunnel or a request without a token that is valid" });

describe("somebody without a token of the broker", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
    await stage.services([bearerService(api)]);
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
});
