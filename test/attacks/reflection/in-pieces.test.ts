import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to hear the credential in pieces that it puts together itself",
  consequence:
    "Half a value is not the value. An upstream that echoes and honours `Range`, or that has a function to cut texts, gives it away piece by piece.",
});

/** What the upstream has at this address: it echoes what it was sent. */
const page = `{"authorization":"Bearer ${secret}"}`;

describe("an agent that asks for parts of an answer", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("hears all of the credential from an upstream that honours Range", async () => {
    stage.secure.script = (connection) => {
      const last = connection.received.split("\r\n\r\n").at(-2) ?? "";
      const [, from = "0", to = "0"] = /^range: bytes=(\d+)-(\d+)/im.exec(last) ?? [];
      const part = page.slice(Number(from), Number(to) + 1);
      const range = `Content-Range: bytes ${from}-${to}/${page.length}`;
      connection.send(`HTTP/1.1 206 Partial Content\r\n${range}\r\nContent-Length: ${part.length}\r\n\r\n${part}`);
    };
    let heard = "";
    for (let from = 0; from < page.length; from += 16) {
      const answer = await stage.ask("/echo", { head: `Range: bytes=${from}-${from + 15}\r\n` });
      expect(answer.status).toBe(206);
      heard += answer.body;
    }
    return heard.includes(secret);
  });
});
