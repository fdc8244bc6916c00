import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defended } from "../support/declaration.ts";
import { holdsSecret, spellings } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to hear the credential in text messages or control frames of a WebSocket" });

/** One text message of a server, in a single frame and again in fragments of three bytes. */
function textFrames(text: string): string {
  const frame = (head: number, payload: string) =>
    payload.length < 126
      ? String.fromCharCode(head, payload.length) + payload
      : String.fromCharCode(head, 126, payload.length >> 8, payload.length & 0xff) + payload;
  const pieces = text.match(/[\s\S]{1,3}/g) ?? [];
  const fragments = pieces.map((piece, at) => frame((at === pieces.length - 1 ? 0x80 : 0) | (at === 0 ? 1 : 0), piece));
  return frame(0x81, text) + fragments.join("");
}

/** The payloads of the frames behind a head, joined as a client joins them. */
function payloadsIn(heard: string): string {
  let joined = "";
  for (let at = heard.indexOf("\r\n\r\n") + 4; at + 1 < heard.length; ) {
    const short = heard.charCodeAt(at + 1);
    const length = short < 126 ? short : heard.charCodeAt(at + 2) * 256 + heard.charCodeAt(at + 3);
    const start = at + (short < 126 ? 2 : 4);
    joined += heard.slice(start, start + length);
    at = start + length;
  }
  return joined;
}

describe("an upstream that returns the credential", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  it("in the messages of a WebSocket is not heard, however it spells it", async () => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    const upgrade =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for (const [spelling, spell] of Object.entries(spellings)) {
      const messages = textFrames(`{"authorization":"${spell(secret)}"}`);
      stage.secure.script = (connection) => {
        connection.send(
          "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
            `Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Echo: ${spell(secret)}\r\n\r\n${messages}`,
        );
        connection.end();
      };
      using wire = await stage.tunnel();
      wire.send(`GET /ws HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${upgrade}\r\n\r\n`);
      const heard = await wire.untilClosed();
      const payloads = payloadsIn(heard);
      expect(payloads.split('"authorization":"').length - 1, spelling).toBe(2);
      expect(holdsSecret(`${heard}\n${payloads}`), `${spelling}: ${heard}`).toBe(false);
    }
  });

  it.each([
    { name: "a Ping", opcode: 9, lead: "" },
    { name: "a Pong", opcode: 10, lead: "" },
    { name: "the reason of a Close", opcode: 8, lead: "\x03\xe8" },
  ])("in $name of a WebSocket is not heard", async ({ opcode, lead }) => {
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
    stage.secure.script = (connection) => {
      const payload = lead + secret;
      connection.send(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" +
          String.fromCharCode(0x80 | opcode, payload.length) +
          payload,
      );
      setTimeout(() => connection.end(), 50);
    };
    using wire = await stage.tunnel();
    const upgrade =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    wire.send(`GET /ws HTTP/1.1\r\nHost: ${hosts.api}:${stage.secure.port}\r\n${upgrade}\r\n\r\n`);
    const heard = await wire.untilClosed();
    expect(heard).toContain(`${lead}[redacted]`);
    expect(holdsSecret(heard)).toBe(false);
  });
});
