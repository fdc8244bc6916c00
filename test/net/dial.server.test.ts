import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { DialFailed, dial } from "../../src/net/dial.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});

interface Listening {
  readonly port: number;
  /** Connections that were accepted. */
  readonly sockets: Socket[];
}

async function listen(host: string, port = 0): Promise<Listening> {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => socket.destroy());
    socket.resume();
  });
  server.listen(port, host);
  await once(server, "listening");
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

/** Takes the port on another address and answers nobody: its queue of connections is full, so the kernel is silent. */
async function listenSilently(host: string, port: number): Promise<void> {
  const script = [
    "import socket, sys, time",
    "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)",
    `s.bind(("${host}", ${port})); s.listen(0)`,
    "held = []",
    "for _ in range(8):",
    "    c = socket.socket(); c.setblocking(False); held.append(c)",
    "    try: c.connect(s.getsockname())",
    "    except BlockingIOError: pass",
    "time.sleep(0.2); print('full', flush=True); sys.stdin.read()",
  ].join("\n");
  const child = spawn("python3", ["-c", script], { stdio: ["pipe", "pipe", "inherit"] });
  cleanups.push(() => child.kill());
  await once(child.stdout, "data");
}

const options = { timeoutMs: 5_000, accept: () => undefined };

describe("a dial", () => {
  it("takes the first address that answers, without waiting for one that is silent", async () => {
    const server = await listen("127.0.0.3");
    await listenSilently("127.0.0.2", server.port);
    const socket = await dial(["127.0.0.2", "127.0.0.3"], { ...options, port: server.port, attemptDelayMs: 20 });
    cleanups.push(() => socket.destroy());
    expect(socket.remoteAddress).toBe("127.0.0.3");
  });

  it("goes to the next address at once when one refuses", async () => {
    const server = await listen("127.0.0.3");
    const socket = await dial(["127.0.0.2", "::1", "127.0.0.3"], {
      ...options,
      port: server.port,
      attemptDelayMs: 1_000_000,
    });
    cleanups.push(() => socket.destroy());
    expect(socket.remoteAddress).toBe("127.0.0.3");
  });

  it("gives each family its turn, beginning with the first", async () => {
    const server = await listen("::1");
    const tried: string[] = [];
    const accept = (address: string) => void tried.push(address);
    const addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1"];
    const socket = await dial(addresses, { ...options, accept, port: server.port, attemptDelayMs: 1_000_000 });
    cleanups.push(() => socket.destroy());
    expect(tried).toEqual(["::1"]);
  });

  it("closes the sockets that lost", async () => {
    const slow = await listen("127.0.0.2");
    const fast = await listen("127.0.0.3", slow.port);
    // Both are under way at once: no head start.
    const races = await Promise.all(
      Array.from({ length: 40 }, () =>
        dial(["127.0.0.2", "127.0.0.3"], { ...options, port: slow.port, attemptDelayMs: 0 }),
      ),
    );
    cleanups.push(() => {
      for (const socket of races) socket.destroy();
    });
    const isOpen = (socket: Socket) => !socket.destroyed && !socket.readableEnded;
    await expect.poll(() => [...slow.sockets, ...fast.sockets].filter(isOpen).length).toBe(races.length);
  });

  it("says that nobody is there by how it failed: refused before silent before unreachable", async () => {
    const { port } = await listen("127.0.0.9");
    await listenSilently("127.0.0.8", port);
    const failure = async (addresses: readonly string[], timeoutMs = 300) => {
      const error = await dial(addresses, { ...options, port, timeoutMs }).catch((caught: unknown) => caught);
      return error instanceof DialFailed ? error.reason : error;
    };
    expect(await failure(["127.0.0.2"])).toBe("refused");
    expect(await failure(["127.0.0.2", "::1"])).toBe("refused");
    expect(await failure(["127.0.0.8"])).toBe("timeout");
    expect(await failure(["127.0.0.2", "127.0.0.8"])).toBe("timeout");
    expect(await failure(["fe80::1"])).toBe("unreachable");
  });

  it("hands over no socket that reached another address than it may", async () => {
    const server = await listen("127.0.0.3");
    const refuse = () => {
      throw new Error("not this one");
    };
    await expect(dial(["127.0.0.3"], { ...options, port: server.port, accept: refuse })).rejects.toThrow(
      "not this one",
    );
    await expect.poll(() => server.sockets.every((socket) => socket.destroyed || socket.readableEnded)).toBe(true);
  });
});
