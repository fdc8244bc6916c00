import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Flag, FrameType } from "../../../src/proxy/http2/frame.ts";
import { fieldOf, type Http2Client } from "../../support/http2-client.ts";
import { defended } from "../support/declaration.ts";
import { authorityOf, get, openHttp2, post } from "../support/http2.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

defended({ wants: "to have a request of HTTP/2 become another one in HTTP/1.1, or one to somebody else" });

// Requests that become others once they are written as HTTP/1.1, or that name somebody else.
describe("a request over HTTP/2", () => {
  let stage: Stage;
  let client: Http2Client;

  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${authorityOf(stage)}/v1/*`)]);
    await stage.unmatchedHosts("deny");
  });

  beforeEach(async () => {
    await stage.secure.reset();
    client = await openHttp2(stage);
  });

  afterEach(() => client.socket.destroy());
  afterAll(() => stage[Symbol.asyncDispose]());

  const pseudo = (over: Readonly<Record<string, string | undefined>>, ...more: string[]) => [
    ...Object.entries({
      ":method": "GET",
      ":scheme": "https",
      ":authority": authorityOf(stage),
      ":path": "/v1/x",
      ...over,
    }).flatMap(([name, value]) => (value === undefined ? [] : [name, value])),
    ...more,
  ];

  it.each([
    { because: "a name is in upper case", fields: () => get(stage, "/v1/x", "X-Upper", "1") },
    { because: "a name holds a blank", fields: () => get(stage, "/v1/x", "x y", "1") },
    { because: "a name holds a colon", fields: () => get(stage, "/v1/x", "x:y", "1") },
    { because: "a name is empty", fields: () => get(stage, "/v1/x", "", "1") },
    { because: "a name brings a line along", fields: () => get(stage, "/v1/x", "x: 1\r\nhost", "evil.test") },
    { because: "a value brings a line along", fields: () => get(stage, "/v1/x", "x", "1\r\nhost: evil.test") },
    {
      because: "a value brings a request along",
      fields: () => get(stage, "/v1/x", "x", "1\r\n\r\nGET /v1/evil HTTP/1.1"),
    },
    { because: "a value holds NUL", fields: () => get(stage, "/v1/x", "x", "a\0b") },
    { because: "a value begins with a blank", fields: () => get(stage, "/v1/x", "x", " a") },
    { because: "connection is of HTTP/1.1", fields: () => get(stage, "/v1/x", "connection", "close") },
    { because: "keep-alive is", fields: () => get(stage, "/v1/x", "keep-alive", "1") },
    { because: "proxy-connection is", fields: () => get(stage, "/v1/x", "proxy-connection", "keep-alive") },
    { because: "upgrade is", fields: () => get(stage, "/v1/x", "upgrade", "websocket") },
    { because: "transfer-encoding is", fields: () => post(stage, "/v1/x", "transfer-encoding", "chunked") },
    { because: "te says gzip", fields: () => get(stage, "/v1/x", "te", "gzip") },
    { because: "a pseudo-header comes late", fields: () => [...get(stage, "/v1/x", "x", "1"), ":path", "/v1/y"] },
    { because: "a pseudo-header is twice there", fields: () => [":path", "/v1/y", ...get(stage, "/v1/x")] },
    { because: "a pseudo-header is unknown", fields: () => [":status", "200", ...get(stage, "/v1/x")] },
    {
      because: "it asks for a protocol that is not there",
      fields: () => pseudo({ ":method": "CONNECT", ":protocol": "connect-udp" }),
    },
    { because: "it has no method", fields: () => pseudo({ ":method": undefined }) },
    { because: "it has no scheme", fields: () => pseudo({ ":scheme": undefined }) },
    { because: "its scheme is a target", fields: () => pseudo({ ":scheme": `https://${authorityOf(stage)}/v1/y?z=` }) },
    { because: "it has no path", fields: () => pseudo({ ":path": undefined }) },
    { because: "its path is empty", fields: () => pseudo({ ":path": "" }) },
    { because: "its method holds a blank", fields: () => pseudo({ ":method": "GET /v1/evil HTTP/1.1\r\nx:" }) },
    { because: "its path holds a blank", fields: () => pseudo({ ":path": "/v1/x HTTP/1.1\r\nx: y" }) },
    { because: "its authority holds a line", fields: () => pseudo({ ":authority": "a\r\nx: y" }) },
    { because: "it names two hosts", fields: () => get(stage, "/v1/x", "host", "evil.test") },
    { because: "it has a length and no body", fields: () => post(stage, "/v1/x", "content-length", "5") },
  ])("is no request where $because: its stream ends, and nothing reaches the upstream", async ({ fields }) => {
    expect(await client.ask(fields())).toMatchObject({ resetCode: 1, heads: [] });
    expect((await client.ask(get(stage, "/v1/fine"))).heads[0]?.[1]).toBe("200");
    expect(stage.secure.heads).toHaveLength(1);
  });

  it.each([
    { status: "421", because: "it names another host", fields: () => pseudo({ ":authority": "evil.test" }) },
    { status: "421", because: "it names another port", fields: () => pseudo({ ":authority": `${hosts.api}:1` }) },
    { status: "421", because: "its scheme is not the tunnel's", fields: () => pseudo({ ":scheme": "http" }) },
    {
      status: "421",
      because: "only host is there, and another's",
      fields: () => pseudo({ ":authority": undefined }, "host", "evil.test"),
    },
    { status: "400", because: "it names no host", fields: () => pseudo({ ":authority": undefined }) },
    { status: "400", because: "its path has a fragment", fields: () => pseudo({ ":path": "/v1/x#y" }) },
    { status: "400", because: "its path has bytes beyond ASCII", fields: () => pseudo({ ":path": "/v1/\xfc" }) },
    { status: "400", because: "its path has two readings", fields: () => pseudo({ ":path": "/v1/../x" }) },
    { status: "400", because: "its length is no number", fields: () => post(stage, "/v1/x", "content-length", "0x5") },
    {
      status: "400",
      because: "it has two lengths",
      fields: () => post(stage, "/v1/x", "content-length", "1", "content-length", "1"),
    },
    {
      status: "400",
      because: "its target is an asterisk",
      fields: () => pseudo({ ":method": "OPTIONS", ":path": "*" }),
    },
    { status: "403", because: "no service covers it", fields: () => get(stage, "/other") },
    { status: "405", because: "TRACE would echo the credential", fields: () => pseudo({ ":method": "TRACE" }) },
    {
      status: "405",
      because: "a tunnel in a tunnel leads out",
      fields: () => pseudo({ ":method": "CONNECT", ":scheme": undefined, ":path": undefined }),
    },
  ])("is answered with $status where $because", async ({ status, fields }) => {
    const answer = await client.ask(fields());
    expect(answer.heads[0]?.[1]).toBe(status);
    expect(fieldOf(answer, "x-agent-vault-proxy-error")).toBe("true");
    expect(JSON.parse(answer.body)).toHaveProperty("request_id");
    expect(stage.secure.heads).toHaveLength(0);
  });

  it.each([
    { sent: "123456", because: "longer" },
    { sent: "12", because: "shorter" },
  ])("cannot have a body that is $because than its length: the upstream sees no second request", async ({ sent }) => {
    const streamId = client.begin(post(stage, "/v1/x", "content-length", "5"), false);
    client.data(streamId, sent, true);
    expect(await client.over(streamId)).toMatchObject({ resetCode: 1 });
    expect((await client.ask(get(stage, "/v1/fine"))).heads[0]?.[1]).toBe("200");
    expect(stage.secure.received.filter((text) => text.includes("/v1/x") && text.includes("/v1/fine"))).toEqual([]);
  });

  it("cannot hide a second request behind the length of its body", async () => {
    stage.secure.script = () => undefined;
    const streamId = client.begin(post(stage, "/v1/x", "content-length", "5"), false);
    await expect.poll(() => stage.secure.heads.length).toBe(1);
    client.data(streamId, "12345GET /v1/evil HTTP/1.1\r\nHost: evil.test\r\n\r\n");
    expect(await client.over(streamId)).toMatchObject({ resetCode: 1 });
    expect((await client.ask(get(stage, "/other"))).heads[0]?.[1]).toBe("403");
    expect(stage.secure.received.join()).not.toContain("evil");
  });

  it.each([
    { trailers: [":path", "/v1/evil"], because: "it is a pseudo-header", code: 1 },
    { trailers: ["X-Upper", "1"], because: "it is in upper case", code: 1 },
    { trailers: ["connection", "close"], because: "it is of HTTP/1.1", code: 1 },
  ])("cannot have the trailer $trailers: $because", async ({ trailers, code }) => {
    stage.secure.script = () => undefined; // it waits for the end
    const streamId = client.begin(post(stage, "/v1/x"), false);
    client.data(streamId, "x");
    client.headers(streamId, trailers, true);
    expect(await client.over(streamId)).toMatchObject({ resetCode: code });
  });

  it.each([
    { name: "Host", fields: ["host", "evil.test"] },
    { name: "Content-Length", fields: ["content-length", "0"] },
  ])("cannot set $name in its trailers", async ({ fields }) => {
    const streamId = client.begin(post(stage, "/v1/x"), false);
    client.data(streamId, "x");
    client.headers(streamId, fields, true);
    const answer = await client.over(streamId);
    expect(answer.heads.map((head) => head[1])).not.toContain("200");
  });

  it("cannot put a credential of its own beside the broker's, in any spelling", async () => {
    const own = ["authorization", "Bearer mine", "authorization", "Bearer mine too"];
    await client.ask(get(stage, "/v1/x", ...own, "proxy-authorization", "Basic eA==", "x-vault", "other"));
    expect(stage.secure.values("authorization")).toEqual([`Bearer ${secret}`]);
    expect(stage.secure.heads.join()).not.toMatch(/mine|proxy-authorization|x-vault/i);
  });

  it.each([
    { because: "DATA is on a stream that never began", send: () => client.data(9, "x"), code: 1 },
    {
      because: "a window grows on a stream that never began",
      send: () => client.frame(FrameType.windowUpdate, 0, 9, Buffer.of(0, 0, 0, 1)),
      code: 1,
    },
    { because: "a stream is reset that never began", send: () => client.reset(9, 8), code: 1 },
    { because: "a stream has an even number", send: () => client.headers(2, get(stage, "/v1/x"), true), code: 1 },
    {
      because: "a header block is interrupted",
      send: () => {
        client.frame(FrameType.headers, 0, 1);
        client.frame(FrameType.ping, 0, 0, Buffer.alloc(8));
      },
      code: 1,
    },
    {
      because: "a CONTINUATION continues nothing",
      send: () => client.frame(FrameType.continuation, Flag.endHeaders, 1),
      code: 1,
    },
    {
      because: "a push comes from a client",
      send: () => client.frame(FrameType.pushPromise, Flag.endHeaders, 1, Buffer.alloc(4)),
      code: 1,
    },
    {
      because: "a header block cannot be read",
      send: () => client.frame(FrameType.headers, 5, 1, Buffer.of(0xff, 0xff)),
      code: 9,
    },
    {
      because: "the connection's window overflows",
      send: () => client.frame(FrameType.windowUpdate, 0, 0, Buffer.from("7fffffff", "hex")),
      code: 3,
    },
    {
      because: "a setting cannot have its value",
      send: () => client.frame(FrameType.settings, 0, 0, Buffer.from("000200000002", "hex")),
      code: 1,
    },
    {
      because: "a window setting is too large",
      send: () => client.frame(FrameType.settings, 0, 0, Buffer.from("000480000000", "hex")),
      code: 3,
    },
    {
      because: "SETTINGS end in the middle",
      send: () => client.frame(FrameType.settings, 0, 0, Buffer.alloc(5)),
      code: 6,
    },
    { because: "a frame is too large", send: () => client.frame(FrameType.ping, 0, 0, Buffer.alloc(20_000)), code: 6 },
  ])("ends with its connection where $because", async ({ send, code }) => {
    send();
    await client.closed();
    expect(client.goaway?.code).toBe(code);
    expect(stage.secure.heads).toHaveLength(0);
  });
});
