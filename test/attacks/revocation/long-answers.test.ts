import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newAgent } from "../support/agents.ts";
import { defended } from "../support/declaration.ts";
import { bearerService, hosts, type Stage, setStage } from "../support/stage.ts";
import type { Wire } from "../support/wire.ts";

defended({ wants: "an answer or a WebSocket that goes on after the revocation" });

// A tunnel can stay open for days. What it was opened with must not be what it lives on.
describe("an answer without end", () => {
  let stage: Stage;
  let api: string;

  beforeAll(async () => {
    stage = await setStage();
    api = `${hosts.api}:${stage.secure.port}`;
  });

  beforeEach(async () => {
    await stage.services([bearerService(api)]);
    stage.secure.forget();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  it("does not outlive its token as a WebSocket", async () => {
    stage.secure.script = (connection) => {
      if (!connection.received.endsWith("\r\n\r\n")) return connection.send("\x81\x04echo");
      const key = /^Sec-WebSocket-Key: (.*)$/im.exec(connection.received)?.[1]?.trim() ?? "";
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      const lines = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
      connection.send(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
    };
    const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const token = await newAgent(stage, "talker");
    using wire = await stage.tunnel({ token });
    wire.send(`GET /chat HTTP/1.1\r\nHost: ${api}\r\n${upgrade}\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    expect((await wire.answer("HEAD")).status).toBe(101);
    await newAgent(stage, "bystander");
    await stage.server.api("DELETE", "/v1/agents/bystander");
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    wire.send("\x81\x85\0\0\0\0frame");
    expect(await wire.next(6)).toBe("\x81\x04echo");

    await stage.server.api("DELETE", "/v1/agents/talker");
    await wire.untilClosed();
  });

  it.each([
    { what: "a download", head: "Content-Length: 1000000" },
    { what: "an event stream", head: "Content-Type: text/event-stream" },
  ])("does not let $what outlive its token, or its service", async ({ head }) => {
    const start = async (token: string): Promise<Wire> => {
      stage.secure.script = (connection) => connection.send(`HTTP/1.1 200 OK\r\n${head}\r\n\r\nfirst`);
      const wire = await stage.tunnel({ authority: api, token });
      wire.send(request());
      let seen = "";
      while (!seen.includes("first")) seen += await wire.next(1);
      return wire;
    };
    const name = `reader-${head.length}`;
    using revoked = await start(await newAgent(stage, name));
    using kept = await start(stage.token);
    await stage.server.api("DELETE", `/v1/agents/${name}`);
    await revoked.untilClosed();
    await stage.server.api("PATCH", "/v1/vaults/default/services/upstream", { enabled: false });
    await kept.untilClosed();
  });

  function request(): string {
    return `GET /v1/me HTTP/1.1\r\nHost: ${api}\r\n\r\n`;
  }
});
