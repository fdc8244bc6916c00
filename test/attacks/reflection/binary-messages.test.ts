import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants: "to hear the credential in a binary message of a WebSocket",
  consequence:
    "Only text messages and control frames are searched: what stands in binary ones is its sender's business.",
});

describe("an upstream that returns the credential in a binary message", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  leak.stillLeaks("is heard", async () => {
    stage.secure.script = (connection) => {
      connection.send(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" +
          String.fromCharCode(0x82, secret.length) +
          secret,
      );
      setTimeout(() => connection.end(), 50);
    };
    using wire = await stage.tunnel();
    const upgrade =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    wire.send(`GET /ws HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${upgrade}\r\n\r\n`);
    const heard = await wire.untilClosed();
    expect(heard).toMatch(/^HTTP\/1\.1 101 /);
    return heard.includes(secret);
  });
});
