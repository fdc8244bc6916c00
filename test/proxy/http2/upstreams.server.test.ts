import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parseService } from "../../../src/domain/services/definition.ts";
import { FrameType } from "../../../src/proxy/http2/frame.ts";
import { fieldOf, Http2Client, requestFieldsFor } from "../../support/http2-client.ts";
import { Http2Upstream } from "../../support/http2-upstream.ts";
import { connectHead, TestProxy, testToken } from "../../support/proxy.ts";
import { TestAuthority } from "../../support/test-authority.ts";

/** Agents that speak HTTP/2, to an upstream that speaks it as well. */

const secret = "sk_live_http2_upstream";
let authority: TestAuthority;
let upstream: Http2Upstream;
let proxy: TestProxy;
let host = "";
const clients: Http2Client[] = [];

beforeAll(async () => {
  authority = await TestAuthority.create();
});

beforeEach(async () => {
  upstream = await Http2Upstream.start(authority, ["api.test"]);
  host = `api.test:${upstream.port}`;
  proxy = await TestProxy.start({
    trusted: authority,
    services: [
      parseService(
        { name: "api", host, auth: { type: "api-key", key: "KEY", header: "X-Custom-Slot" } },
        { allowsInternalNames: false },
      ),
    ],
    credentials: { KEY: secret },
  });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  await proxy.close();
  await upstream[Symbol.asyncDispose]();
});

async function open(options: { opensWindows?: boolean } = {}): Promise<Http2Client> {
  const plain = await proxy.dial();
  plain.send(connectHead(host, testToken));
  await plain.head();
  plain.socket.removeAllListeners("data");
  const client = await Http2Client.secure(plain.socket, { servername: "api.test", ca: proxy.rootPem, ...options });
  clients.push(client);
  return client;
}

const get = (path: string, ...more: string[]) => requestFieldsFor(host, path, more);
const post = (path: string, ...more: string[]) => requestFieldsFor(host, path, more, "POST");

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("an upstream that speaks HTTP/2", () => {
  it("is asked over one connection, however many agents and streams there are", async () => {
    const [one, two] = await Promise.all([open(), open()]);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? one : two).ask(get(`/${index}`))),
    );
    expect(answers.every((answer) => answer.body === "ok")).toBe(true);
    expect(upstream.wires).toHaveLength(1);
    expect(upstream.requests).toHaveLength(50);
  });

  it("is asked in HTTP/1.1 by agents that speak that", async () => {
    await using client = await proxy.tunnel(host);
    client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect((await client.answer()).body).toBe("http");
    expect(upstream.wires).toHaveLength(0);
  });

  it("gets the credential in a field that nobody may index, and no field of one hop", async () => {
    const client = await open();
    await client.ask(get("/a?b=c", "x-custom-slot", "mine", "te", "trailers", "x-vault", "v", "accept", "*/*"));
    const { fields, block } = upstream.requests[0] ?? { fields: [], block: Buffer.alloc(0) };
    expect(fields).toEqual([
      ...[":method", "GET", ":scheme", "https", ":authority", host, ":path", "/a?b=c"],
      ...["x-custom-slot", secret, "accept", "*/*", "te", "trailers"],
    ]);
    // A literal that is never indexed, with a name of its own: 0x10, then the name.
    const name = block.indexOf("x-custom-slot");
    expect(block[name - 2]).toBe(0x10);
  });

  it("may answer before the request ends, and both go on", async () => {
    upstream.onRequest = ({ wire, streamId }) => wire.headers(streamId, [":status", "200"]);
    upstream.onData = (wire, streamId, ends) => {
      if (ends) wire.headers(streamId, ["x-sum", "1"], true);
      else wire.data(streamId, `got ${upstream.bodyOf(wire, streamId).length} `);
    };
    const client = await open();
    const streamId = client.begin(post("/"), false);
    await client.until(() => client.answer(streamId).heads.length === 1);
    client.data(streamId, "12345");
    await client.until(() => client.answer(streamId).body === "got 5 ");
    client.data(streamId, "678");
    await client.until(() => client.answer(streamId).body === "got 5 got 8 ");
    client.data(streamId, "", true);
    expect((await client.over(streamId)).trailers).toEqual(["x-sum", "1"]);
  });

  it("keeps an answer that is a head alone as it is", async () => {
    upstream.onRequest = ({ wire, streamId }) => wire.headers(streamId, [":status", "200", "grpc-status", "5"], true);
    const answer = await (await open()).ask(post("/", "content-type", "application/grpc"), "x");
    expect(answer).toMatchObject({ endedWithHead: true, trailers: undefined });
    expect(fieldOf(answer, "grpc-status")).toBe("5");
  });

  it.each([
    { when: "before it answers", begins: false, code: 0xb },
    { when: "in the middle of its answer", begins: true, code: 0x2 },
  ])("passes on the code with which it ends a stream $when", async ({ begins, code }) => {
    upstream.onRequest = ({ wire, streamId }) => {
      if (begins) wire.headers(streamId, [":status", "200"]);
      wire.reset(streamId, code);
    };
    const answer = await (await open()).ask(get("/x"));
    expect(answer).toMatchObject({ resetCode: code, isComplete: false });
    await until(() => proxy.journal.some((entry) => entry.errorCode === "upstream_aborted"));
  });

  it("hears of an agent that takes its request back, with the agent's code", async () => {
    upstream.onRequest = ({ wire, streamId }) => wire.headers(streamId, [":status", "200"]);
    const client = await open();
    const streamId = client.begin(get("/"));
    await client.until(() => client.answer(streamId).heads.length === 1);
    client.reset(streamId, 8);
    await until(() => upstream.wires[0]?.resets.length === 1);
    expect(upstream.wires[0]?.resets).toEqual([[1, 8]]);
    upstream.onRequest = ({ wire, streamId: id }) => wire.answer(id, "fine");
    expect((await client.ask(get("/"))).body).toBe("fine");
    expect(upstream.wires).toHaveLength(1);
  });

  it("is asked once more where it did nothing about a request, whatever the method", async () => {
    upstream.onData = (wire, streamId, ends) => {
      if (!ends) return;
      if (upstream.requests.length === 1) wire.reset(streamId, 7);
      else wire.answer(streamId, `again: ${upstream.bodyOf(wire, streamId)}`);
    };
    upstream.onRequest = () => undefined;
    const answer = await (await open()).ask(post("/"), "payload");
    expect(answer.body).toBe("again: payload");
    expect(upstream.requests).toHaveLength(2);
  });

  it("is not asked a second time where it ended a stream for another reason", async () => {
    upstream.onRequest = ({ wire, streamId }) => wire.reset(streamId, 2);
    const answer = await (await open()).ask(get("/"));
    expect(answer.resetCode).toBe(2);
    expect(upstream.requests).toHaveLength(1);
  });

  it("may leave: what it has not begun goes over a new connection", async () => {
    upstream.onRequest = ({ wire, streamId }) => {
      if (wire.number > 0) wire.answer(streamId, "new");
      else if (streamId === 3) {
        wire.leave(1);
        wire.answer(1, "old");
      }
    };
    const client = await open();
    const [one, two] = await Promise.all([client.ask(get("/1")), client.ask(get("/2"))]);
    expect([one.body, two.body].sort()).toEqual(["new", "old"]);
    expect(upstream.wires).toHaveLength(2);
  });

  it("gets no more streams on a connection than it takes", async () => {
    upstream.settings = [[3, 2]];
    const open_ = new Map<number, number>();
    let most = 0;
    upstream.onRequest = ({ wire, streamId }) => {
      const count = (open_.get(wire.number) ?? 0) + 1;
      open_.set(wire.number, count);
      most = Math.max(most, count);
      setTimeout(() => {
        open_.set(wire.number, (open_.get(wire.number) ?? 0) - 1);
        wire.answer(streamId, "ok");
      }, 20);
    };
    const client = await open();
    await client.ask(get("/warm"));
    const answers = await Promise.all(Array.from({ length: 12 }, (_, index) => client.ask(get(`/${index}`))));
    expect(answers.map((answer) => answer.body)).toEqual(Array(12).fill("ok"));
    expect(most).toBe(2);
  });

  it("is taken for one of HTTP/1.1 where that is all it speaks", async () => {
    upstream.protocols = ["http/1.1"];
    const client = await open();
    const answers = await Promise.all([client.ask(get("/1")), client.ask(get("/2")), client.ask(get("/3"))]);
    expect(answers.map((answer) => answer.body)).toEqual(["http", "http", "http"]);
    expect(upstream.http1Requests).toBe(3);
  });

  it.each([
    { fields: ["x-status", "200"], because: "it has no status" },
    { fields: [":status", "200", "X-Upper", "1"], because: "a name is in upper case" },
    { fields: [":status", "200", "connection", "close"], because: "a field is of HTTP/1.1" },
    { fields: [":status", "200", "transfer-encoding", "chunked"], because: "a field is of HTTP/1.1" },
    { fields: [":status", "200", "x", "a\r\ny: b"], because: "a value holds a line break" },
    { fields: [":status", "101"], because: "HTTP/2 does not switch" },
    { fields: [":status", "200", "content-length", "1", "content-length", "1"], because: "it has two lengths" },
  ])("cannot answer $fields: $because", async ({ fields }) => {
    upstream.onRequest = ({ wire, streamId }) => wire.headers(streamId, fields, true);
    const answer = await (await open()).ask(get("/"));
    expect(answer.heads[0]?.[1]).toBe("502");
    expect(fieldOf(answer, "x-agent-vault-error-code")).toBe("upstream_bad_answer");
  });

  it.each([
    { sent: "too much", because: "longer" },
    { sent: "a", because: "shorter" },
  ])("cannot complete an answer that is $because than it said", async ({ sent }) => {
    upstream.onRequest = ({ wire, streamId }) => {
      wire.headers(streamId, [":status", "200", "content-length", "3"]);
      wire.data(streamId, sent, true);
    };
    const answer = await (await open()).ask(get("/"));
    expect(answer).toMatchObject({ isComplete: false, resetCode: 2 });
  });

  it("does not get a credential through to the agent, in a head, a body or trailers", async () => {
    upstream.onRequest = ({ wire, streamId }) => {
      wire.headers(streamId, [":status", "200", "x-echo", secret, "x-agent-vault-proxy-error", "true"]);
      wire.data(streamId, `you sent ${secret.slice(0, 9)}`);
      wire.data(streamId, secret.slice(9));
      wire.headers(streamId, ["x-echo", secret], true);
    };
    const answer = await (await open()).ask(get("/"));
    expect(JSON.stringify(answer)).not.toContain(secret);
    expect(answer.isComplete).toBe(true);
    expect(fieldOf(answer, "x-agent-vault-proxy-error")).toBeUndefined();
    expect(proxy.journal[0]?.scrubbed?.found).toEqual(["KEY"]);
  });

  it("is left when it floods, and whoever waited is told", async () => {
    upstream.onRequest = ({ wire }) => {
      for (let i = 0; i < 3000; i += 1) wire.frame(FrameType.ping, 0, 0, Buffer.alloc(8));
    };
    const answer = await (await open()).ask(get("/"));
    expect(answer.heads[0]?.[1]).toBe("502");
    await until(() => upstream.wires[0]?.goaway !== undefined);
    expect(upstream.wires[0]?.goaway?.code).toBe(0xb);
  });

  it("cannot push", async () => {
    upstream.onRequest = ({ wire, streamId }) =>
      wire.frame(FrameType.pushPromise, 4, streamId, Buffer.from("000000028286", "hex"));
    expect((await (await open()).ask(get("/"))).heads[0]?.[1]).toBe("502");
    await until(() => upstream.wires[0]?.goaway !== undefined);
    expect(upstream.wires[0]?.goaway?.code).toBe(1);
  });

  it("is stopped when it sends more than its window allows", async () => {
    let first = 0;
    upstream.onRequest = ({ wire, streamId, fields }) => {
      if (fields[7] !== "/flood") {
        wire.answer(streamId, "fine");
        return;
      }
      first = streamId;
      wire.headers(streamId, [":status", "200"]);
      // An agent that takes nothing keeps the window shut.
      for (let i = 0; i < 100; i += 1) wire.data(streamId, "x".repeat(16_000));
    };
    const slow = await open({ opensWindows: false });
    slow.begin(get("/flood"));
    await until(() => (upstream.wires[0]?.resets.length ?? 0) > 0);
    expect(upstream.wires[0]?.resets).toEqual([[first, 3]]);
    expect((await (await open()).ask(get("/other"))).body).toBe("fine");
  });

  it("is asked whether it is there, and left when it is not", async () => {
    await using impatient = await TestProxy.start({ trusted: authority, options: { timeouts: { pingMs: 100 } } });
    upstream.onRequest = ({ wire }) => wire.socket.pause(); // as if the network had swallowed it
    const plain = await impatient.dial();
    plain.send(connectHead(host, testToken));
    await plain.head();
    plain.socket.removeAllListeners("data");
    await using client = await Http2Client.secure(plain.socket, { servername: "api.test", ca: impatient.rootPem });
    const answer = await client.ask(get("/"));
    expect(answer.heads[0]?.[1]).toBe("502");
    expect(fieldOf(answer, "x-agent-vault-error-code")).toBe("upstream_closed");
  });

  it("is left alone while it takes its time, as long as it is there", async () => {
    await using impatient = await TestProxy.start({ trusted: authority, options: { timeouts: { pingMs: 50 } } });
    upstream.onRequest = ({ wire, streamId }) => {
      setTimeout(() => wire.answer(streamId, "late"), 600);
    };
    const plain = await impatient.dial();
    plain.send(connectHead(host, testToken));
    await plain.head();
    plain.socket.removeAllListeners("data");
    await using client = await Http2Client.secure(plain.socket, { servername: "api.test", ca: impatient.rootPem });
    expect((await client.ask(get("/"))).body).toBe("late");
    expect(upstream.wires[0]?.pings).toBeGreaterThan(0);
  });
});
