import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { connectHead, testToken } from "./proxy.ts";

/** A tunnel whose ClientHello leaves in the same bytes as the CONNECT, without waiting for the answer. */
export function connectWithoutWaiting(
  socket: Socket,
  { authority, servername, ca }: { readonly authority: string; readonly servername: string; readonly ca: string },
): TLSSocket {
  socket.removeAllListeners("data");
  let isFirst = true;
  let answer = "";
  const pipe: Duplex = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      const head = isFirst ? Buffer.from(connectHead(authority, testToken)) : Buffer.alloc(0);
      isFirst = false;
      socket.write(Buffer.concat([head, chunk]), () => done());
    },
  });
  socket.on("data", (chunk: Buffer) => {
    if (answer.includes("\r\n\r\n")) {
      pipe.push(chunk);
      return;
    }
    answer += chunk.toString("latin1");
    const end = answer.indexOf("\r\n\r\n");
    const rest = Buffer.from(answer.slice(end + 4), "latin1");
    if (end !== -1 && rest.length > 0) pipe.push(rest);
  });
  return connect({ socket: pipe as unknown as Socket, servername, ca: [ca] });
}
