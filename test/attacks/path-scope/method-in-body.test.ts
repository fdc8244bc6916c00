import { afterAll, beforeAll, beforeEach, describe } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "a method that the service does not allow, named in a form or a query",
  consequence:
    "A server that takes `_method=DELETE` from a form or a query serves it on a service that is limited to `POST`. Headers that do the same are dropped.",
});

describe("a request that names another method where only the server looks", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`, { methods: ["POST"] })]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("gets there with the credential, in a form", async () => {
    const body = "_method=DELETE";
    using wire = await stage.tunnel();
    const head = `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n`;
    wire.send(`POST /users/1 HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${head}\r\n${body}`);
    await wire.answer();
    return stage.secure.values("authorization").join() === `Bearer ${secret}` && hasArrived("_method=DELETE");
  });

  leak.stillLeaks("gets there with the credential, in a query", async () => {
    using wire = await stage.tunnel();
    const line = "POST /users/1?_method=DELETE HTTP/1.1\r\n";
    wire.send(`${line}Host: ${hosts.api}:${stage.secure.port}\r\nContent-Length: 0\r\n\r\n`);
    await wire.answer();
    return stage.secure.values("authorization").join() === `Bearer ${secret}` && hasArrived("_method=DELETE");
  });

  function hasArrived(text: string): boolean {
    return stage.secure.received.join("").includes(text);
  }
});
