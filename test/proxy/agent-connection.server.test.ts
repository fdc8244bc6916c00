import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { AgentConnection, type RequestHandler, type RequestServer } from "../../src/proxy/agent-connection.ts";
import { Deadlines, defaultTimeouts } from "../../src/proxy/deadlines.ts";
import { Outboxes } from "../../src/proxy/outboxes.ts";

const close: (() => void)[] = [];
afterEach(() => {
  for (const end of close.splice(0)) end();
});

/** One agent talking to an `AgentConnection` whose requests are served by `serve`. */
async function startAgent(
  serve: RequestServer["serve"],
  crashed: RequestServer["crashed"] = () => undefined,
): Promise<Socket> {
  const deadlines = new Deadlines(defaultTimeouts);
  const server = createServer((socket) => {
    const refuse: RequestServer["refuse"] = (_, connection) => connection.end();
    const options = { socket, clientIp: "127.0.0.1", deadlines, timeouts: defaultTimeouts, outboxes: new Outboxes() };
    new AgentConnection({ ...options, server: { serve, refuse, crashed } });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const agent = connect((server.address() as AddressInfo).port, "127.0.0.1");
  close.push(() => {
    agent.destroy();
    server.close();
    deadlines.stop();
  });
  await once(agent, "connect");
  return agent;
}

const ignore = (): void => undefined;
const pending: RequestHandler = {
  acceptsBody: false,
  onBody: ignore,
  onTrailers: ignore,
  onRequestEnd: ignore,
  onRequestBatch: ignore,
  onAgentDrain: ignore,
  onBadBody: ignore,
  onAgentGone: ignore,
  onDeadline: ignore,
};

describe("AgentConnection", () => {
  it("hands what came behind a CONNECT to the tunnel once", async () => {
    const early = new Promise<Buffer>((resolve) => {
      void startAgent((_, __, connection) => {
        setTimeout(() => resolve(connection.takeOver()), 10);
        return pending;
      }).then((agent) => agent.write("CONNECT a.test:443 HTTP/1.1\r\n\r\nClientHello"));
    });
    expect(String(await early)).toBe("ClientHello");
  });

  it("serves each request behind a refused CONNECT once, and goes on reading", async () => {
    const served: string[] = [];
    const agent = await startAgent((head, _, connection) => {
      served.push(head.target);
      connection.out.text("HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
      connection.done(false);
      return undefined;
    });
    agent.write("CONNECT a.test:443 HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(agent, "data");
    agent.write("GET /third HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(agent, "data");
    expect(served).toEqual(["a.test:443", "/second", "/third"]);
  });

  const bug = new TypeError("a bug of ours");
  const throwBug = (): never => {
    throw bug;
  };

  it.each([
    { when: "a request starts", serve: throwBug },
    { when: "a body arrives", serve: () => ({ ...pending, acceptsBody: true, onBody: throwBug }) },
    { when: "a body ends", serve: () => ({ ...pending, acceptsBody: true, onRequestEnd: throwBug }) },
    { when: "an event is through", serve: () => ({ ...pending, acceptsBody: true, onRequestBatch: throwBug }) },
    {
      when: "a malformed body is refused",
      serve: () => ({ ...pending, acceptsBody: true, onBadBody: throwBug }),
      body: "zz\r\n",
    },
  ])("loses one connection, and says why, when something throws as $when", async ({ serve, body }) => {
    const crashes: unknown[] = [];
    const agent = await startAgent(serve, (error) => crashes.push(error));
    agent.on("error", ignore);
    agent.write(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body ?? "1\r\nx\r\n0\r\n\r\n"}`);
    await once(agent, "close");
    expect(crashes).toEqual([bug]);
  });
});
