import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { parseRequestHead, parseResponseHead } from "../../src/proxy/http1/head.ts";
import { listValues } from "../../src/proxy/http1/header-list.ts";
import { serializeRequestHead } from "../../src/proxy/http1/serialize.ts";
import { acceptedDeflate, type DeflateParameters, offeredExtensions } from "../../src/proxy/websocket/deflate.ts";
import { FrameWatch } from "../../src/proxy/websocket/frame-watch.ts";
import { JoinedWebSockets } from "../../src/proxy/websocket/join.ts";
import type { FrameRewriter } from "../../src/proxy/websocket/rewriter.ts";

export interface RelayOptions {
  readonly upstreamPort: number;
  readonly rewriters: (deflate: DeflateParameters | undefined) => {
    readonly toUpstream?: FrameRewriter | undefined;
    readonly toAgent?: FrameRewriter | undefined;
  };
}

/** A relay with nothing but the upgrade and what comes behind it, on sockets of its own. */
export async function startWebSocketRelay(options: RelayOptions) {
  const failures: (Error | undefined)[] = [];
  const bytes = { agent: 0, upstream: 0 };
  const open = new Set<JoinedWebSockets>();
  const server = createServer((agent) => void serve(agent));
  await once(server.listen(0, "127.0.0.1"), "listening");

  async function serve(agent: Socket): Promise<void> {
    const request = await readHead(agent);
    const head = parseRequestHead(Buffer.from(request.text, "latin1"));
    const offered = offeredExtensions(listValues(head.headers, "sec-websocket-extensions"));
    const headers = [...head.headers];
    const at = headers.findIndex((name) => name.toLowerCase() === "sec-websocket-extensions");
    if (at !== -1) headers.splice(at, 2, ...(offered === undefined ? [] : ["Sec-WebSocket-Extensions", offered]));
    const upstream = connect(options.upstreamPort, "127.0.0.1");
    upstream.write(serializeRequestHead(`${head.method} ${head.target} HTTP/1.1`, headers), "latin1");
    const answer = await readHead(upstream);
    const accepted = listValues(
      parseResponseHead(Buffer.from(answer.text, "latin1")).headers,
      "sec-websocket-extensions",
    );
    const { toUpstream, toAgent } = options.rewriters(
      acceptedDeflate(offered, accepted.length === 0 ? [] : [accepted.join(", ")]),
    );
    agent.write(answer.text, "latin1");
    const joined: JoinedWebSockets = new JoinedWebSockets(
      {
        agent,
        upstream,
        toUpstream: toUpstream ?? new FrameWatch(),
        toAgent: toAgent ?? new FrameWatch(),
        onBytes: (from, count) => {
          bytes[from] += count;
        },
        onEnd: (failure) => {
          failures.push(failure);
          open.delete(joined);
        },
      },
      request.rest,
      answer.rest,
    );
    open.add(joined);
  }

  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    failures,
    bytes,
    open,
    [Symbol.asyncDispose]: async () => {
      server.close();
    },
  };
}

function readHead(socket: Socket): Promise<{ readonly text: string; readonly rest: Buffer }> {
  return new Promise((resolve) => {
    let seen = Buffer.alloc(0);
    const take = (chunk: Buffer) => {
      seen = Buffer.concat([seen, chunk]);
      const end = seen.indexOf("\r\n\r\n");
      if (end === -1) return;
      socket.off("data", take);
      socket.pause();
      resolve({ text: seen.toString("latin1", 0, end + 4), rest: seen.subarray(end + 4) });
    };
    socket.on("data", take);
  });
}
