import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to be told whether its guess of the whole value is right",
  consequence:
    "An agent that can make an upstream echo its guess sees it redacted when it is right. Values that can be guessed are no secrets; a random one of 16 characters cannot be.",
});

describe("an agent that has its guesses echoed", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("learns which one is right", async () => {
    stage.secure.script = (connection) => {
      const guess =
        connection.received
          .match(/^GET \/echo\?(\S*)/gm)
          ?.at(-1)
          ?.slice("GET /echo?".length) ?? "";
      connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${guess.length}\r\n\r\n${guess}`);
    };
    const wrong = secret.replace(/.$/, "x");
    expect((await stage.ask(`/echo?${wrong}`)).body).toBe(wrong);
    return (await stage.ask(`/echo?${secret}`)).body !== secret;
  });
});
