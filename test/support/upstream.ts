import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:tls";
import type { TestAuthority } from "./test-authority.ts";

/** A TLS server that says exactly the bytes it is told to: for answers that no HTTP library would send. */
export interface RawUpstream extends AsyncDisposable {
  readonly port: number;
  /** How many connections were opened so far. */
  readonly connections: number;
  /** Everything received, as latin1, one entry per connection. */
  readonly received: readonly string[];
}

/** @param script is called for each connection, with everything received on it so far after each arrival. */
export async function startRawUpstream(options: {
  readonly authority: TestAuthority;
  readonly names: readonly string[];
  readonly script: (socket: Socket, received: string, connection: number) => void;
}): Promise<RawUpstream> {
  const certificate = await options.authority.issue(options.names);
  const received: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer(certificate, (socket) => {
    const number = received.push("") - 1;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      received[number] += chunk.toString("latin1");
      options.script(socket, received[number] ?? "", number);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return received.length;
    },
    received,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
