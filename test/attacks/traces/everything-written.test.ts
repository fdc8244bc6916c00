import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";
import { Wire } from "../support/wire.ts";

defended({ wants: "a credential, a token or a key in a log, the journal, the database or another file" });

const password = "correct-pass-1";

/** The value itself, and what it looks like where somebody encoded it. */
const spellings = [
  secret,
  encodeURIComponent(secret),
  ...[0, 1, 2].map((shift) =>
    Buffer.from("x".repeat(shift) + secret)
      .toString("base64")
      .slice(shift === 0 ? 0 : 4, -6),
  ),
  Buffer.from(secret).toString("hex"),
];

describe("a search for the credential in everything that the broker wrote", () => {
  let stage: Stage;
  let written: string;
  const told: string[] = [];

  beforeAll(async () => {
    stage = await setStage();
    const api = `${hosts.api}:${stage.secure.port}`;
    const note = async (answer: Promise<{ head: string; body: string }>) => {
      const { head, body } = await answer;
      told.push(head, body);
    };
    // Everything that can go well, and everything that can go wrong with the credential in hand.
    await stage.services([
      bearerService(api),
      { name: "off", host: `${api}/off/*`, enabled: false, auth: { type: "bearer", token: "UPSTREAM_TOKEN" } },
      { name: "gone", host: `${hosts.git}:${stage.secure.port}`, auth: { type: "bearer", token: "MISSING" } },
      { name: "dead", host: `${hosts.other}:1`, auth: { type: "bearer", token: "UPSTREAM_TOKEN" } },
      {
        name: "basic",
        host: `${hosts.other}:${stage.secure.port}`,
        auth: { type: "basic", username: "UPSTREAM_TOKEN", password: "UPSTREAM_TOKEN" },
      },
    ]);
    await note(stage.ask("/v1/me?card=4242424242424242"));
    await note(stage.ask("/off/x"));
    await note(stage.ask("/", { authority: `${hosts.git}:${stage.secure.port}` }));
    await note(stage.ask("/", { authority: `${hosts.other}:1` }));
    await note(stage.ask("/", { authority: `${hosts.other}:${stage.secure.port}` }));
    await note(stage.askPlain("/v1/me"));
    stage.secure.script = (connection) => connection.send("HTTP/1.1 bad\r\n\r\n");
    await note(stage.ask("/v1/broken"));
    stage.secure.script = (connection) => connection.reset();
    await note(stage.ask("/v1/reset"));
    await stage.secure.closeAll();
    using wire = await Wire.dial(stage.server.proxyPort);
    wire.send("CONNECT\0 nonsense\r\n\r\n");
    told.push(await wire.untilClosed());
    // Values that cannot be injected: the refusal must name the key and not the value.
    await stage.credentials({ UPSTREAM_TOKEN: `${secret}\r\nX-Injected: yes` });
    await note(stage.ask("/v1/crlf"));
    await stage.server.run(["vault", "credential", "list"]).then(({ stdout, stderr }) => told.push(stdout, stderr));
    await stage.credentials({ UPSTREAM_TOKEN: secret });
    for (const path of ["/discover", "/v1/credentials?vault=default", "/v1/vaults/default/services"]) {
      const headers = { authorization: `Bearer ${stage.token}` };
      told.push(await (await fetch(`${stage.server.apiUrl}${path}`, { headers })).text());
    }
    written = await stage.everythingWritten();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("finds that the upstream got it, so that the search means something", () => {
    expect(stage.secure.received.join()).toContain(secret);
  });

  it.each(spellings)("finds it in no log, journal, database or other file: %s", (spelling) => {
    expect(written).not.toContain(spelling);
  });

  it.each(spellings)("finds it in nothing that agents were told: %s", (spelling) => {
    expect(told.join("\n")).not.toContain(spelling);
  });

  it("finds the journal, so that there was something to search", () => {
    expect(written).toContain("/v1/me");
    expect(written).toContain("UPSTREAM_TOKEN");
    expect(written).toContain("SQLite format 3");
  });

  it("finds no parameters of a query", () => {
    expect(written).not.toContain("4242424242424242");
  });

  it("finds no token: digests are kept", () => {
    expect(written).not.toContain(stage.token);
    expect(written).not.toContain(Buffer.from(`${stage.token}:`).toString("base64"));
  });

  it("finds no password of a person, and not that of the vault", () => {
    expect(written).not.toContain(password);
    expect(written).not.toContain("correct-horse-battery");
  });

  it("finds no value that could split a head: it was refused", () => {
    expect(stage.secure.received.join()).not.toContain("X-Injected");
  });

  it("finds no key of the certificate authority", () => {
    expect(written).not.toContain("PRIVATE KEY");
  });
});
