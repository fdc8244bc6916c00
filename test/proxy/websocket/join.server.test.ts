import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { NeedleSet } from "../../../src/proxy/scrub/needles.ts";
import type { ActiveScrubMode } from "../../../src/proxy/scrub/scanner.ts";
import { Substitutions } from "../../../src/proxy/substitute/substitutions.ts";
import { scrubbingRewriter, substitutingRewriter } from "../../../src/proxy/websocket/inspect.ts";
import { type RealWebSocket, WebSocketClient, WebSocketServer } from "../../support/real-ws.ts";
import { startWebSocketRelay } from "../../support/websocket-relay.ts";

const secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
const substitutions = new Substitutions([{ key: "KEY", placeholder: "__key__", value: secret, in: ["websocket"] }]);
const needles = new NeedleSet([{ key: "KEY", value: secret, placeholder: "__key__" }]);

interface Message {
  readonly data: Buffer;
  readonly isBinary: boolean;
}

/** `ws` as server and as client, with the relay between them. */
async function startPair(
  options: {
    deflate?: object | false;
    mode?: ActiveScrubMode;
    maxMessageBytes?: number;
    server?: (socket: RealWebSocket) => void;
  } = {},
) {
  const perMessageDeflate = options.deflate ?? false;
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate });
  const received: Message[] = [];
  let upstream: RealWebSocket | undefined;
  server.on("connection", (socket: RealWebSocket) => {
    upstream = socket;
    socket.on("error", () => undefined);
    if (options.server) return options.server(socket);
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      received.push({ data, isBinary });
      socket.send(data, { binary: isBinary });
    });
  });
  await once(server, "listening");
  const limits = options.maxMessageBytes === undefined ? {} : { maxMessageBytes: options.maxMessageBytes };
  const relay = await startWebSocketRelay({
    upstreamPort: server.address().port,
    rewriters: (deflate) => ({
      toUpstream: substitutingRewriter(substitutions, { deflate, ...limits }),
      toAgent: scrubbingRewriter(needles, options.mode ?? "redact", { deflate, ...limits })?.rewriter,
    }),
  });
  const client = new WebSocketClient(relay.url, { perMessageDeflate });
  client.on("error", () => undefined);
  const inbox: Message[] = [];
  const waiting: ((message: Message) => void)[] = [];
  client.on("message", (data: Buffer, isBinary: boolean) => {
    const next = waiting.shift();
    if (next) next({ data, isBinary });
    else inbox.push({ data, isBinary });
  });
  const isClosed = once(client, "close").then(([code]) => code as number);
  if (!options.server) await once(client, "open");
  return {
    client,
    relay,
    received,
    isClosed,
    get upstream() {
      return upstream;
    },
    next: () =>
      new Promise<Message>((resolve) => {
        const message = inbox.shift();
        if (message) resolve(message);
        else waiting.push(resolve);
      }),
    [Symbol.asyncDispose]: async () => {
      client.terminate();
      upstream?.terminate();
      server.close();
      await relay[Symbol.asyncDispose]();
    },
  };
}

const variants = [
  { name: "without compression", deflate: false as const, extensions: "" },
  { name: "with permessage-deflate", deflate: { threshold: 0 }, extensions: "permessage-deflate" },
  {
    name: "with permessage-deflate and no memory",
    deflate: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
    extensions: "permessage-deflate",
  },
  {
    name: "with permessage-deflate and small windows",
    deflate: { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
    extensions: "permessage-deflate",
  },
];

describe.each(variants)("ws on both sides, $name", ({ deflate, extensions }) => {
  it("gets the value upstream, and the placeholder back", async () => {
    await using pair = await startPair({ deflate });
    expect(pair.client.extensions.split(";")[0]).toBe(extensions);
    for (let i = 0; i < 20; i += 1) {
      const text = JSON.stringify({ i, token: "__key__", words: "the same words in each message ".repeat(i * 5) });
      pair.client.send(text);
      const { data, isBinary } = await pair.next();
      expect([data.toString(), isBinary]).toEqual([text, false]);
      expect(pair.received.at(-1)?.data.toString()).toBe(text.replace("__key__", secret));
    }
  });

  it("gets everything else as it was sent: binary, large, empty, in fragments", async () => {
    await using pair = await startPair({ deflate });
    const messages = [
      "",
      "plain",
      Buffer.from([0, 255, 1]),
      "x".repeat(300_000),
      Buffer.alloc(700_000, "binary"),
      "é😀".repeat(10_000),
    ];
    for (const message of messages) {
      pair.client.send(message);
      const { data, isBinary } = await pair.next();
      expect(data.equals(Buffer.from(message)), String(message.length)).toBe(true);
      expect(isBinary).toBe(typeof message !== "string");
    }
    const pong = once(pair.client, "pong");
    pair.client.send("frag", { fin: false });
    pair.client.ping("in between");
    pair.client.send("ment __k", { fin: false });
    pair.client.send("ey__", { fin: true });
    expect((await pair.next()).data.toString()).toBe("fragment __key__");
    expect(pair.received.at(-1)?.data.toString()).toBe(`fragment ${secret}`);
    expect(String((await pong)[0])).toBe("in between");
  });

  it("does not see the value when the upstream says it, whatever it said before", async () => {
    await using pair = await startPair({ deflate });
    pair.client.send("hello");
    await pair.next();
    for (let i = 0; i < 5; i += 1) {
      pair.upstream?.send(
        `secret number ${i} is ${secret}, ${JSON.stringify({ escaped: secret })} ${"padding ".repeat(300)}`,
      );
      const text = (await pair.next()).data.toString();
      expect(text).not.toContain(secret);
      expect(text).toContain(`secret number ${i} is __key__, {"escaped":"__key__"} padding`);
      pair.upstream?.send(Buffer.from("binary stays"), { binary: true });
      expect((await pair.next()).isBinary).toBe(true);
    }
  });

  it("closes with both Close frames", async () => {
    await using pair = await startPair({ deflate });
    const upstreamClosed = once(pair.upstream ?? pair.client, "close");
    pair.client.close(3001, "done");
    expect(await pair.isClosed).toBe(3001);
    expect((await upstreamClosed)[0]).toBe(3001);
    expect(pair.relay.failures).toEqual([undefined]);
  });

  it("is closed with 1008 on both sides in the mode block", async () => {
    await using pair = await startPair({ deflate, mode: "block" });
    const upstreamClosed = once(pair.upstream ?? pair.client, "close");
    pair.upstream?.send(`before ${secret}`);
    expect(await pair.isClosed).toBe(1008);
    expect((await upstreamClosed)[0]).toBe(1008);
    expect(pair.relay.failures[0]).toMatchObject({ code: "credential_in_answer" });
  });
});

describe("a relay of WebSockets", () => {
  it("closes with 1009 when a compressed message unfolds to too much", async () => {
    await using pair = await startPair({ deflate: { threshold: 0 }, maxMessageBytes: 100_000 });
    pair.client.send("x".repeat(1_000_000));
    expect(await pair.isClosed).toBe(1009);
    expect(pair.received).toHaveLength(0);
  });

  it("closes with 1008 when a placeholder is in a binary message", async () => {
    await using pair = await startPair();
    pair.client.send(Buffer.from("binary __key__"));
    expect(await pair.isClosed).toBe(1008);
    expect(pair.received).toHaveLength(0);
    expect(pair.relay.failures[0]).toMatchObject({ code: "placeholder_in_binary_message" });
  });

  it("says goodbye when the broker goes away", async () => {
    await using pair = await startPair();
    const upstreamClosed = once(pair.upstream ?? pair.client, "close");
    for (const joined of pair.relay.open) joined.close(1001);
    expect(await pair.isClosed).toBe(1001);
    expect((await upstreamClosed)[0]).toBe(1001);
  });

  it("ends a violation with 1002, and passes what came before", async () => {
    await using pair = await startPair();
    const socket = connect(Number(new URL(pair.relay.url).port), "127.0.0.1");
    socket.write(
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let seen = "";
    socket.on("data", (chunk: Buffer) => {
      if (seen === "") socket.write(Buffer.from("818200000000686981016f", "hex"));
      seen += chunk.toString("latin1");
    });
    await once(socket, "close");
    expect(seen.endsWith("\x88\x02\x03\xea")).toBe(true);
    expect(pair.received[0]?.data.toString()).toBe("hi");
  });

  it("holds back a fast upstream for a slow agent", async () => {
    let sent: RealWebSocket | undefined;
    await using pair = await startPair({
      server: (socket) => {
        sent = socket;
        for (let i = 0; i < 400; i += 1) socket.send(Buffer.alloc(256 * 1024, i), { binary: true });
      },
    });
    const slow = pair.client as unknown as { _socket?: { pause(): void; resume(): void } };
    await once(pair.client, "open");
    slow._socket?.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(sent?.bufferedAmount ?? 0, "most of it waits where it came from").toBeGreaterThan(50 * 1024 * 1024);
    let count = 0;
    const all = new Promise<void>((resolve) => {
      const step = async (): Promise<void> => {
        await pair.next();
        count += 1;
        if (count === 400) resolve();
        else await step();
      };
      void step();
    });
    slow._socket?.resume();
    await all;
    expect(count).toBe(400);
  });
});
