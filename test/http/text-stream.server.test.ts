import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { Limits } from "../../src/domain/limits/tiers.ts";
import { ApiApp, type ApiListener, startApi } from "../../src/http/app.ts";
import { SessionCookie } from "../../src/http/authenticate.ts";
import { HostCheck } from "../../src/http/host-check.ts";
import { ApiRouter } from "../../src/http/router.ts";
import { type TextSource, textStream } from "../../src/http/text-stream.ts";
import { silentLogger } from "../../src/log.ts";
import { MemoryEphemeral } from "../../src/storage/ephemeral-memory.ts";
import { plainRoute } from "../support/plain-route.ts";

let listener: ApiListener | undefined;
afterEach(() => listener?.close({ graceMs: 100 }));

async function serve(source: () => TextSource): Promise<number> {
  const router = new ApiRouter();
  router.on(plainRoute("GET", "/stream", { access: "public", tier: "global" }), () =>
    textStream(source(), "text/plain"),
  );
  const app = new ApiApp({
    router,
    sessions: {
      authenticate: () => Promise.reject(new Error("not asked")),
      touch: () => undefined,
    },
    accounts: { isInitialized: async () => true },
    limits: new Limits({
      clock: Date,
      ephemeral: new MemoryEphemeral(),
      environment: { profile: "off", isLocked: false, knobs: {} },
    }),
    baseUrl: "http://127.0.0.1",
    hostCheck: new HostCheck({ boundHost: "0.0.0.0", baseUrl: "http://127.0.0.1", trustedProxies: [] }),
    trustedProxies: [],
    cookie: new SessionCookie({ baseUrl: "http://127.0.0.1" }),
    log: silentLogger,
  });
  listener = await startApi(app, { host: "127.0.0.1", port: 0 });
  return listener.port;
}

/** A client that has asked and reads nothing until it is told to. */
async function silentClient(port: number) {
  const socket = connect({ host: "127.0.0.1", port });
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.pause();
  socket.write("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n");
  return socket;
}

const piece = "x".repeat(64 * 1024);

describe("a streamed answer", () => {
  it("is made no faster than the client reads", async () => {
    let made = 0;
    const port = await serve(() => ({
      async next() {
        made += 1;
        return made > 2_000 ? undefined : piece;
      },
      close: () => undefined,
    }));
    const socket = await silentClient(port);
    // What the sockets of both sides hold, and then nothing more: 2,000 pieces would be 125 MiB.
    let before = -1;
    await expect
      .poll(
        () => {
          const isStanding = made > 0 && made === before;
          before = made;
          return isStanding;
        },
        { interval: 300, timeout: 10_000 },
      )
      .toBe(true);
    expect(made).toBeLessThan(400);
    let length = 0;
    socket.on("data", (chunk) => {
      length += chunk.length;
    });
    socket.resume();
    await expect.poll(() => length, { timeout: 10_000 }).toBeGreaterThan(2_000 * piece.length);
    socket.destroy();
  });

  it("is cut off for a client that takes nothing, and its source closed once", async () => {
    let closed = 0;
    const port = await serve(() => ({
      next: async () => piece,
      close: () => {
        closed += 1;
      },
      slow: { afterMs: 200, lastWords: () => "too slow" },
    }));
    const socket = await silentClient(port);
    await expect.poll(() => closed, { timeout: 5_000 }).toBe(1);
    socket.destroy();
  });

  it("ends with a word of why for a client that wakes up in time", async () => {
    let made = 0;
    const port = await serve(() => ({
      async next() {
        made += 1;
        return piece;
      },
      close: () => undefined,
      slow: { afterMs: 1_000, lastWords: () => "too slow" },
    }));
    const socket = await silentClient(port);
    let before = -1;
    await expect
      .poll(
        () => {
          const isStanding = made > 0 && made === before;
          before = made;
          return isStanding;
        },
        { interval: 300, timeout: 10_000 },
      )
      .toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    let tail = "";
    socket.on("data", (chunk) => {
      tail = (tail + chunk.toString("latin1")).slice(-200);
    });
    socket.resume();
    await expect.poll(() => tail, { timeout: 5_000 }).toContain("too slow");
    // The last chunk: the answer is complete, not broken off.
    await expect.poll(() => tail.endsWith("0\r\n\r\n")).toBe(true);
    socket.destroy();
  });

  it("closes its source when the client goes away", async () => {
    let closed = 0;
    const port = await serve(() => ({
      next: () => new Promise(() => undefined),
      close: () => {
        closed += 1;
      },
    }));
    const socket = await silentClient(port);
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    await expect.poll(() => closed).toBe(1);
  });

  it("is broken off, not ended, when its source fails", async () => {
    let made = 0;
    const port = await serve(() => ({
      async next() {
        made += 1;
        if (made > 1) throw new Error("the database is away");
        return "first\n";
      },
      close: () => undefined,
    }));
    await expect(fetch(`http://127.0.0.1:${port}/stream`).then((response) => response.text())).rejects.toThrow();
  });
});
