import { afterAll, beforeAll, describe } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { Gate } from "../support/gate.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "a credential that was deleted while the connection for its request was being made",
  consequence:
    "The value is taken before the upstream is dialled, which takes up to ten seconds for each step. Revoked tokens, removed grants and services that are switched off stop such a request; a credential that is deleted or replaced meanwhile still goes out with it, to its own service.",
});

describe("a request whose connection is being made", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  leak.stillLeaks("is sent with the credential that it was decided with", async () => {
    await using gate = await Gate.before(stage.secure.port);
    const authority = `${hosts.api}:${gate.port}`;
    await stage.services([bearerService(authority)]);
    using wire = await stage.tunnel({ authority });
    wire.send(`GET /waiting HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await gate.knocked;
    await stage.server.api("DELETE", "/v1/credentials", { vault: "default", keys: ["UPSTREAM_TOKEN"] });
    gate.open();
    await wire.answerOrEnd();
    return stage.secure.received.join("").includes(secret);
  });
});
