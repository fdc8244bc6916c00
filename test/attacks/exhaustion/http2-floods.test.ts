import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Flag, FrameType } from "../../../src/proxy/http2/frame.ts";
import { HpackEncoder } from "../../../src/proxy/http2/hpack-encoder.ts";
import type { Http2Client } from "../../support/http2-client.ts";
import { defended } from "../support/declaration.ts";
import { authorityOf, get, openHttp2, post } from "../support/http2.ts";
import { bearerService, type Stage, setStage } from "../support/stage.ts";

defended({ wants: "to keep the broker busy, or its memory full, with frames of HTTP/2 that cost next to nothing" });

const enhanceYourCalm = 0xb;

// In HTTP/2 a few bytes can be much work for the other side, and need no answer. Whoever does that is cut off, and nobody
// else notices.
describe("an agent that floods a connection of HTTP/2", () => {
  let stage: Stage;
  const clients: Http2Client[] = [];

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(authorityOf(stage))]);
  });

  beforeEach(async () => {
    await stage.secure.reset();
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.socket.destroy();
  });

  afterAll(() => stage[Symbol.asyncDispose]());

  async function open(): Promise<Http2Client> {
    const client = await openHttp2(stage);
    clients.push(client);
    return client;
  }

  async function isCutOff(client: Http2Client): Promise<void> {
    await client.closed();
    expect(client.goaway?.code).toBe(enhanceYourCalm);
    const other = await open();
    expect((await other.ask(get(stage, "/"))).heads[0]?.[1]).toBe("200");
  }

  it("with requests that it takes back at once (CVE-2023-44487)", async () => {
    const client = await open();
    for (let i = 0; i < 2000 && !client.isClosed; i += 1) client.reset(client.begin(get(stage, `/rapid/${i}`)), 8);
    await isCutOff(client);
    expect(stage.secure.heads.filter((head) => head.includes("/rapid/")).length).toBeLessThan(400);
  });

  it("with mistakes that make the broker take requests back (CVE-2025-8671)", async () => {
    const client = await open();
    for (let i = 0; i < 2000 && !client.isClosed; i += 1) {
      client.frame(FrameType.windowUpdate, 0, client.begin(get(stage, `/made/${i}`)), Buffer.alloc(4));
    }
    await isCutOff(client);
    expect(stage.secure.heads.filter((head) => head.includes("/made/")).length).toBeLessThan(400);
  });

  it("with a header block that never ends (CVE-2024-27316)", async () => {
    const client = await open();
    const block = new HpackEncoder().encode(get(stage, "/"));
    client.frame(FrameType.headers, Flag.endStream, 1, Buffer.from(block));
    for (let i = 0; i < 5000; i += 1) client.frame(FrameType.continuation, 0, 1);
    await isCutOff(client);
  });

  it("with a header block of many megabytes", async () => {
    const client = await open();
    client.frame(FrameType.headers, Flag.endStream, 1);
    const part = Buffer.concat([Buffer.from("0001617ffb78", "hex"), Buffer.alloc(16_000, "x")]);
    for (let i = 0; i < 100; i += 1) client.frame(FrameType.continuation, 0, 1, part);
    await isCutOff(client);
  });

  it.each([
    { name: "PING", send: (client: Http2Client) => client.frame(FrameType.ping, 0, 0, Buffer.alloc(8)) },
    { name: "SETTINGS", send: (client: Http2Client) => client.frame(FrameType.settings, 0, 0) },
    { name: "SETTINGS acknowledgement", send: (client: Http2Client) => client.frame(FrameType.settings, Flag.ack, 0) },
    { name: "PRIORITY", send: (client: Http2Client) => client.frame(FrameType.priority, 0, 9, Buffer.alloc(5)) },
    { name: "GOAWAY", send: (client: Http2Client) => client.leave() },
    { name: "unknown", send: (client: Http2Client) => client.frame(0x77, 0, 0, Buffer.alloc(3)) },
    {
      name: "WINDOW_UPDATE",
      send: (client: Http2Client) => client.frame(FrameType.windowUpdate, 0, 0, Buffer.from("00000001", "hex")),
    },
  ])("with $name frames", async ({ send }) => {
    const client = await open();
    // Something is under way, so that it is no idle connection.
    stage.secure.script = () => undefined;
    client.begin(get(stage, "/waits"));
    for (let i = 0; i < 6000; i += 1) send(client);
    await client.closed();
    expect(client.goaway?.code).toBe(enhanceYourCalm);
    await stage.secure.reset();
    expect((await (await open()).ask(get(stage, "/"))).heads[0]?.[1]).toBe("200");
  });

  it("with DATA frames that hold nothing", async () => {
    const client = await open();
    const streamId = client.begin(post(stage, "/"), false);
    for (let i = 0; i < 3000; i += 1) client.data(streamId, "");
    await isCutOff(client);
  });

  it("with DATA frames of padding", async () => {
    const client = await open();
    const streamId = client.begin(post(stage, "/"), false);
    for (let i = 0; i < 3000; i += 1) client.frame(FrameType.data, Flag.padded, streamId, Buffer.of(0));
    await isCutOff(client);
  });

  it("with requests above the limit: those are refused, the others served", async () => {
    const waiting: (() => void)[] = [];
    stage.secure.script = (connection) =>
      waiting.push(() => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    const client = await open();
    const streams = Array.from({ length: 130 }, (_, index) => client.begin(get(stage, `/many/${index}`)));
    await client.until(() => streams.filter((id) => client.answer(id).resetCode === 7).length === 30);
    await expect.poll(() => waiting.length).toBe(100);
    for (const answer of waiting) answer();
    await client.until(() => streams.filter((id) => client.answer(id).body === "ok").length === 100);
  });

  it("with a head that unfolds a thousandfold: it is refused, and takes no memory", async () => {
    const client = await open();
    // An entry of 4000 bytes in the table, then 16,000 references to it in one frame: 64 MB.
    const entry = Buffer.concat([Buffer.from("400162", "hex"), Buffer.from("7fa11e", "hex"), Buffer.alloc(4000, "x")]);
    client.frame(FrameType.headers, Flag.endStream, 1);
    client.frame(FrameType.continuation, 0, 1, entry);
    client.frame(FrameType.continuation, Flag.endHeaders, 1, Buffer.alloc(16_000, 0xbe));
    const answer = await client.over(1);
    expect(answer.heads[0]?.[1]).toBe("431");
  });

  it("with more fields than a head may have", async () => {
    const client = await open();
    const many = Array.from({ length: 600 }, (_, index) => [`x-${index}`, "1"]).flat();
    const answer = await client.ask(get(stage, "/", ...many));
    expect(answer.heads[0]?.[1]).toBe("431");
    expect((await client.ask(get(stage, "/"))).heads[0]?.[1]).toBe("200");
  });

  it("and leaves a line in the log that says what it was", async () => {
    const client = await open();
    for (let i = 0; i < 3000; i += 1) client.frame(FrameType.ping, 0, 0, Buffer.alloc(8));
    await client.closed();
    await expect.poll(() => stage.everythingWritten()).toContain("http2_flood");
  });
});
