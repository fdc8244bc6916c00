import type { Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { TestProxy } from "../support/proxy.ts";
import { TestAuthority } from "../support/test-authority.ts";
import { startRawUpstream } from "../support/upstream.ts";

const trusted = await TestAuthority.create();
/** 40 bytes in 200 ms where the length is known; 5 bytes in 400 ms, a sixteenth of the rate, where it is not. */
const options = { minBodyRate: 200, timeouts: { paceWindowMs: 200, bodyIdleMs: 400 } };

const timers: NodeJS.Timeout[] = [];
afterEach(() => {
  for (const timer of timers.splice(0)) clearInterval(timer);
});

/** Writes again and again: far within every idle limit. */
function drip(socket: Socket, text: string, everyMs = 100): void {
  timers.push(setInterval(() => socket.writable && socket.write(text), everyMs));
}

async function start(
  script: (socket: Socket, received: string) => void,
  over: Partial<typeof options.timeouts> & { minBodyRate?: number } = {},
) {
  const { minBodyRate = options.minBodyRate, ...timeouts } = over;
  const upstream = await startRawUpstream({ authority: trusted, names: ["api.test"], script });
  const proxy = await TestProxy.start({
    trusted,
    options: { minBodyRate, timeouts: { ...options.timeouts, ...timeouts } },
  });
  const host = `api.test:${upstream.port}`;
  const client = await proxy.tunnel(host);
  return {
    ...{ upstream, proxy, client, host },
    async [Symbol.asyncDispose]() {
      client.socket.destroy();
      await proxy.close();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

const nothing = (): void => undefined;
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a body that is dripped", () => {
  it.each([
    { framing: "Content-Length: 100000", piece: "a" },
    { framing: "Transfer-Encoding: chunked", piece: "1\r\na\r\n" },
  ])("ends the request with 408 ($framing)", async ({ framing, piece }) => {
    await using t = await start(nothing);
    t.client.send(`POST /up HTTP/1.1\r\nHost: ${t.host}\r\n${framing}\r\n\r\n`);
    drip(t.client.socket, piece);
    const { status, body } = await t.client.answer();
    expect(status).toBe(408);
    expect(JSON.parse(body)).toMatchObject({ error: "body_too_slow" });
    expect(t.proxy.journal).toMatchObject([{ path: "/up", status: 408, errorCode: "body_too_slow" }]);
  });

  it.each([
    { framing: "Content-Length: 100000", piece: "a" },
    { framing: "Transfer-Encoding: chunked", piece: "1\r\na\r\n" },
    { framing: "Connection: close", piece: "a" },
  ])("ends the answer in the middle ($framing)", async ({ framing, piece }) => {
    await using t = await start((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n${piece}`);
      drip(socket, piece);
    });
    t.client.send(`GET /down HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.head()).toContain("200 OK");
    expect(await t.client.rest()).not.toContain("0\r\n\r\n");
    expect(t.proxy.journal).toMatchObject([{ path: "/down", status: 200, errorCode: "answer_too_slow" }]);
  });

  it("is let be where nothing is asked of bodies", async () => {
    await using t = await start(
      (socket, received) => {
        if (received.endsWith("end")) socket.write(ok);
      },
      { minBodyRate: 0 },
    );
    t.client.send(`POST /up HTTP/1.1\r\nHost: ${t.host}\r\nContent-Length: 11\r\n\r\n`);
    for (let count = 0; count < 8; count++) {
      t.client.send("a");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    t.client.send("end");
    expect((await t.client.answer()).status).toBe(200);
  });
});

describe("what takes long is not slow", () => {
  it("an upload that flows, through many windows", async () => {
    await using t = await start((socket, received) => {
      if (received.endsWith("end")) socket.write(ok);
    });
    t.client.send(`POST /up HTTP/1.1\r\nHost: ${t.host}\r\nContent-Length: 603\r\n\r\n`);
    for (let count = 0; count < 20; count++) {
      t.client.send("a".repeat(30));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.client.send("end");
    expect((await t.client.answer()).status).toBe(200);
  });

  it("an event stream that says little", async () => {
    await using t = await start((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
      drip(socket, "1\r\n\n\r\n", 150);
      timers.push(setTimeout(() => socket.write("0\r\n\r\n"), 1_500));
    });
    t.client.send(`GET /events HTTP/1.1\r\nHost: ${t.host}\r\n\r\n`);
    expect(await t.client.until("0\r\n\r\n")).toContain("text/event-stream");
    await expect.poll(() => t.proxy.journal).toMatchObject([{ path: "/events", errorCode: "" }]);
  });

  it("an agent whom the upstream keeps waiting", async () => {
    let isHeld = false;
    await using t = await start(
      (socket, received) => {
        if (!isHeld) {
          isHeld = true;
          socket.pause();
          timers.push(setTimeout(() => socket.resume(), 1_000));
        }
        if (received.endsWith("end")) socket.write(ok);
      },
      { bodyIdleMs: 10_000 },
    );
    const size = 16 * 1024 * 1024;
    t.client.send(`POST /up HTTP/1.1\r\nHost: ${t.host}\r\nContent-Length: ${size + 3}\r\n\r\n`);
    t.client.send("a".repeat(size));
    t.client.send("end");
    expect((await t.client.answer()).status).toBe(200);
  });
});
